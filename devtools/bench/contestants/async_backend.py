"""django-async-backend: Django's ORM generated anew on an async connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import wraps
from typing import Any

from asgiref.sync import ThreadSensitiveContext

from devtools.bench.contestants.django_family import DjangoContestant
from devtools.bench.contestants.django_models import configure, make_model_of_number, make_models

__all__ = ["AsyncBackend"]


class AsyncBackend(DjangoContestant):
    """``async_objects`` and ``async_atomic``; a connection belongs to the task that first used it."""

    packages = ("django-async-backend", "Django", "psycopg", "psycopg-pool")
    manager = "async_objects"
    unsupported = {
        "prefetched": "prefetch_related() is not supported",
        "verb": "some are not supported, some are Django's",
    }
    remarks = {
        "get": "a task keeps its connection for all its calls; where there are more tasks than "
        "connections, it gives it back after each call",
        "request": "in a task of its own, which gives its connection back",
    }

    async def open(self, url: str, connections: int, small: int) -> None:
        configure(
            url,
            engine="django_async_backend.db.backends.postgresql",
            options={"pool": {"min_size": connections, "max_size": connections}},
            apps=["django_async_backend"],
            ASYNC_BACKEND_DISABLE_POOL_WARNING=True,
        )
        from django_async_backend.db import async_connections
        from django_async_backend.db.models.base import AsyncModelMixin
        from django_async_backend.db.transaction import async_atomic

        self._atomic = async_atomic
        self._connections = async_connections
        self._size = connections
        self.models = make_models(mixins=(AsyncModelMixin,))
        self.small = {
            number: make_model_of_number(number, mixins=(AsyncModelMixin,)) for number in range(small)
        }

    async def close(self) -> None:
        connection = self._connections["default"]
        await connection.close()
        await connection.close_pool()

    async def end_task(self) -> None:
        await self._connections.close_all()

    def operation(self, name: str, tasks: int) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self, name)
        if tasks <= self._size or name == "request":
            return function

        @wraps(function)
        async def giving_back(*arguments: Any) -> Any:
            try:
                return await function(*arguments)
            finally:
                await self._connections.close_all()

        return giving_back

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        async with self._atomic():
            found = await self.models.Author.async_objects.aget(pk=author)
            book = await self.models.WrittenBook.async_objects.aget(pk=pk)
            await self.models.WrittenBook.async_objects.filter(pk=pk).aupdate(price=price)
        return found, book

    async def request(self, pk: int) -> Any:
        return await asyncio.create_task(self._request(pk))

    async def _request(self, pk: int) -> Any:
        async with ThreadSensitiveContext():
            try:
                return await self.get(pk)
            finally:
                await self._connections.close_all()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        from django_async_backend.db.transaction import async_atomic

        async with async_atomic():
            await self.get(1)
            await self.objects(Decimal(10))
            await self.count(1)
            yield
