"""What the right answer to an operation is, by plain SQL on a connection of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from devtools.bench.contestants.base import Contestant
from devtools.bench.operations import Operation
from devtools.bench.schema import (
    AUTHOR_COLUMNS,
    BOOK_COLUMNS,
    DICT_COLUMNS,
    WRITTEN_COLUMNS,
    numbered_table,
    wide_columns,
    wide_table,
)
from devtools.bench.verbs import VERBS, Numbers

__all__ = ["wrong"]

_IN_PRINT = "FROM book WHERE in_print AND price > %s ORDER BY id LIMIT 100"


def wrong(
    connection: psycopg.Connection[Any],
    contestant: Contestant,
    operation: Operation,
    arguments: Sequence[Any],
    answer: Any,
) -> str | None:
    """Return what is wrong with an answer, or None. For a write, look at the tables after it."""
    if answer is None and not operation.writes:
        return "None was returned"
    check = _Checks(connection, contestant)
    expected, got = getattr(check, operation.name)(answer, *arguments)
    if expected == got:
        return None
    return f"expected {_short(expected)}, got {_short(got)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "..."


class _Checks:
    """A method for each operation: the expected answer and the given one, in comparable form."""

    def __init__(self, connection: psycopg.Connection[Any], contestant: Contestant) -> None:
        self._connection = connection
        self._contestant = contestant

    def _select(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql.SQL(query), parameters).fetchall()

    def _of(self, table: str, pk: int, columns: Sequence[str] = BOOK_COLUMNS) -> tuple[Any, ...]:
        (row,) = self._select(f"SELECT {', '.join(columns)} FROM {table} WHERE id = %s", pk)
        return row

    def _rows(self, answer: Sequence[Any], columns: Sequence[str] = BOOK_COLUMNS) -> list[tuple[Any, ...]]:
        return [self._contestant.row(each, columns) for each in answer]

    def get(self, answer: Any, pk: int) -> Any:
        return self._of("book", pk), self._contestant.row(answer, BOOK_COLUMNS)

    request = get

    def count(self, answer: int, author: int) -> Any:
        return self._select("SELECT count(*) FROM book WHERE author_id = %s AND in_print", author), [
            (answer,)
        ]

    def exists(self, answer: bool, author: int, price: Any) -> Any:
        query = "SELECT EXISTS (SELECT 1 FROM book WHERE author_id = %s AND price > %s)"
        return self._select(query, author, price), [(answer,)]

    def update(self, answer: None, pk: int, price: Any, pages: int) -> Any:
        return (price, pages), self._of("wbook", pk, ("price", "pages"))

    def create(self, answer: int, values: dict[str, Any]) -> Any:
        return tuple(values.values()), self._of("wbook", answer, WRITTEN_COLUMNS)

    def block(self, answer: tuple[Any, Any], author: int, pk: int, price: Any) -> Any:
        found, book = answer
        expected = (self._of("author", author, AUTHOR_COLUMNS), pk, price)
        got_author = self._contestant.row(found, AUTHOR_COLUMNS)
        return expected, (
            got_author,
            self._contestant.row(book, ("id",))[0],
            *self._of("wbook", pk, ("price",)),
        )

    def dicts(self, answer: Sequence[Any], price: Any) -> Any:
        query = f"SELECT {', '.join(DICT_COLUMNS)} {_IN_PRINT}"
        return self._select(query, price), self._rows(answer, DICT_COLUMNS)

    def objects(self, answer: Sequence[Any], price: Any) -> Any:
        return self._select(f"SELECT {', '.join(BOOK_COLUMNS)} {_IN_PRINT}", price), self._rows(answer)

    def related(self, answer: Sequence[Any], price: Any) -> Any:
        books, rows = self.objects(answer, price)
        names = ", ".join(AUTHOR_COLUMNS)
        authors = {row[0]: row for row in self._select(f"SELECT {names} FROM author")}
        got = [self._contestant.row(self._contestant.author_of(book), AUTHOR_COLUMNS) for book in answer]
        return (books, [authors[book[1]] for book in books]), (rows, got)

    def prefetched(self, answer: Sequence[Any], pk: int) -> Any:
        names = ", ".join(BOOK_COLUMNS)
        books = self._select(f"SELECT {names} FROM book WHERE id >= %s ORDER BY id LIMIT 20", pk)
        query = (
            "SELECT array_agg(tag.name ORDER BY tag.name) FROM book_tags JOIN tag ON tag.id = tag_id "
            "WHERE book_id = ANY(%s) GROUP BY book_id ORDER BY book_id"
        )
        tags = [names for (names,) in self._select(query, [book[0] for book in books])]
        return (books, tags), (
            self._rows(answer),
            [sorted(self._contestant.tags_of(book)) for book in answer],
        )

    def annotated(self, answer: Sequence[Any], pk: int, price: Any, born: int) -> Any:
        query = (
            f"SELECT {', '.join(BOOK_COLUMNS)}, (price > %s)::int, price - %s FROM book WHERE id >= %s "
            "AND author_id IN (SELECT id FROM author WHERE born >= %s) ORDER BY id LIMIT 20"
        )
        columns = (*BOOK_COLUMNS, "dear", "difference")
        return self._select(query, price, price, pk, born), self._rows(answer, columns)

    def bulk(self, answer: Sequence[int], rows: Sequence[dict[str, Any]]) -> Any:
        names = ", ".join(("id", *WRITTEN_COLUMNS))
        found = {
            pk: row for pk, *row in self._select(f"SELECT {names} FROM wbook WHERE id = ANY(%s)", [*answer])
        }
        return [[*row.values()] for row in rows], [found.get(pk) for pk in answer]

    def build(self, answer: Any, price: Any) -> Any:
        text = self._contestant.sql(answer).upper()
        return True, text.startswith("SELECT") and "LIMIT" in text and "ORDER BY" in text

    def rows(self, answer: Sequence[Any], limit: int) -> Any:
        query = f"SELECT {', '.join(BOOK_COLUMNS)} FROM book ORDER BY id LIMIT %s"
        return self._select(query, limit), self._rows(answer)

    def wide(self, answer: Sequence[Any], width: int) -> Any:
        columns = ("id", *wide_columns(width))
        query = f"SELECT {', '.join(columns)} FROM {wide_table(width)} ORDER BY id"
        return self._select(query), self._rows(answer, columns)

    def numbered(self, answer: Any, number: int, pk: int) -> Any:
        columns = ("id", "c1", "c2", "c3", "c4")
        return self._of(numbered_table(number), pk, columns), self._contestant.row(answer, columns)

    def verb(self, answer: Sequence[Any], index: int, number: int) -> Any:
        rows = self._connection.execute(VERBS[index].right.encode(), Numbers(number).all()).fetchall()
        return rows, [tuple(row) for row in answer]

    def shape(self, answer: Sequence[Any], conditions: Any) -> Any:
        query = f"SELECT {', '.join(BOOK_COLUMNS)} FROM book WHERE pages IS NOT NULL ORDER BY id LIMIT 10"
        if not any(column == "pages" for column, *_ in conditions):
            query = query.replace("WHERE pages IS NOT NULL", "")
        return self._select(query), self._rows(answer)
