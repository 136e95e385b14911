"""Helpers that take the querysets, managers and classes of any model."""

from typing import Any, Generic, TypeVar

from accounts.turbo import User
from django.db.models import Model
from lending.turbo import Fine, Reminder
from shop.turbo import Book, BookQuerySet
from typing_extensions import assert_type

from turbo_orm import AsyncManager, AsyncQuerySet

M = TypeVar("M", bound=Model)
R = TypeVar("R")


async def row_of(rows: AsyncQuerySet[M], pk: int) -> M:
    return await rows.aget(pk=pk)


async def one_of(manager: AsyncManager[M]) -> "M | None":
    return await manager.afirst()


async def page_of(rows: AsyncQuerySet[Any, R]) -> list[R]:
    return await rows[:10].alist()


class Repository(Generic[M]):
    def __init__(self, rows: AsyncQuerySet[M]) -> None:
        self.rows = rows

    async def get(self, pk: int) -> M:
        return await self.rows.aget(pk=pk)


class Fines(Repository[Fine]):
    def __init__(self) -> None:
        super().__init__(Fine.objects.small())


async def right() -> None:
    # Of a model without a queryset class of its own, with one, with one that says whose it is.
    assert_type(await row_of(User.objects.all(), 1), User)
    assert_type(await row_of(Book.objects.published(), 1), Book)
    assert_type(await row_of(Fine.objects.small(), 1), Fine)
    assert_type(await one_of(Book.objects), Book | None)
    assert_type(await one_of(Reminder.objects), Reminder | None)
    assert_type(await page_of(Fine.objects.values_list("amount", flat=True)), list[int])
    assert_type(await page_of(Book.objects.values_list("title", flat=True)), list[str])
    assert_type(await page_of(Book.objects.published()), list[Book])
    assert_type(await Fines().get(1), Fine)


async def wrong(books: BookQuerySet[Book]) -> None:
    await one_of(books)  # E: arg-type
    strings: list[str] = await page_of(books)  # E: arg-type
    print(strings)
