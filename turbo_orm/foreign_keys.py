"""Prefetch a foreign key on the plan of its query, without the bridge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import ForeignKey, Model
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

from turbo_orm.fetch_modes import FETCH_ONE
from turbo_orm.plans import running
from turbo_orm.plans.keys import ARE_TUPLES
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetched import KEPT
from turbo_orm.rows import load_now, objects

__all__ = ["prefetch_foreign_key"]


async def prefetch_foreign_key(instances: Sequence[Any], name: str) -> bool:
    """Load the relation *name* of *instances* as `prefetch_related_objects()` does.

    False, without having done anything, where that must do it: for another kind of relation, base
    managers with a code of their own, instances that have some of it already, or without a plan.
    """
    first: Any = instances[0] if instances else None
    descriptor: Any = getattr(type(first), name, None) if isinstance(first, Model) else None
    # One-to-one keys set the other end as well.
    if type(descriptor) is not ForwardManyToOneDescriptor or type(descriptor.field) is not ForeignKey:
        return False
    field = descriptor.field
    keys = _keys_of(instances, field)
    if keys is None or not _has_plain_rows(field.remote_field.model):
        return False
    queryset: Any = descriptor.get_queryset(instance=first)
    if not isinstance(queryset, PlannedQuerySet):
        return False
    queryset._add_hints(instance=first)
    wanted = [*dict.fromkeys([key for key in keys if key is not None])]
    rows = queryset._prefetched_one(field, wanted, forward=True)
    bound = None if rows is None else rows._bound("list")
    if rows is None or bound is None:
        return False
    result = await running.run(bound)
    found = load_now(rows, bound, result)
    if found is None:
        found = await objects(rows, bound, result)
    of_related = field.target_field.attname
    by_key = {each.__dict__[of_related]: each for each in reversed(found)}  # of several, the first
    for instance, key in zip(instances, keys, strict=True):
        attributes = instance.__dict__
        attributes["_state"].fields_cache[field.cache_name] = by_key.get(key)
        if KEPT not in attributes:
            attributes[KEPT] = {}
    return True


def _keys_of(instances: Sequence[Any], field: Any) -> list[Any] | None:
    """Return the keys that *instances* have for *field*; None if some are another matter.

    They are of another model or fetch mode, have their objects already, or the key was deferred.
    """
    if not ARE_TUPLES or len(set(map(type, instances))) > 1:
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
