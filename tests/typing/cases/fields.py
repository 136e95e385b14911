"""Attributes of rows: exact, nullable, keys, choices."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts.turbo import User
from shop.turbo import Book, Tag
from typing_extensions import assert_type


def right(book: Book, user: User, tag: Tag) -> None:
    assert_type(book.pk, int)
    assert_type(book.id, int)
    assert_type(book.title, str)
    assert_type(book.price, Decimal)
    assert_type(book.published_on, date | None)
    assert_type(book.created_at, datetime)
    assert_type(book.kind, str)
    assert_type(book.get_kind_display(), str)
    assert_type(book.get_next_by_created_at(), Book)
    assert_type(book.meta, Any)
    assert_type(user.score, int | None)
    assert_type(user.is_active, bool)
    assert_type(tag.pk, UUID)
    assert_type(user.shout(), str)
    book.title = "Emma"
    book.kind = Book.Kind.ESSAY
    book.published_on = None
    user.score = 3


def wrong(book: Book, user: User) -> None:
    book.titel  # E: attr-defined
    number: int = book.title  # E: assignment
    when: date = book.published_on  # E: assignment
    book.title = 1  # E: assignment
    book.title = None  # E: assignment
    user.is_active = "yes"  # E: assignment
    user.shuot()  # E: attr-defined
    print(number, when)
