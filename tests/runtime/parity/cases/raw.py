"""`Model.objects.raw()`: its rows are fetched by `async for` alone."""

from __future__ import annotations

from tests.project.library.models import Author, Book
from tests.runtime.parity.outcome import Case, on

__all__ = ["CASES"]

CASES = [
    Case(
        "RawQuerySet",
        "__aiter__",
        lambda: on(Author.objects.raw("SELECT * FROM library_author WHERE age > %s ORDER BY 1", [1])),
    ),
    Case(
        "RawQuerySet",
        "__aiter__",
        lambda: on(Book.objects.raw("SELECT id, title FROM library_book").prefetch_related("tags")),
        "prefetching",
    ),
    Case("RawQuerySet", "__aiter__", lambda: on(Author.objects.raw("SELECT nothing")), "database error"),
]
