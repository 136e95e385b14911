"""Piccolo, on asyncpg."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

from piccolo import columns as column
from piccolo.engine.postgres import PostgresEngine
from piccolo.table import Table, create_table_class

from devtools.bench.contestants.base import Conditions, Contestant
from devtools.bench.schema import DICT_COLUMNS, WIDTHS, numbered_table, wide_columns, wide_table

__all__ = ["Piccolo"]

_OPERATORS = {
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "startswith": lambda column, value: column.like(f"{value}%"),
    "contains": lambda column, value: column.like(f"%{value}%"),
}


class Piccolo(Contestant):
    """With its pool of asyncpg connections."""

    packages = ("piccolo", "asyncpg")
    unsupported = {
        "annotated": "no CASE and no columns of its own in objects",
        "prefetched": "many to many only into dictionaries, or one query for each object",
    }
    remarks = {"objects": "`.output(load_json=True)`, as the others parse JSON too"}

    def _declare(self, name: str, table: str, /, **columns: Any) -> Any:
        return create_table_class(
            name,
            class_kwargs={"tablename": table, "db": self._engine},
            class_members={"id": column.BigSerial(primary_key=True), **columns},
        )

    def _columns_of_book(self) -> dict[str, Any]:
        return {
            "author": column.ForeignKey(self._author, db_column_name="author_id"),
            "title": column.Varchar(200),
            "description": column.Text(),
            "in_print": column.Boolean(),
            "price": column.Numeric(digits=(8, 2)),
            "created_at": column.Timestamptz(),
            "pages": column.Integer(null=True),
            "meta": column.JSONB(),
        }

    async def open(self, url: str, connections: int, small: int) -> None:
        parts = urlsplit(url)
        self._engine = PostgresEngine(
            {
                "host": parts.hostname,
                "port": parts.port,
                "user": unquote(parts.username or ""),
                "password": unquote(parts.password or ""),
                "database": parts.path.lstrip("/"),
            }
        )
        self._author = self._declare(
            "Author",
            "author",
            name=column.Varchar(100),
            email=column.Varchar(254),
            country=column.Varchar(2),
            born=column.Integer(),
        )
        self._book = self._declare("Book", "book", **self._columns_of_book())
        self._written = self._declare("WrittenBook", "wbook", **self._columns_of_book())
        self._wide = {}
        for width in WIDTHS:
            members = {
                name: column.Text() if number % 2 else column.Integer()
                for number, name in enumerate(wide_columns(width), 1)
            }
            self._wide[width] = self._declare(f"Wide{width}", wide_table(width), **members)
        self._numbered = [
            self._declare(
                f"Numbered{number}",
                numbered_table(number),
                c1=column.Text(),
                c2=column.Integer(),
                c3=column.Text(),
                c4=column.Integer(),
            )
            for number in range(small)
        ]
        await self._engine.start_connection_pool(
            min_size=connections, max_size=connections, max_inactive_connection_lifetime=0
        )

    async def close(self) -> None:
        await self._engine.close_connection_pool()

    async def get(self, pk: int) -> Any:
        return await self._book.objects().get(self._book.id == pk).output(load_json=True)

    async def count(self, author: int) -> int:
        book = self._book
        return int(await book.count().where(book.author == author, book.in_print.eq(True)))

    async def exists(self, author: int, price: Decimal) -> bool:
        book = self._book
        return bool(await book.exists().where(book.author == author, book.price > price))

    async def update(self, pk: int, price: Decimal, pages: int) -> None:
        book = self._written
        await book.update({book.price: price, book.pages: pages}).where(book.id == pk)

    def _new(self, values: Mapping[str, Any]) -> Any:
        return self._written(
            **{"author" if name == "author_id" else name: value for name, value in values.items()}
        )

    async def create(self, values: Mapping[str, Any]) -> int:
        book = self._new(values)
        await book.save()
        return int(book.id)

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        written = self._written
        async with self._engine.transaction():
            found = await self._author.objects().get(self._author.id == author)
            book = await written.objects().get(written.id == pk).output(load_json=True)
            await written.update({written.price: price}).where(written.id == pk)
        return found, book

    def _in_print(self, query: Any, price: Decimal) -> Any:
        book = self._book
        found = query.where(book.in_print.eq(True), book.price > price).order_by(book.id).limit(100)
        return found.output(load_json=True)

    async def dicts(self, price: Decimal) -> Sequence[Any]:
        columns = [getattr(self._book, name) for name in DICT_COLUMNS]
        return list(await self._in_print(self._book.select(*columns), price))

    async def objects(self, price: Decimal) -> Sequence[Any]:
        return list(await self._in_print(self._book.objects(), price))

    async def related(self, price: Decimal) -> Sequence[Any]:
        return list(await self._in_print(self._book.objects(self._book.author), price))

    async def prefetched(self, pk: int) -> Sequence[Any]:
        raise NotImplementedError

    async def annotated(self, pk: int, price: Decimal, born: int) -> Sequence[Any]:
        raise NotImplementedError

    async def bulk(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        books = [self._new(row) for row in rows]
        await self._written.insert(*books)
        return [book.id for book in books]

    def build(self, price: Decimal) -> Any:
        (query,) = self._in_print(self._book.objects(), price).querystrings
        return query.compile_string()

    async def rows(self, limit: int) -> Sequence[Any]:
        return list(await self._book.objects().order_by(self._book.id).limit(limit).output(load_json=True))

    async def wide(self, width: int) -> Sequence[Any]:
        table = self._wide[width]
        return list(await table.objects().order_by(table.id))

    async def numbered(self, number: int, pk: int) -> Any:
        table = self._numbered[number]
        return await table.objects().get(table.id == pk)

    async def shape(self, conditions: Conditions) -> Sequence[Any]:
        book = self._book
        clauses = [
            _OPERATORS[lookup](book.author if name == "author_id" else getattr(book, name), value)
            for name, lookup, value in conditions
        ]
        query = book.objects().where(*clauses).order_by(book.id).limit(10)
        return list(await query.output(load_json=True))

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        async with self._engine.transaction():
            await self.get(1)
            await self.objects(Decimal(10))
            await self.count(1)
            yield

    def row(self, thing: Any, columns: Sequence[str]) -> tuple[Any, ...]:
        if isinstance(thing, Mapping):
            return super().row(thing, columns)
        found = [getattr(thing, "author" if name == "author_id" else name) for name in columns]
        return tuple(each.id if isinstance(each, Table) else each for each in found)

    def sql(self, built: Any) -> str:
        return str(built[0])
