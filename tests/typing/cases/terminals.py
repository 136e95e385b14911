"""Methods which run a query."""

from asyncio import create_task, gather
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from accounts.turbo import User
from django.db.models import Avg, Sum
from shop.turbo import Book
from typing_extensions import assert_type

from turbo_orm import batch

T = TypeVar("T")


async def through(coroutine: Coroutine[None, None, T]) -> T:
    return await coroutine


async def right(book: Book) -> None:
    assert_type(await Book.objects.alist(), list[Book])
    assert_type(await Book.objects.all().alist(), list[Book])
    assert_type(await Book.objects.afirst(), Book | None)
    assert_type(await Book.objects.filter(title="x").alast(), Book | None)
    assert_type(await Book.objects.acount(), int)
    assert_type(await Book.objects.aexists(), bool)
    assert_type(await Book.objects.acontains(book), bool)
    assert_type(await Book.objects.filter(pk=1).adelete(), tuple[int, dict[str, int]])
    assert_type(await Book.objects.aaggregate(Sum("price"), mean=Avg("price")), dict[str, Any])
    assert_type(await Book.objects.ain_bulk([1, 2]), dict[int, Book])
    assert_type(await Book.objects.aexplain(analyze=True), str)
    assert_type(Book.objects.filter(title="x").aiterator(), AsyncIterator[Book])
    assert_type([row async for row in Book.objects.filter(title="x")], list[Book])
    assert_type([row async for row in Book.objects.aiterator(chunk_size=10)], list[Book])
    assert_type([row async for row in Book.objects], list[Book])
    async for row in Book.objects.raw("SELECT *, 1 AS one FROM shop_book WHERE id = %s", [1]):
        assert_type(row.title, str)
        assert_type(row.one, Any)
    for found in await Book.objects.araw("SELECT * FROM shop_book"):
        assert_type(found.author, User)
    # The same models are used in sync code.
    assert_type(list(Book.objects.all()), list[Book])
    assert_type(Book.objects.first(), Book | None)
    assert_type(Book.objects.count(), int)
    assert_type(Book.objects.in_bulk([1]), dict[int, Book])
    assert_type(len(Book.objects.all()), int)
    # Several in one round trip.
    listed = await batch(Book.objects.filter(title="x"), Book.objects.alist(), Book.objects.acount())
    assert_type(listed, tuple[list[Book], list[Book], int])
    assert_type(await batch(Book.objects.aget(pk=1), Book.objects.acount()), tuple[Book, int])
    # At the same time.
    assert_type(await gather(Book.objects.aget(pk=1), Book.objects.acount()), tuple[Book, int])
    assert_type(await create_task(Book.objects.aget(pk=1)), Book)
    assert_type(await through(Book.objects.aget(pk=1)), Book)


async def wrong(book: Book) -> None:
    books: list[Book] = Book.objects.alist()  # E: assignment
    one: Book = await Book.objects.afirst()  # E: assignment
    number: str = await Book.objects.acount()  # E: assignment
    await Book.objects.get(pk=1)  # E: misc
    await Book.objects.alistt()  # E: attr-defined
    await Book.objects.filter(title="x").frist()  # E: attr-defined
    await Book.objects.acontains(3)  # E: arg-type
    await Book.objects.ain_bulk(["x"])  # E: list-item
    await Book.objects.aaggregate(mean=3)  # E: arg-type
    book.objects  # E: arg-type
    print(books, one, number)
