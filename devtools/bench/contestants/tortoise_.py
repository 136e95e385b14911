"""Tortoise ORM, on asyncpg."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from tortoise import Tortoise as TortoiseORM
from tortoise import fields
from tortoise.models import Model
from tortoise.transactions import in_transaction

from devtools.bench.contestants.base import Conditions, Contestant
from devtools.bench.schema import DICT_COLUMNS, WIDTHS, numbered_table, wide_columns, wide_table

__all__ = ["Tortoise"]


def _declare(name: str, table: str, /, **columns: Any) -> Any:
    meta = type("Meta", (), {"table": table})
    return type(Model)(name, (Model,), {"id": fields.BigIntField(primary_key=True), **columns, "Meta": meta})


def _book() -> dict[str, Any]:
    return {
        "author": fields.ForeignKeyField("bench.Author", related_name=False),
        "title": fields.CharField(200),
        "description": fields.TextField(),
        "in_print": fields.BooleanField(),
        "price": fields.DecimalField(8, 2),
        "created_at": fields.DatetimeField(),
        "pages": fields.IntField(null=True),
        "meta": fields.JSONField(),
    }


def _small_columns() -> dict[str, Any]:
    return {
        "c1": fields.TextField(),
        "c2": fields.IntField(),
        "c3": fields.TextField(),
        "c4": fields.IntField(),
    }


class Tortoise(Contestant):
    """With its pool of asyncpg connections."""

    packages = ("tortoise-orm", "asyncpg")
    unsupported = {
        "annotated": "its CASE is of texts",
        "bulk": "bulk_create() leaves the pks unset",
    }

    async def open(self, url: str, connections: int, small: int) -> None:
        module = ModuleType("bench_tortoise")
        self._author = _declare(
            "Author",
            "author",
            name=fields.CharField(100),
            email=fields.CharField(254),
            country=fields.CharField(2),
            born=fields.IntField(),
        )
        tags = fields.ManyToManyField(
            "bench.Tag",
            through="book_tags",
            forward_key="tag_id",
            backward_key="book_id",
            related_name="books",
        )
        self._tag = _declare("Tag", "tag", name=fields.CharField(50))
        self._book = _declare("Book", "book", **_book(), tags=tags)
        self._written = _declare("WrittenBook", "wbook", **_book())
        self._wide = {}
        for width in WIDTHS:
            columns = {
                name: fields.TextField() if number % 2 else fields.IntField()
                for number, name in enumerate(wide_columns(width), 1)
            }
            self._wide[width] = _declare(f"Wide{width}", wide_table(width), **columns)
        self._numbered = [
            _declare(f"Numbered{number}", numbered_table(number), **_small_columns())
            for number in range(small)
        ]
        every = (self._author, self._tag, self._book, self._written, *self._wide.values(), *self._numbered)
        for model in every:
            model.__module__ = module.__name__
            setattr(module, model.__name__, model)
        sys.modules[module.__name__] = module  # Tortoise wants a name to import
        parts = urlsplit(url)
        credentials = {
            "host": parts.hostname,
            "port": parts.port,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "database": parts.path.lstrip("/"),
            "minsize": connections,
            "maxsize": connections,
            "max_inactive_connection_lifetime": 0,
        }
        await TortoiseORM.init(
            config={
                "connections": {
                    "default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}
                },
                "apps": {"bench": {"models": [module.__name__], "default_connection": "default"}},
            }
        )

    async def close(self) -> None:
        await TortoiseORM.close_connections()

    async def get(self, pk: int) -> Any:
        return await self._book.get(id=pk)

    async def count(self, author: int) -> int:
        return int(await self._book.filter(author_id=author, in_print=True).count())

    async def exists(self, author: int, price: Decimal) -> bool:
        return bool(await self._book.filter(author_id=author, price__gt=price).exists())

    async def update(self, pk: int, price: Decimal, pages: int) -> None:
        await self._written.filter(id=pk).update(price=price, pages=pages)

    async def create(self, values: Mapping[str, Any]) -> int:
        return int((await self._written.create(**values)).pk)

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        async with in_transaction():
            found = await self._author.get(id=author)
            book = await self._written.get(id=pk)
            await self._written.filter(id=pk).update(price=price)
        return found, book

    def _in_print(self, price: Decimal) -> Any:
        return self._book.filter(in_print=True, price__gt=price).order_by("id").limit(100)

    async def dicts(self, price: Decimal) -> Sequence[Any]:
        return list(await self._in_print(price).values(*DICT_COLUMNS))

    async def objects(self, price: Decimal) -> Sequence[Any]:
        return list(await self._in_print(price))

    async def related(self, price: Decimal) -> Sequence[Any]:
        return list(await self._in_print(price).select_related("author"))

    async def prefetched(self, pk: int) -> Sequence[Any]:
        return list(await self._book.filter(id__gte=pk).order_by("id").limit(20).prefetch_related("tags"))

    async def annotated(self, pk: int, price: Decimal, born: int) -> Sequence[Any]:
        raise NotImplementedError

    async def bulk(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        raise NotImplementedError

    def build(self, price: Decimal) -> Any:
        return self._in_print(price).sql()

    async def rows(self, limit: int) -> Sequence[Any]:
        return list(await self._book.all().order_by("id").limit(limit))

    async def wide(self, width: int) -> Sequence[Any]:
        return list(await self._wide[width].all().order_by("id"))

    async def numbered(self, number: int, pk: int) -> Any:
        return await self._numbered[number].get(id=pk)

    async def shape(self, conditions: Conditions) -> Sequence[Any]:
        lookups = {f"{column}__{lookup}": value for column, lookup, value in conditions}
        return list(await self._book.filter(**lookups).order_by("id").limit(10))

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        async with in_transaction():
            await self.get(1)
            await self.objects(Decimal(10))
            await self.count(1)
            yield
