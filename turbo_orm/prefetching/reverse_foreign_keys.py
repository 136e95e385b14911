"""Prefetch the rows whose foreign key is an instance on the plan of their query, without the bridge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import django
from django.db import router
from django.db.models import ForeignKey

from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetching.asked import Asked
from turbo_orm.prefetching.known import KnownRelation, Prefetch, Unknown, known_prefetch, manager_of
from turbo_orm.rows import fetched

__all__ = ["prefetch_reverse_foreign_key"]

#: Whether Django asks, of each row and its instance, if they may be related.
_ASKS_ROUTERS = django.VERSION < (5, 2)


async def prefetch_reverse_foreign_key(instances: Sequence[Any], asked: Asked) -> list[Any] | None:
    """Load what is *asked* for, for *instances* of one model, as `prefetch_related_objects()` does.

    Return the objects. None, without having done anything, where that must do it: for managers
    with a code of their own, instances that have some of it already, or without a plan.
    """
    prefetch = known_prefetch(instances, asked) or _prefetch_by_manager(instances, asked)
    if prefetch is None:
        return None
    queryset, give = prefetch
    if _ASKS_ROUTERS and (router.routers or {each._state.db for each in instances} != {queryset.db}):
        return None
    found = await fetched(queryset)
    if found is None:
        return None
    give(*found)
    return found[1]


class _ReverseForeignKey(KnownRelation):
    __slots__ = ("_key_of_row", "_name_in_row", "_source")

    def __init__(self, manager: Any, *args: Any) -> None:
        self._source = manager.field
        self._key_of_row = manager.field.attname
        self._name_in_row = _cache_name(manager.field)
        super().__init__(manager, manager.field, *args)

    def grouped(
        self, instances: Sequence[Any], keys: list[Any], rows: list[tuple[Any, ...]], found: list[Any]
    ) -> Mapping[Any, list[Any]]:
        related: defaultdict[Any, list[Any]] = defaultdict(list)
        by_key = dict(zip(keys, instances, strict=True))
        attname, name = self._key_of_row, self._name_in_row
        for each in found:
            attributes = each.__dict__
            key = attributes[attname]
            cache = attributes["_state"].fields_cache
            if name not in cache:
                cache[name] = by_key[key]
            related[key].append(each)
        return related

    def rows_from(self, queryset: Any, instances: Sequence[Any]) -> PlannedQuerySet | None:
        queryset._add_hints(instance=instances[0])
        rows: PlannedQuerySet | None = queryset.using(queryset._db)._prefetched_for(
            self._source.name, instances
        )
        return rows

    def known_objects(self, instance: Any, key: Any) -> dict[Any, dict[Any, Any]]:
        return {self._source: {key: instance}}


def _prefetch_by_manager(instances: Sequence[Any], asked: Asked) -> Prefetch | None:
    manager = manager_of(instances, asked.name)
    if manager is None or type(manager.field) is not ForeignKey:
        return None
    # What its get_prefetch_querysets() makes, which would execute it as well.
    djangos: Any = super(type(manager), manager)
    rows: Any = djangos.get_queryset()
    if not isinstance(rows, PlannedQuerySet) or rows._prefetch_related_lookups:
        return None
    rows._add_hints(instance=instances[0])
    rows = rows.using(rows._db or manager._db)._prefetched_for(manager.field.name, instances)
    if rows is None:
        return None
    name = _cache_name(manager.field.remote_field)
    try:
        known = _ReverseForeignKey(manager, asked.name, name, instances, rows)
    except Unknown:
        return None
    return known.prefetch(instances, asked)


def _cache_name(of: Any) -> str:
    """Return the key under which Django caches *of*, a field or the other end of one."""
    name: str | None = getattr(of, "cache_name", None)
    return name or of.get_cache_name()  # before Django 5.1
