"""Django's own async methods: the sync ORM in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async

from devtools.bench.contestants.django_family import DjangoContestant
from devtools.bench.contestants.django_models import configure, make_model_of_number, make_models

__all__ = ["DjangoNative"]


class DjangoNative(DjangoContestant):
    """``aget()`` and the like, with Django's psycopg pool."""

    packages = ("Django", "psycopg", "psycopg-pool", "asgiref")
    remarks = {
        "block": "one `sync_to_async` of a function with `transaction.atomic()`: there is no async block",
        "request": "with `ThreadSensitiveContext` and `close_old_connections`, as its ASGI handler does",
    }

    async def open(self, url: str, connections: int, small: int) -> None:
        configure(
            url,
            engine="django.db.backends.postgresql",
            options={"pool": {"min_size": connections, "max_size": connections}},
        )
        from django.db import close_old_connections, transaction

        # At the head of a project's module: no operation is to import anything.
        self._transaction, self._close_old_connections = transaction, close_old_connections
        self.models = make_models()
        self.small = {number: make_model_of_number(number) for number in range(small)}

    async def close(self) -> None:
        def close_all() -> None:  # in the thread: this connection is not the one of this task
            from django.db import connection as proxy

            connection: Any = proxy

            connection.close()
            connection.close_pool()

        await sync_to_async(close_all)()

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        return await sync_to_async(self._block)(author, pk, price)

    def _block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        with self._transaction.atomic():
            found = self.models.Author.objects.get(pk=author)
            book = self.models.WrittenBook.objects.get(pk=pk)
            self.models.WrittenBook.objects.filter(pk=pk).update(price=price)
        return found, book

    async def request(self, pk: int) -> Any:
        async with ThreadSensitiveContext():
            book = await self.get(pk)
            await sync_to_async(self._close_old_connections)()
        return book

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        from django.db import connections

        async with ThreadSensitiveContext():  # one thread, and so one connection
            await self.get(1)
            await self.objects(Decimal(10))
            await self.count(1)
            yield
            await sync_to_async(connections.close_all)()
