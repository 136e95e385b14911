"""Prefetch a foreign key on the plan of its query, without the bridge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db.models import ForeignKey

from turbo_orm.fetch_modes import FETCH_ONE
from turbo_orm.plans.keys import ARE_TUPLES
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetching.asked import Answer, Asked, Unknown, tells

__all__ = ["foreign_key"]


def foreign_key(instances: Sequence[Any], asked: Asked) -> Answer | None:
    """Return how to load what is *asked* for, for *instances* of one model.

    None where Django must do it: for base managers with a code of their own, instances that have
    some of it already, or without a plan.
    """
    field, queryset = asked.descriptor.field, asked.queryset
    keys = _keys_of(instances, field) if type(field) is ForeignKey else None
    if keys is None or (queryset is None and not _has_plain_rows(field.remote_field.model)):
        return None
    if queryset is None:
        queryset = asked.descriptor.get_queryset(instance=instances[0])
    if not isinstance(queryset, PlannedQuerySet):
        return None
    queryset._add_hints(instance=instances[0])
    wanted = [*dict.fromkeys([key for key in keys if key is not None])]
    rows = queryset._prefetched_one(field, wanted, forward=True)
    return (rows, partial(_give, instances, asked, keys)) if tells(rows, field.target_field) else None


def _give(
    instances: Sequence[Any], asked: Asked, keys: list[Any], rows: list[tuple[Any, ...]], found: list[Any]
) -> None:
    field = asked.descriptor.field
    of_related = field.target_field.attname
    if found and of_related not in found[0].__dict__:
        raise Unknown  # it is deferred
    by_key = {each.__dict__[of_related]: each for each in reversed(found)}  # of several, the first
    for instance, key in zip(instances, keys, strict=True):
        if asked.to_attr is None:
            instance._state.fields_cache[field.cache_name] = by_key.get(key)
        else:
            setattr(instance, asked.to_attr, by_key.get(key))


def _keys_of(instances: Sequence[Any], field: Any) -> list[Any] | None:
    """Return the keys that *instances* have for *field*; None if some are another matter.

    They are of another fetch mode, have their objects already, or the key was deferred.
    """
    if not ARE_TUPLES:
        return None
    keys = []
    for instance in instances:
        attributes = instance.__dict__
        state = attributes["_state"]
        if (
            field.attname not in attributes
            or field.cache_name in state.fields_cache
            or getattr(state, "fetch_mode", FETCH_ONE) is not FETCH_ONE
        ):
            return None
        keys.append(attributes[field.attname])
    return keys


def _has_plain_rows(model: Any) -> bool:
    """Whether the base manager of *model* has all its rows, and nothing of the project to run."""
    return getattr(type(model._base_manager).get_queryset, "has_all_rows", False)
