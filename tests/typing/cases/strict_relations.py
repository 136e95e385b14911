"""`strict_relations`: a relation can be read where the query loaded it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from accounts.turbo import User
from django.db.models import Count, Prefetch
from lending import models
from lending.turbo import Loan, LoanQuerySet, LongLoan, Receipt, Reminder
from shop.turbo import Book
from typing_extensions import Never, assert_type


@dataclass
class Note:
    id: int
    title: str


def title(loan: Loan[Literal["book"]]) -> str:
    return loan.book.title


def anything(loan: Loan) -> tuple[str, User]:
    return loan.book.title, loan.reader


def base(loan: models.Loan) -> None: ...


async def some(related: bool) -> list[Loan]:
    loans = Loan.objects.open()
    if related:
        loans = loans.select_related("book")
    return await loans.alist()


async def right(given: Loan) -> None:
    loan = await Loan.objects.select_related("book").aget(pk=1)
    assert_type(loan.book, Book)
    assert_type(loan, Loan[Literal["book"]])
    two = await Loan.objects.select_related("reader", "guarantor").filter(pk=1).aget()
    assert_type(two.reader, User)
    assert_type(two.guarantor, User | None)
    chained = await Loan.objects.select_related("book").open().prefetch_related("reader").order_by("id").aget(pk=1)
    assert_type((chained.book, chained.reader), tuple[Book, User])
    three = await Loan.objects.select_related("book", "reader", "receipt").aget(pk=1)
    assert_type(three.receipt, Receipt)
    nested = await Loan.objects.select_related("book__author").prefetch_related("reader__groups").aget(pk=1)
    assert_type((nested.book.author, nested.reader), tuple[User, User])
    async for each in Loan.objects.prefetch_related("guarantor"):
        assert_type(each.guarantor, User | None)
    many = await Loan.objects.select_related("book").prefetch_related("extras", "reminders").aget(pk=1)
    assert_type(many.book, Book)
    assert_type(Loan.objects.all(), LoanQuerySet[Loan[Never]])

    plain = await Loan.objects.aget(pk=1)
    assert_type((plain.pk, plain.book_id, plain.guarantor_id), tuple[int, int, int | None])
    assert_type(await plain.afetch("book"), Book)
    assert_type(await plain.extras.alist(), list[Book])
    plain.book = await Book.objects.aget(pk=1)
    anything(plain)
    anything(two)
    base(plain)

    assert_type(given.book, Book)
    assert_type(given.guarantor, User | None)
    made = await Loan.objects.acreate(book=Book(), reader=User())
    assert_type(made.book, Book)
    told = await Loan.objects.prefetch_related(Prefetch("book")).aget(pk=1)
    assert_type(told.book, Book)
    anyhow = await Loan.objects.select_related("book", "book__author").aget(pk=1)
    assert_type(anyhow.book, Book)
    annotated = await Loan.objects.annotate(n=Count("extras")).aget(pk=1)
    assert_type(annotated.book, Book)
    loans: list[Loan] = await Loan.objects.select_related("book").alist()
    loans.append(plain)
    title(loan)
    title(three)
    title(made)

    c = Loan.objects.columns
    rows = Loan.objects.select_related("book").filter(c.reader.username.eq("x")).select(c.id, c.book.title)
    assert_type(await rows.order_by(c.guarantor.score.desc()).alist(), list[tuple[int, str]])
    assert_type(await Loan.objects.values_as(Note, title=c.book.title).alist(), list[Note])
    assert_type(await Loan.objects.select(c.id, c.receipt.pk).afirst(), tuple[int, int | None] | None)
    assert_type(await LongLoan.objects.select(c.id, LongLoan.objects.columns.until).alist(), list[tuple[int, date]])

    long = await LongLoan.objects.select_related("book", "receipt").aget(pk=1)
    assert_type(long.book, Book)
    title(long)
    reminder = await Reminder.objects.aget(pk=1)
    assert_type(reminder.loan.book, Book)


async def wrong() -> None:
    plain = await Loan.objects.aget(pk=1)
    print(plain.book)  # E: arg-type
    print(plain.receipt)  # E: arg-type
    loan = await Loan.objects.filter(pk=1).select_related("book").aget()
    print(loan.reader)  # E: arg-type
    print(loan.guarantor)  # E: arg-type
    title(plain)  # E: arg-type
    title(await Loan.objects.select_related("reader", "guarantor").aget(pk=1))  # E: arg-type
    two = await Loan.objects.select_related("reader").prefetch_related("guarantor").aget(pk=1)
    two.guarantor.username  # E: union-attr
    print(two.book)  # E: arg-type
    Loan.objects.select_related("boook")  # E: call-overload
    Loan.objects.select_related("book", "boook")  # E: call-overload
    Loan.objects.select_related("extras")  # E: call-overload
    Loan.objects.prefetch_related("extra")  # E: call-overload
    async for each in Loan.objects.open():
        print(each.book.title)  # E: arg-type
    long = await LongLoan.objects.aget(pk=1)
    print(long.reader)  # E: arg-type
    print((await Receipt.objects.aget(pk=1)).loan)  # E: arg-type
    Loan().boook  # E: attr-defined
    Loan.objects.select(LongLoan.objects.columns.until)  # E: arg-type
