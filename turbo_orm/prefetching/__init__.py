"""Independent prefetches at the same time, each on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

from django.db.models import Model, Prefetch, QuerySet, prefetch_related_objects
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ManyToManyDescriptor,
    ReverseManyToOneDescriptor,
)

from turbo_orm.bridge.async_backend.join import in_their_block
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import active_scope
from turbo_orm.db.pools import free_places
from turbo_orm.prefetching.foreign_keys import prefetch_foreign_key
from turbo_orm.prefetching.many_to_many import prefetch_many_to_many
from turbo_orm.prefetching.reverse_foreign_keys import prefetch_reverse_foreign_key

__all__ = ["aprefetch_related_objects", "fetch_with_prefetches", "independent_groups"]

Lookup: TypeAlias = "str | Prefetch[Any, Any, Any]"

#: What prefetches relations without the bridge where that is the same, by what they are in the
#: class. One-to-one keys, for example, set the other end as well, and are left to Django.
_WITHOUT_BRIDGE: dict[type, Callable[[Sequence[Any], str, Any], Awaitable[bool]]] = {
    ForwardManyToOneDescriptor: prefetch_foreign_key,
    ReverseManyToOneDescriptor: prefetch_reverse_foreign_key,
    ManyToManyDescriptor: prefetch_many_to_many,
}


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
        await _prefetch(rows, lookups)
        return
    # Dealt out to as many tasks as there are connections; in each, one after another.
    hands = [
        [lookup for group in groups[start::places] for lookup in group]
        for start in range(min(places, len(groups)))
    ]
    outcomes = await asyncio.gather(*(_prefetch(rows, hand) for hand in hands), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _prefetch(rows: list[Any], lookups: Sequence[Lookup]) -> None:
    left = [
        lookup
        for lookup in lookups
        if not (isinstance(lookup, str) and await _prefetch_outside_of_bridge(rows, lookup))
    ]
    if left:
        await run_sync(prefetch_related_objects, rows, *left)


async def _prefetch_outside_of_bridge(rows: list[Any], name: str) -> bool:
    if not rows or not isinstance(rows[0], Model):
        return False
    descriptor = getattr(type(rows[0]), name, None)
    prefetch = _WITHOUT_BRIDGE.get(type(descriptor))
    return prefetch is not None and await prefetch(rows, name, descriptor)


async def fetch_with_prefetches(queryset: QuerySet[Any, Any]) -> None:
    """Fill *queryset*'s result cache, its independent prefetches at the same time."""
    internals: Any = queryset
    lookups: Sequence[Lookup] = internals._prefetch_related_lookups
    if internals._result_cache is None:
        if internals._prefetch_done or len(independent_groups(lookups)) < 2 or _places(queryset.db) < 2:
            await run_sync(internals._fetch_all)
            return
        internals._prefetch_related_lookups = ()
        try:
            await run_sync(internals._fetch_all)
        finally:
            internals._prefetch_related_lookups = lookups
    rows: Any = internals._result_cache
    if len(lookups) > 1:
        await aprefetch_related_objects(rows, *lookups)
    elif rows and not (isinstance(lookups[0], str) and await _prefetch_outside_of_bridge(rows, lookups[0])):
        await run_sync(prefetch_related_objects, rows, *lookups)
    internals._prefetch_done = True


def independent_groups(lookups: Sequence[Lookup]) -> list[list[Lookup]]:
    """Split *lookups* so that no group needs what another loads; order is kept within each.

    Lookups with the same first relation belong together, and so do those which go through the
    ``to_attr`` of another.
    """
    groups: dict[str, list[Lookup]] = {}
    leads_to: dict[str, str] = {}
    for lookup in lookups:
        through, to = (
            (lookup, lookup) if isinstance(lookup, str) else (lookup.prefetch_through, lookup.prefetch_to)
        )
        first = through.split(LOOKUP_SEP)[0]
        root = leads_to.get(first, first)
        leads_to.setdefault(to.split(LOOKUP_SEP)[0], root)
        groups.setdefault(root, []).append(lookup)
    return list(groups.values())


def _places(alias: str | None) -> int:
    """How many connections this task may use at once: one in a block, else what is free."""
    loop = asyncio.get_running_loop()
    if alias is None or active_scope(loop) is not None or in_their_block(alias):
        return 1
    return free_places(loop, alias)
