"""The one place where a queryset meets a connection: leases one, executes, gives it back.

Every a-method comes through here. Today each runs Django's own sync method in the bridge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeVar

from django.db import connections
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from turbo_orm import answers
from turbo_orm.bridge.databases import pool_of
from turbo_orm.bridge.held import Held
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.wrapper import BridgedWrapper
from turbo_orm.db.pools import Pool, close_pools
from turbo_orm.plans import running
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetching import aprefetch_related_objects, fetch_with_prefetches
from turbo_orm.rows import objects

__all__ = [
    "aprefetch_related_objects",
    "call",
    "close_pools",
    "delete",
    "fetch",
    "open_pools",
    "run_sync",
    "stream",
    "terminal",
    "update",
]

T = TypeVar("T")

_NO_KWARGS: Mapping[str, Any] = MappingProxyType({})


async def call(owner: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """Run the sync method *name* of *owner* (a queryset, manager or instance) as one operation.

    The method is looked up on *owner*, so what a subclass overrides is honoured.
    """
    return await run_sync(getattr(owner, name), *args, **kwargs)


async def terminal(
    queryset: PlannedQuerySet, name: str, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = _NO_KWARGS
) -> Any:
    """Run the sync terminal *name* of *queryset*: its plan if it has one, else as `call()` does."""
    filtered = queryset
    if args or kwargs:
        found = queryset._filtered(args, kwargs)
        if found is None:
            return await run_sync(getattr(queryset, name), *args, **kwargs)
        filtered = found
    bound = filtered._bound(name)
    if bound is None:
        return await run_sync(getattr(filtered, name))
    return await answers.ANSWERS[name](filtered, bound, await running.run(bound))


async def update(queryset: PlannedQuerySet, kwargs: Mapping[str, Any]) -> Any:
    """Run ``update(**kwargs)`` of *queryset*; return how many rows it matched."""
    bound = queryset._bound_update(kwargs)
    if bound is None:
        return await run_sync(queryset.update, **kwargs)
    result = await running.run(bound)
    queryset._result_cache = None
    return result.count


async def delete(queryset: PlannedQuerySet) -> tuple[int, dict[str, int]]:
    """Run ``delete()`` of *queryset*; return how many rows went, in all and by model."""
    bound = queryset._bound_delete()
    if bound is None:
        return await run_sync(queryset.delete)
    count = (await running.run(bound)).count
    queryset._result_cache = None
    return count, {queryset.model._meta.label: count} if count else {}


async def fetch(queryset: QuerySet[Any, Any] | RawQuerySet[Any]) -> list[Any]:
    """Return the rows of *queryset*, filling its result cache as ``list()`` does."""
    internals: Any = queryset
    if internals._result_cache is None and isinstance(queryset, PlannedQuerySet):
        bound = queryset._bound("list")
        if bound is not None:
            internals._result_cache = await objects(queryset, bound, await running.run(bound))
    prefetches_due = internals._prefetch_related_lookups and not internals._prefetch_done
    if internals._result_cache is None or prefetches_due:
        await fetch_with_prefetches(internals)
    rows: Any = internals._result_cache
    return rows  # type: ignore[no-any-return]


async def stream(queryset: QuerySet[Any, Any], chunk_size: int) -> AsyncGenerator[Any, None]:
    """Yield the rows of *queryset* in chunks from a server-side cursor.

    Outside a block the iterator holds a connection of its own until it ends or is closed;
    inside one it uses the block's connection whenever it fetches.
    """
    held = Held("aiterator()")
    rows: Iterator[Any] | None = None
    try:
        rows = await held.run(lambda: iter(queryset.iterator(chunk_size=chunk_size)))
        held.keep(rows)
        while chunk := await held.run(_take, rows, chunk_size):
            for row in chunk:
                yield row
    finally:
        await held.close(None if rows is None else partial(_close, rows))


def _take(rows: Iterator[T], size: int) -> list[T]:
    return list(islice(rows, size))


def _close(rows: Iterator[Any]) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()


async def open_pools(*aliases: str) -> None:
    """Open the pools of *aliases* (default: all PostgreSQL ones) and fill them to ``min_size``.

    Optional: a pool opens by itself, empty, when it is first used on its event loop. Servers
    call this when they start, so that their first requests find connections ready.
    """
    loop = asyncio.get_running_loop()

    def find() -> list[Pool]:
        wrappers = [connections[alias] for alias in aliases or connections]
        return [pool_of(loop, wrapper) for wrapper in wrappers if isinstance(wrapper, BridgedWrapper)]

    for pool in await run_sync(find):
        await pool.warm()
