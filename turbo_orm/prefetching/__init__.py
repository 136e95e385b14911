"""Independent prefetches at the same time, each on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet

from turbo_orm.bridge.async_backend.join import in_their_block
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import active_scope
from turbo_orm.db.loop_pools import free_places
from turbo_orm.prefetching.lookups import Lookup, follow, independent_groups, prefetch

__all__ = [
    "aprefetch_related_objects",
    "fetch_with_prefetches",
    "follow",
    "independent_groups",
    "prefetch_for",
]


async def aprefetch_related_objects(instances: Iterable[Any], *lookups: Lookup) -> None:
    """Load the relations *lookups* of *instances*, as `prefetch_related()` would have.

    Lookups that do not build on each other run at the same time outside of `atomic()` blocks,
    if the pool has connections for it.
    https://docs.djangoproject.com/en/stable/ref/models/querysets/#prefetch-related-objects
    """
    rows = list(instances)
    groups = independent_groups(lookups) if len(lookups) > 1 else []
    alias = next((row._state.db for row in rows if hasattr(row, "_state")), None)
    if len(groups) < 2 or (places := _places(alias)) < 2:
        await prefetch(rows, lookups)
        return
    # Dealt out to as many tasks as there are connections; in each, one after another.
    hands = [
        [lookup for group in groups[start::places] for lookup in group]
        for start in range(min(places, len(groups)))
    ]
    outcomes = await asyncio.gather(*(prefetch(rows, hand) for hand in hands), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def prefetch_for(queryset: QuerySet[Any, Any], rows: list[Any]) -> None:
    """Load what *queryset* prefetches for its *rows*, and have it keep these.

    Of several tasks that do so at once it keeps the rows of the first, as one that is `evaluated_apart()`.
    """
    internals: Any = queryset
    done = False
    try:
        await _prefetch(rows, internals._prefetch_related_lookups)
        done = True
    finally:
        if internals._result_cache is None or (done and not internals._prefetch_done):
            internals._result_cache, internals._prefetch_done = rows, done


async def fetch_with_prefetches(queryset: QuerySet[Any, Any]) -> None:
    """Fill the result cache of *queryset*, which has none, its independent prefetches at the same time."""
    internals: Any = queryset
    lookups: Sequence[Lookup] = internals._prefetch_related_lookups
    if internals._prefetch_done or len(independent_groups(lookups)) < 2 or _places(queryset.db) < 2:
        await run_sync(internals._fetch_all)
        return
    internals._prefetch_related_lookups = ()
    try:
        await run_sync(internals._fetch_all)
    finally:
        internals._prefetch_related_lookups = lookups
    await _prefetch(internals._result_cache, lookups)
    internals._prefetch_done = True


async def _prefetch(rows: list[Any], lookups: Sequence[Lookup]) -> None:
    if len(lookups) > 1:
        await aprefetch_related_objects(rows, *lookups)
    else:
        await prefetch(rows, lookups)


def _places(alias: str | None) -> int:
    """How many connections this task may use at once: one in a block, else what is free."""
    loop = asyncio.get_running_loop()
    if alias is None or active_scope(loop) is not None or in_their_block(alias):
        return 1
    return free_places(loop, alias)
