"""Asyncpg by hand: the same statements on the other driver."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg

from devtools.bench.contestants import handwritten as by_hand
from devtools.bench.contestants.base import Conditions, Contestant

__all__ = ["AsyncpgPool", "AsyncpgPoolWithoutReset", "decode_json"]

_SQL = by_hand.SQL


async def decode_json(connection: Any) -> None:
    """Have jsonb parsed, as all the others do: asyncpg itself leaves it text."""
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _no_reset(connection: Any) -> None:
    """Give a connection back as it is."""


class AsyncpgPool(Contestant):
    """``async with pool.acquire()``, fetch; rows as asyncpg's records."""

    packages = ("asyncpg",)
    unsupported = {"build": "SQL is written by hand"}
    options: Mapping[str, Any] = {}

    async def open(self, url: str, connections: int, small: int) -> None:
        self.pool = await asyncpg.create_pool(
            url,
            min_size=connections,
            max_size=connections,
            init=decode_json,
            max_inactive_connection_lifetime=0,  # others have their turn in between
            **self.options,
        )

    async def close(self) -> None:
        await self.pool.close()

    async def _fetch(self, sql: str, *parameters: Any) -> Any:
        async with self.pool.acquire() as connection:
            return await connection.fetch(sql, *parameters)

    async def get(self, pk: int) -> Any:
        async with self.pool.acquire() as connection:
            return await connection.fetchrow(_SQL["get"], pk)

    async def count(self, author: int) -> int:
        async with self.pool.acquire() as connection:
            return int(await connection.fetchval(_SQL["count"], author))

    async def exists(self, author: int, price: Decimal) -> bool:
        return bool(await self._fetch(_SQL["exists"], author, price))

    async def update(self, pk: int, price: Decimal, pages: int) -> None:
        async with self.pool.acquire() as connection:
            await connection.execute(_SQL["update"], price, pages, pk)

    async def create(self, values: Mapping[str, Any]) -> int:
        async with self.pool.acquire() as connection:
            return int(await connection.fetchval(_SQL["create"], *values.values()))

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        async with self.pool.acquire() as connection, connection.transaction():
            found = await connection.fetchrow(_SQL["author"], author)
            book = await connection.fetchrow(_SQL["written"], pk)
            await connection.execute(_SQL["reprice"], price, pk)
        return found, book

    async def dicts(self, price: Decimal) -> Sequence[Any]:
        return await self._fetch(_SQL["dicts"], price)  # type: ignore[no-any-return]

    async def objects(self, price: Decimal) -> Sequence[Any]:
        return await self._fetch(_SQL["objects"], price)  # type: ignore[no-any-return]

    async def related(self, price: Decimal) -> Sequence[Any]:
        return await self._fetch(_SQL["related"], price)  # type: ignore[no-any-return]

    async def prefetched(self, pk: int) -> Sequence[Any]:
        async with self.pool.acquire() as connection:
            books = await connection.fetch(_SQL["from_pk"], pk)
            tags: dict[int, list[Any]] = {book[0]: [] for book in books}
            for tag in await connection.fetch(_SQL["tags"], list(tags)):
                tags[tag[0]].append(tag)
        return [(book, tags[book[0]]) for book in books]

    async def annotated(self, pk: int, price: Decimal, born: int) -> Sequence[Any]:
        return await self._fetch(_SQL["annotated"], price, price, pk, born)  # type: ignore[no-any-return]

    async def bulk(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        columns = zip(*(row.values() for row in rows), strict=True)
        return [pk for (pk,) in await self._fetch(_SQL["bulk"], *map(list, columns))]

    def build(self, price: Decimal) -> Any:
        raise NotImplementedError

    async def rows(self, limit: int) -> Sequence[Any]:
        return await self._fetch(_SQL["rows"], limit)  # type: ignore[no-any-return]

    async def wide(self, width: int) -> Sequence[Any]:
        return await self._fetch(by_hand.wide(width))  # type: ignore[no-any-return]

    async def numbered(self, number: int, pk: int) -> Any:
        async with self.pool.acquire() as connection:
            return await connection.fetchrow(by_hand.numbered(number), pk)

    async def shape(self, conditions: Conditions) -> Sequence[Any]:
        sql, parameters = by_hand.shape(conditions)
        return await self._fetch(sql, *parameters)  # type: ignore[no-any-return]

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        async with self.pool.acquire() as connection, connection.transaction():
            for name, parameters in by_hand.EXERCISE:
                await connection.fetch(_SQL[name], *parameters)
            yield

    def row(self, thing: Any, columns: Sequence[str]) -> tuple[Any, ...]:
        return by_hand.row(thing, columns)

    def author_of(self, book: Any) -> Any:
        return by_hand.author_of(book)

    def tags_of(self, book: Any) -> list[str]:
        return by_hand.tags_of(book)


class AsyncpgPoolWithoutReset(AsyncpgPool):
    """Without the round trip by which asyncpg's pool resets a connection after each use."""

    options = {"reset": _no_reset}
