"""Prefetch the rows whose foreign key is an instance on the plan of their query, without the bridge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import django
from django.db import router
from django.db.models import ForeignKey

from turbo_orm.plans.instances import cache_key
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetching.asked import Answer, Asked, Unknown, tells
from turbo_orm.prefetching.known import KnownRelation, known_answer, manager_of

__all__ = ["reverse_foreign_key"]

#: Whether Django asks, of each row and its instance, if they may be related.
_ASKS_ROUTERS = django.VERSION < (5, 2)


def reverse_foreign_key(instances: Sequence[Any], asked: Asked) -> Answer | None:
    """Return how to load what is *asked* for, for *instances* of one model.

    None where Django must do it: for managers with a code of their own, instances that have some
    of it already, or without a plan.
    """
    answer = known_answer(instances, asked) or _answer_by_manager(instances, asked)
    if answer is not None and _ASKS_ROUTERS:
        databases = {instance._state.db for instance in instances}
        return None if router.routers or databases != {answer[0].db} else answer
    return answer


_state = attrgetter("_state")


class _ReverseForeignKey(KnownRelation):
    __slots__ = ("_key_of_row", "_name_in_row", "_source")

    def __init__(self, manager: Any, *args: Any) -> None:
        self._source = manager.field
        self._key_of_row = attrgetter(manager.field.attname)
        self._name_in_row = cache_key(manager.field)
        super().__init__(manager, manager.field, *args)

    def grouped(
        self, instances: Sequence[Any], keys: list[Any], rows: list[tuple[Any, ...]], found: list[Any]
    ) -> Mapping[Any, list[Any]]:
        if found and self._source.attname not in found[0].__dict__:
            raise Unknown  # it is deferred
        related: defaultdict[Any, list[Any]] = defaultdict(list)
        by_key = dict(zip(keys, instances, strict=True))
        name = self._name_in_row
        # No __dict__ of a row: it would be one more object for the garbage collector.
        for each, key, state in zip(found, map(self._key_of_row, found), map(_state, found), strict=True):
            cache = state.fields_cache
            if name not in cache:
                cache[name] = by_key[key]
            related[key].append(each)
        return related

    def rows_from(self, queryset: Any, instances: Sequence[Any]) -> PlannedQuerySet | None:
        queryset._add_hints(instance=instances[0])
        rows: PlannedQuerySet | None = queryset.using(queryset._db)._prefetched_for(
            self._source.name, instances
        )
        return rows if tells(rows, self._source) else None

    def filtered(self, instance: Any, key: Any) -> Any:
        # Django filters by the instance, and not before somebody looks at more than the rows.
        root = self._nodes[1].parent
        assert root is not None
        return self._queryset._derive((root, (), None, None, False))._put_off({self._source.name: instance})

    def filter_by(self, instance: Any, queryset: Any) -> None:
        super().filter_by(instance, queryset)
        queryset._put_off({self._source.name: instance})

    def known_objects(self, instance: Any, key: Any) -> dict[Any, dict[Any, Any]]:
        return {self._source: {key: instance}}


def _answer_by_manager(instances: Sequence[Any], asked: Asked) -> Answer | None:
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
    name = cache_key(manager.field.remote_field)
    try:
        known = _ReverseForeignKey(manager, asked.name, name, instances, rows)
    except Unknown:
        return None
    return known.answer(instances, asked)
