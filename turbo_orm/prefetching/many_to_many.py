"""Prefetch a many-to-many relation on the plan of its query, without the bridge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.db import router

from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetching.asked import Answer, Asked, Unknown
from turbo_orm.prefetching.kept import KEPT
from turbo_orm.prefetching.known import KnownRelation, known_answer, manager_of, queryset_of

__all__ = ["many_to_many"]


def many_to_many(instances: Sequence[Any], asked: Asked) -> Answer | None:
    """Return how to load what is *asked* for, for *instances* of one model.

    None where Django must do it: for managers with a code of their own, instances that have some
    of it already, or without a plan.
    """
    return known_answer(instances, asked) or _answer_by_manager(instances, asked)


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

    def rows_from(self, queryset: Any, instances: Sequence[Any]) -> PlannedQuerySet | None:
        return None

    def known_objects(self, instance: Any, key: Any) -> dict[Any, dict[Any, Any]]:
        return {}


def _answer_by_manager(instances: Sequence[Any], asked: Asked) -> Answer | None:
    manager = manager_of(instances, asked.name)
    if manager is None:
        return None
    said = _said_by(manager, instances, asked)
    if said is None or not isinstance(said[0], PlannedQuerySet):
        return None
    rows, key_of_row, key_of_instance, _, cache_name, _ = said
    if asked.queryset is None:
        if rows._prefetch_related_lookups:
            return None
        with suppress(Unknown):
            known = _ManyToMany(manager, manager.source_field, asked.name, cache_name, instances, rows)
            return known.answer(instances, asked)

    def give(_: list[tuple[Any, ...]], found: list[Any]) -> None:
        related: dict[Any, list[Any]] = {}
        for row in found:
            related.setdefault(key_of_row(row), []).append(row)
        for instance in instances:
            of_instance = related.get(key_of_instance(instance), [])
            if asked.to_attr is not None:
                setattr(instance, asked.to_attr, of_instance)
            else:
                kept = instance.__dict__.setdefault(KEPT, {})
                kept[cache_name] = queryset_of(instance, asked, of_instance)

    return rows, give


def _said_by(manager: Any, instances: Sequence[Any], asked: Asked) -> Any:
    """Return what *manager* says to prefetch; None if that takes waiting, or its rows are there."""
    keys = [foreign.attname for _, foreign in manager.source_field.related_fields]
    if any(key not in instance.__dict__ for instance in instances for key in keys):
        return None
    if manager.prefetch_cache_name in instances[0].__dict__.get(KEPT, ()):
        return None
    alias = manager._db or router.db_for_read(manager.model, instance=instances[0])
    connection = compiling_connection(alias)
    if connection is None:
        return None
    with connections_replaced({alias: connection}):
        if hasattr(manager, "get_prefetch_querysets"):
            querysets = None if asked.queryset is None else [asked.queryset]
            return manager.get_prefetch_querysets([*instances], querysets)
        return manager.get_prefetch_queryset([*instances], asked.queryset)  # before Django 5
