"""More of Django's async methods, for the contestants that are Django: what else each of them costs.

Each answers with plain values, which plain SQL must find as well.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from devtools.bench.schema import Sizes

__all__ = ["VERBS", "Numbers", "Verb"]

_NEW = {
    "author_id": 1,
    "description": "",
    "created_at": dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
    "meta": {},
}


@dataclass(frozen=True)
class Verb:
    """A piece of a program as its author writes it."""

    title: str
    #: From a contestant and numbers of rows to the answer.
    call: Callable[[Any, Numbers], Awaitable[Any]]
    #: What returns the right answer as rows, once it was called; the numbers are its parameters.
    right: str


@dataclass(frozen=True)
class Numbers:
    """Rows for the *number*-th call; those of two calls one after the other lie far apart."""

    number: int

    def _of(self, size: int) -> int:
        return 1 + self.number * 7919 % size

    @property
    def book(self) -> int:
        return self._of(Sizes.books - 100)

    @property
    def written(self) -> int:
        return self._of(Sizes.written - 100)

    @property
    def author(self) -> int:
        return self._of(Sizes.authors)

    @property
    def tag(self) -> int:
        return self._of(Sizes.tags)

    def all(self) -> dict[str, int]:
        """By name, for SQL."""
        return {name: getattr(self, name) for name in ("number", "book", "written", "author", "tag")}


async def _rows(queryset: Any) -> list[Any]:
    return [row async for row in queryset]


def _pks(rows: Iterable[Any]) -> list[tuple[int]]:
    return [(row.pk,) for row in rows]


async def _first(on: Any, at: Numbers) -> Any:
    return _pks([await on.of(on.models.Book).filter(author_id=at.author).afirst()])


async def _latest(on: Any, at: Numbers) -> Any:
    return _pks([await on.of(on.models.Book).filter(author_id=at.author).alatest("created_at")])


async def _in_bulk(on: Any, at: Numbers) -> Any:
    found = await on.of(on.models.Book).ain_bulk([at.book, at.book + 1, at.book + 2])
    return [(pk,) for pk in sorted(found)]


async def _aggregate(on: Any, at: Numbers) -> Any:
    from django.db.models import Count, Sum

    found = await on.of(on.models.Book).filter(author_id=at.author).aaggregate(Count("pk"), Sum("price"))
    return [tuple(found.values())]


async def _grouped(on: Any, at: Numbers) -> Any:
    from django.db.models import Count

    books = on.of(on.models.Book).filter(pk__gt=at.book, pk__lte=at.book + 50)
    return await _rows(books.values_list("in_print").annotate(n=Count("pk")).order_by("in_print"))


async def _exists_in_slice(on: Any, at: Numbers) -> Any:
    return [(await on.of(on.models.Book).filter(author_id=at.author)[:10].aexists(),)]


async def _either(on: Any, at: Numbers) -> Any:
    books = on.of(on.models.Book)
    either = books.filter(pk=at.book) | books.filter(pk=at.book + 1)
    return _pks(await _rows(either.order_by("pk")))


async def _in_range(on: Any, at: Numbers) -> Any:
    books = on.of(on.models.Book).filter(pk__in=range(at.book, at.book + 3))
    return _pks(await _rows(books.order_by("pk")))


async def _tags(on: Any, at: Numbers) -> Any:
    return _pks(await _rows(on.models.Book(pk=at.book).tags.order_by("pk")))


async def _with_authors(on: Any, at: Numbers) -> Any:
    books = on.of(on.models.Book).filter(pk__gte=at.book).order_by("pk").prefetch_related("author")
    return [(book.author.name,) for book in await _rows(books[:20])]


async def _streamed(on: Any, at: Numbers) -> Any:
    count = 0
    async for _ in on.of(on.models.Book).filter(pk__gt=at.book, pk__lte=at.book + 1000).aiterator():
        count += 1
    return [(count,)]


async def _get_or_create(on: Any, at: Numbers) -> Any:
    tag, created = await on.of(on.models.Tag).aget_or_create(name=f"tag {at.tag}")
    return [(tag.pk, created)]


async def _update_or_create(on: Any, at: Numbers) -> Any:
    values = {"pages": at.number % 900}
    book, created = await on.of(on.models.WrittenBook).aupdate_or_create(pk=at.written, defaults=values)
    return [(book.pages, created)]


async def _save(on: Any, at: Numbers) -> Any:
    book = await on.of(on.models.WrittenBook).aget(pk=at.written)
    book.pages = at.number % 900
    await book.asave()
    return [(book.pages,)]


async def _save_field(on: Any, at: Numbers) -> Any:
    book = await on.of(on.models.WrittenBook).aget(pk=at.written)
    book.pages = at.number % 900
    await book.asave(update_fields=["pages"])
    return [(book.pages,)]


async def _refresh(on: Any, at: Numbers) -> Any:
    author = on.models.Author(pk=at.author)
    await author.arefresh_from_db()
    return [(author.name,)]


async def _delete(on: Any, at: Numbers) -> Any:
    book = await on.of(on.models.WrittenBook).acreate(**_NEW, title="Gone", price=Decimal(1))
    deleted, _ = await book.adelete()
    return [(deleted, 0)]


async def _add_and_remove(on: Any, at: Numbers) -> Any:
    book, tag = on.models.Book(pk=at.book), on.models.Tag(pk=at.tag)
    had = await book.tags.filter(pk=at.tag).aexists()
    await book.tags.aadd(tag)
    if not had:
        await book.tags.aremove(tag)
    return [(await book.tags.acount(),)]


async def _update_many(on: Any, at: Numbers) -> Any:
    model = on.models.WrittenBook
    books = [
        model(pk=at.written + n, title=f"Book {at.number}", pages=at.number % 900 + n) for n in range(20)
    ]
    return [(await on.of(model).abulk_update(books, ["title", "pages"]),)]


async def _create_few(on: Any, at: Numbers) -> Any:
    model = on.models.WrittenBook
    made = await on.of(model).abulk_create(
        [model(**_NEW, title=f"Few {n}", price=Decimal(n)) for n in range(20)]
    )
    return [(len({book.pk for book in made}),)]


_OF_AUTHOR = "FROM book WHERE author_id = %(author)s"

VERBS = (
    Verb("`filter().afirst()`", _first, f"SELECT id {_OF_AUTHOR} ORDER BY id LIMIT 1"),
    Verb("`filter().alatest()`", _latest, f"SELECT id {_OF_AUTHOR} ORDER BY created_at DESC LIMIT 1"),
    Verb(
        "`ain_bulk()` of 3",
        _in_bulk,
        "SELECT id FROM book WHERE id BETWEEN %(book)s AND %(book)s + 2 ORDER BY id",
    ),
    Verb("`aaggregate(Count, Sum)`", _aggregate, f"SELECT count(*), sum(price) {_OF_AUTHOR}"),
    Verb(
        "`values().annotate(Count)`",
        _grouped,
        "SELECT in_print, count(*) FROM book WHERE id BETWEEN %(book)s + 1 AND %(book)s + 50 "
        "GROUP BY 1 ORDER BY 1",
    ),
    Verb("`filter()[:10].aexists()`", _exists_in_slice, f"SELECT EXISTS (SELECT {_OF_AUTHOR})"),
    Verb(
        "`filter()` or `filter()`, 2 rows",
        _either,
        "SELECT id FROM book WHERE id IN (%(book)s, %(book)s + 1) ORDER BY id",
    ),
    Verb(
        "`filter(pk__in=range())`, 3 rows",
        _in_range,
        "SELECT id FROM book WHERE id BETWEEN %(book)s AND %(book)s + 2 ORDER BY id",
    ),
    Verb(
        "`book.tags`, 3 rows",
        _tags,
        "SELECT DISTINCT tag_id FROM book_tags WHERE book_id = %(book)s ORDER BY 1",
    ),
    Verb(
        "20 rows, `prefetch_related(foreign key)`",
        _with_authors,
        "SELECT name FROM book JOIN author ON author.id = author_id "
        "WHERE book.id BETWEEN %(book)s AND %(book)s + 19 ORDER BY book.id",
    ),
    Verb("`aiterator()`, 1,000 rows", _streamed, "SELECT least(1000, max(id) - %(book)s) FROM book"),
    Verb("`aget_or_create()`, there", _get_or_create, "SELECT %(tag)s, false"),
    Verb(
        "`aupdate_or_create()`, there",
        _update_or_create,
        "SELECT pages, false FROM wbook WHERE id = %(written)s",
    ),
    Verb("`aget()` and `asave()`", _save, "SELECT pages FROM wbook WHERE id = %(written)s"),
    Verb(
        "`aget()` and `asave(update_fields=)`", _save_field, "SELECT pages FROM wbook WHERE id = %(written)s"
    ),
    Verb("`arefresh_from_db()`", _refresh, "SELECT name FROM author WHERE id = %(author)s"),
    Verb("`acreate()` and `adelete()`", _delete, "SELECT 1, count(*) FROM wbook WHERE title = 'Gone'"),
    Verb(
        "`tags`: `aexists()`, `aadd()`, `aremove()`, `acount()`",
        _add_and_remove,
        "SELECT count(*) FROM book_tags WHERE book_id = %(book)s",
    ),
    Verb(
        "`abulk_update()` of 20, 2 fields",
        _update_many,
        "SELECT count(*) FROM wbook WHERE title = 'Book ' || %(number)s",
    ),
    Verb(
        "`abulk_create()` of 20",
        _create_few,
        "SELECT count(DISTINCT title) FROM wbook WHERE title LIKE 'Few %%'",
    ),
)
