"""turbo_orm, and itself with other settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from asgiref.sync import ThreadSensitiveContext

from devtools.bench.contestants.base import Missing
from devtools.bench.contestants.django_family import DjangoContestant
from devtools.bench.contestants.django_models import configure, make_model_of_number, make_models

__all__ = ["Turbo", "TurboMultiplexed", "TurboWithoutPlans"]


class Turbo(DjangoContestant):
    """``objects = AsyncManager()``, and nothing else set but the size of the pool."""

    packages = ("django-turbo-orm", "Django", "psycopg")
    #: Keys of ``settings.TURBO_ORM``; a tree that does not know one lacks the contestant.
    settings: Mapping[str, Any] = {}

    async def open(self, url: str, connections: int, small: int) -> None:
        pool = {"min_size": connections, "max_size": connections}
        configure(
            url,
            engine="django.db.backends.postgresql",
            options={},
            TURBO_ORM={"POOL": pool, **self.settings},
            apps=["turbo_orm"],
        )
        from turbo_orm import AsyncManager, atomic, open_pools
        from turbo_orm.conf import Config

        for key in self.settings:
            if key.lower() not in Config.__dataclass_fields__:
                raise Missing(f"this turbo_orm has no setting TURBO_ORM[{key!r}]")
        self._atomic = atomic
        self.models = make_models(AsyncManager)
        self.small = {number: make_model_of_number(number, AsyncManager) for number in range(small)}
        await open_pools()

    async def close(self) -> None:
        from turbo_orm import close_pools

        await close_pools()

    async def listed(self, queryset: Any) -> list[Any]:
        return list(await queryset.alist())

    async def block(self, author: int, pk: int, price: Decimal) -> tuple[Any, Any]:
        async with self._atomic():
            found = await self.models.Author.objects.aget(pk=author)
            book = await self.models.WrittenBook.objects.aget(pk=pk)
            await self.models.WrittenBook.objects.filter(pk=pk).aupdate(price=price)
        return found, book

    def build(self, price: Decimal) -> Any:
        # What alist() does before it needs a connection; None where there is no plan (yet).
        bound = self.in_print(price)[:100]._bound("list")
        return super().build(price) if bound is None else (bound.statement.sql, bound.params)

    async def request(self, pk: int) -> Any:
        async with ThreadSensitiveContext():  # as Django's ASGI handler; it starts no thread by itself
            return await self.get(pk)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        from turbo_orm import atomic

        async with atomic():
            await self.get(1)
            await self.objects(Decimal(10))
            await self.count(1)
            yield


class TurboWithoutPlans(Turbo):
    """Every operation compiled anew by Django."""

    settings = {"PLANS": False}


class TurboMultiplexed(Turbo):
    """Autocommit reads of all tasks over a few connections."""

    settings = {"MULTIPLEX": True}
