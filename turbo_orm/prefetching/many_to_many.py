"""Prefetch a many-to-many relation on the plan of its query, without the bridge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import router

from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetching.kept import KEPT
from turbo_orm.prefetching.known import KnownRelation, Prefetch, Unknown, known_prefetch, manager_of
from turbo_orm.rows import fetched

__all__ = ["prefetch_many_to_many"]


async def prefetch_many_to_many(instances: Sequence[Any], name: str, descriptor: Any) -> bool:
    """Load the relation *name* of *instances*, which *descriptor* is, as `prefetch_related_objects()` does.

    False, without having done anything, where that must do it: for managers with a code of their
    own, instances that have some of it already, or without a plan.
    """
    prefetch = known_prefetch(instances, name, descriptor) or _prefetch_by_manager(instances, name)
    if prefetch is None:
        return False
    queryset, keep_found = prefetch
    found = await fetched(queryset)
    if found is None:
        return False
    keep_found(*found)
    return True


class _ManyToMany(KnownRelation):
    __slots__ = ()

    def grouped(
        self, instances: Sequence[Any], keys: list[Any], rows: list[tuple[Any, ...]], found: list[Any]
    ) -> Mapping[Any, list[Any]]:
        # The key comes before the columns of the objects, see QuerySet.extra().
        related: defaultdict[Any, list[Any]] = defaultdict(list)
        for row, each in zip(rows, found, strict=True):
            related[row[0]].append(each)
        return related

    def known_objects(self, instance: Any, key: Any) -> dict[Any, dict[Any, Any]]:
        return {}


def _prefetch_by_manager(instances: Sequence[Any], name: str) -> Prefetch | None:
    manager = manager_of(instances, name)
    if manager is None or not _can_be_asked(manager, instances):
        return None
    alias = manager._db or router.db_for_read(manager.model, instance=instances[0])
    connection = compiling_connection(alias)
    if connection is None:
        return None
    with connections_replaced({alias: connection}):
        get = getattr(manager, "get_prefetch_querysets", None) or manager.get_prefetch_queryset
        rows, key_of_row, key_of_instance, _, cache_name, _ = get(list(instances))
    if not isinstance(rows, PlannedQuerySet) or rows._prefetch_related_lookups:
        return None
    try:
        known = _ManyToMany(manager, manager.source_field, name, manager.prefetch_cache_name, instances, rows)
    except Unknown:
        pass
    else:
        return known.prefetch(instances, name)

    def keep_found(_: list[tuple[Any, ...]], found: list[Any]) -> None:
        related: dict[Any, list[Any]] = {}
        for row in found:
            related.setdefault(key_of_row(row), []).append(row)
        for instance in instances:
            queryset = getattr(instance, name).get_queryset()
            queryset._result_cache = related.get(key_of_instance(instance), [])
            queryset._prefetch_done = True
            instance.__dict__.setdefault(KEPT, {})[cache_name] = queryset

    return rows, keep_found


def _can_be_asked(manager: Any, instances: Sequence[Any]) -> bool:
    """Whether *instances* have the keys of the relation, and the first has not prefetched it."""
    keys = [foreign.attname for _, foreign in manager.source_field.related_fields]
    if any(key not in instance.__dict__ for instance in instances for key in keys):
        return False
    return manager.prefetch_cache_name not in instances[0].__dict__.get(KEPT, ())
