"""Psycopg by hand: the measure of all others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from devtools.bench.contestants import handwritten as by_hand
from devtools.bench.contestants.base import Conditions, Contestant

__all__ = ["PsycopgPool"]

_SQL = {name: by_hand.with_percent(text) for name, text in by_hand.SQL.items()}


class PsycopgPool(Contestant):
    """``async with pool.connection()``, execute, fetchall; autocommit, prepared, rows as tuples."""

    packages = ("psycopg", "psycopg-pool")
    unsupported = {"build": "SQL is written by hand"}

    async def open(self, url: str, connections: int, small: int) -> None:
        self.pool = AsyncConnectionPool(
            url,
            min_size=connections,
            max_size=connections,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0},
        )
        await self.pool.open(wait=True)

    async def close(self) -> None:
        await self.pool.close()

    async def _fetch(self, sql: Any, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(sql, parameters)
            return await cursor.fetchall()

    async def get(self, pk: int) -> Any:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(_SQL["get"], (pk,))
            return await cursor.fetchone()

    async def count(self, author: int) -> int:
        ((number,),) = await self._fetch(_SQL["count"], (author,))
        return int(number)

    async def exists(self, author: int, price: Decimal) -> bool:
        return bool(await self._fetch(_SQL["exists"], (author, price)))

    async def update(self, pk: int, price: Decimal, pages: int) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(_SQL["update"], (price, pages, pk))

    async def create(self, values: Mapping[str, Any]) -> int:
        *others, meta = values.values()
        ((pk,),) = await self._fetch(_SQL["create"], (*others, Jsonb(meta)))
        return int(pk)

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        async with self.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(_SQL["author"], (author,))
            found = await cursor.fetchone()
            cursor = await connection.execute(_SQL["written"], (pk,))
            book = await cursor.fetchone()
            await connection.execute(_SQL["reprice"], (price, pk))
        return found, book

    async def dicts(self, price: Decimal) -> Sequence[Any]:
        return await self._fetch(_SQL["dicts"], (price,))

    async def objects(self, price: Decimal) -> Sequence[Any]:
        return await self._fetch(_SQL["objects"], (price,))

    async def related(self, price: Decimal) -> Sequence[Any]:
        return await self._fetch(_SQL["related"], (price,))

    async def prefetched(self, pk: int) -> Sequence[Any]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(_SQL["from_pk"], (pk,))
            books = await cursor.fetchall()
            tags: dict[int, list[Any]] = {book[0]: [] for book in books}
            cursor = await connection.execute(_SQL["tags"], (list(tags),))
            for tag in await cursor.fetchall():
                tags[tag[0]].append(tag)
        return [(book, tags[book[0]]) for book in books]

    async def annotated(self, pk: int, price: Decimal, born: int) -> Sequence[Any]:
        return await self._fetch(_SQL["annotated"], (price, price, pk, born))

    async def bulk(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        *others, meta = zip(*(row.values() for row in rows), strict=True)
        parameters = [*map(list, others), [Jsonb(value) for value in meta]]
        return [pk for (pk,) in await self._fetch(_SQL["bulk"], parameters)]

    def build(self, price: Decimal) -> Any:
        raise NotImplementedError

    async def rows(self, limit: int) -> Sequence[Any]:
        return await self._fetch(_SQL["rows"], (limit,))

    async def wide(self, width: int) -> Sequence[Any]:
        return await self._fetch(by_hand.wide(width), ())

    async def numbered(self, number: int, pk: int) -> Any:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(by_hand.with_percent(by_hand.numbered(number)), (pk,))
            return await cursor.fetchone()

    async def shape(self, conditions: Conditions) -> Sequence[Any]:
        sql, parameters = by_hand.shape(conditions)
        return await self._fetch(by_hand.with_percent(sql), parameters)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        async with self.pool.connection() as connection, connection.transaction():
            for name, parameters in by_hand.EXERCISE:
                cursor = await connection.execute(_SQL[name], parameters)
                await cursor.fetchall()
            yield

    def row(self, thing: Any, columns: Sequence[str]) -> tuple[Any, ...]:
        return by_hand.row(thing, columns)

    def author_of(self, book: Any) -> Any:
        return by_hand.author_of(book)

    def tags_of(self, book: Any) -> list[str]:
        return by_hand.tags_of(book)
