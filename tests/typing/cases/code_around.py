"""Generated classes in ordinary code: subtypes, generics, isinstance, exceptions, invariance."""

from collections.abc import Sequence
from typing import TypeVar

import shop.models
from django.db import models
from shop.turbo import Book, BookQuerySet, Review
from typing_extensions import assert_type

M = TypeVar("M", bound=models.Model)


def first_of(rows: Sequence[M]) -> M:
    return rows[0]


def takes_hand_written(book: shop.models.Book) -> None: ...


def takes_books(books: list[Book]) -> None: ...


async def right(book: Book, anything: object) -> None:
    takes_hand_written(book)
    assert_type(first_of([book]), Book)
    if isinstance(anything, Book):
        assert_type(anything.title, str)
    takes_books(await Book.objects.alist())
    queryset: BookQuerySet[Book] = Book.objects.filter(title="x")
    try:
        await queryset.aget()
    except Book.DoesNotExist:
        return
    except (Review.DoesNotExist, Book.MultipleObjectsReturned) as error:
        print(error.args)


async def wrong(book: Book) -> None:
    takes_books([book, Review()])  # E: list-item
    rows: list[models.Model] = await Book.objects.alist()  # E: assignment
    takes_books(await Review.objects.alist())  # E: arg-type
    print(rows)
