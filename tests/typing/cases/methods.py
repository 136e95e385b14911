"""Hand-written methods of managers, querysets and models."""

from __future__ import annotations

from typing import Any

from accounts.turbo import User
from lending.models import Fine as RawFine
from lending.turbo import Fine, FineQuerySet, Loan, Reminder, ReminderQuerySet
from shop.turbo import Book
from typing_extensions import assert_type

from turbo_orm import AsyncQuerySet


async def querysets() -> None:
    assert_type(await Fine.objects.books().alist(), list[Book])
    assert_type(await Fine.objects.plain_books().alist(), list[Book])
    assert_type(Fine.objects.small(), FineQuerySet[Fine])
    assert_type(Fine.objects.filter(amount=1).small().filter(amount=2), FineQuerySet[Fine])
    assert_type(await Fine.objects.amounts().alist(), list[int])
    assert_type(Fine.objects.halves(), tuple[FineQuerySet[Fine], FineQuerySet[Fine]])
    assert_type(Fine.objects.small().halves()[0].small(), FineQuerySet[Fine])
    async for fine in Fine.objects.counted():
        assert_type((fine.amount, fine.number + 1), tuple[int, Any])


async def rows(book: Book, user: User) -> None:
    assert_type(await Fine.objects.newest(), Fine | None)
    assert_type(await Fine.objects.filter(amount=1).newest(), Fine | None)
    assert_type(await book.fines.filter(amount=1).newest(), Fine | None)
    assert_type(await Fine.objects.counted().newest(), Fine | None)
    async for fine in Fine.objects.filter(amount=1).each():
        assert_type(fine, Fine)
    async with Fine.objects.waived("age") as fine:
        assert_type(fine, Fine)
    async with Fine.objects.small().waived("age") as fine:
        assert_type(fine, Fine)
    assert_type(Fine.objects.payer(user), User)


async def of_rows(fine: Fine, raw: RawFine) -> None:
    """What methods and properties of the hand-written model give."""
    assert_type(fine.payer, User | None)
    assert_type(fine.first, Fine)
    assert_type(fine.lent().author.username, str)
    assert_type(fine.earlier(), FineQuerySet[Fine])
    assert_type(await fine.earlier(raw).small().newest(), Fine | None)
    assert_type(await fine.readers(), list[User])
    assert_type(fine.loans(), AsyncQuerySet[Loan])
    assert_type(await Fine.made(1), tuple[Fine, Fine])
    fine.first = raw
    fine.first = fine.book  # E: assignment
    fine.payer = None  # E: misc
    print(fine.payr)  # E: attr-defined
    print(fine.first.resaon)  # E: attr-defined
    fine.earlier(fine.book)  # E: arg-type
    fine.earlier().filter(amuont=1)  # E: call-arg


async def signatures(fine: Fine) -> None:
    assert_type(await Fine.objects.acreate(notify=True, amount=1), Fine)
    assert_type(await Fine.objects.filter(amount=1).acreate(notify=True, amount=1), Fine)
    assert_type(await fine.adelete(refund=True), tuple[int, dict[str, int]])


async def made_by_the_manager(loan: Loan) -> None:
    """Of a queryset class that `get_queryset()` of the manager makes."""
    assert_type(Reminder.objects.all(), ReminderQuerySet[Reminder])
    assert_type(await Reminder.objects.about(loan).alist(), list[Reminder])
    assert_type(await Reminder.objects.filter(pk=1).about(loan).alist(), list[Reminder])
    assert_type(await loan.reminders.order_by("pk").about(loan).afirst(), Reminder | None)
    assert_type(await Reminder.objects.newest(), Reminder)
    Reminder.objects.filter(pk=1).newest()  # E: attr-defined


async def of_a_generic_class(fine: Fine, book: Book) -> None:
    """Whose type variable stands for the model."""
    assert_type(await Fine.objects.or_none(pk=1), Fine | None)
    assert_type(await Fine.objects.filter(amount=1).or_none(pk=1), Fine | None)
    assert_type(await book.fines.others(fine), list[Fine])
    assert_type(Fine.objects.small().locked().small(), FineQuerySet[Fine])
    by_reason = await Fine.objects.small().by(lambda fine: fine.reason)
    print(by_reason["late"][0].amount)
    await Fine.objects.others(book)  # E: arg-type
