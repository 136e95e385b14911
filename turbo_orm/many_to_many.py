"""Prefetch a many-to-many relation on the plan of its query, without the bridge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import getattr_static
from operator import attrgetter
from typing import Any

from django.db import router
from django.db.models import Model, fields
from django.db.models.fields.related_descriptors import ManyToManyDescriptor

from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.plans import running
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.state import Planned
from turbo_orm.rows import objects

__all__ = ["prefetch_many_to_many"]

_DJANGOS = {"django.db.models.fields.related_descriptors", "django.db.models.manager"}

#: What a related manager prefetches with; the names differ between versions.
_METHODS = (
    "get_queryset",
    "_apply_rel_filters",
    "get_prefetch_cache",
    "get_prefetch_queryset",
    "get_prefetch_querysets",
)

#: Keys which are the same in Python and in the database.
_PLAIN_KEYS = frozenset({fields.AutoField, fields.BigAutoField, fields.SmallAutoField})


async def prefetch_many_to_many(instances: Sequence[Any], name: str) -> bool:
    """Load the relation *name* of *instances* as `prefetch_related_objects()` does.

    False, without having done anything, where that must do it: for another kind of relation,
    managers with a code of their own, instances that have some of it already, or without a plan.
    """
    manager = _manager_of(instances, name)
    if manager is None:
        return False
    alias = manager._db or router.db_for_read(manager.model, instance=instances[0])
    connection = compiling_connection(alias)
    if connection is None:
        return False
    with connections_replaced({alias: connection}):
        get = getattr(manager, "get_prefetch_querysets", None) or manager.get_prefetch_queryset
        rows, key_of_row, key_of_instance, _, cache_name, _ = get(list(instances))
    if not isinstance(rows, PlannedQuerySet) or rows._prefetch_related_lookups:
        return False
    bound = rows._bound("list")
    if bound is None:
        return False
    found = await objects(rows, bound, await running.run(bound))
    ((local, foreign), *more) = manager.source_field.related_fields
    if not more and type(foreign) in _PLAIN_KEYS:
        key_of_row = attrgetter(f"_prefetch_related_val_{local.attname}")
        key_of_instance = attrgetter(foreign.attname)
    related: dict[Any, list[Any]] = {}
    for row in found:
        related.setdefault(key_of_row(row), []).append(row)
    queryset_of = _querysets(manager, name, instances[0])
    for instance in instances:
        queryset = queryset_of(instance)
        queryset._result_cache = related.get(key_of_instance(instance), [])
        queryset._prefetch_done = True
        instance.__dict__.setdefault("_prefetched_objects_cache", {})[cache_name] = queryset
    return True


def _manager_of(instances: Sequence[Any], name: str) -> Any:
    """Return the related manager of the first instance if it and all others are as Django makes them."""
    first = instances[0] if instances else None
    if not isinstance(first, Model):
        return None
    model = type(first)
    if type(getattr_static(model, name, None)) is not ManyToManyDescriptor:
        return None
    for instance in instances:
        attributes = instance.__dict__
        if type(instance) is not model or name in attributes.get("_prefetched_objects_cache", ()):
            return None
    try:
        manager = getattr(first, name)
    except ValueError:  # an object that is not saved; Django says so
        return None
    kind = type(manager)
    if not all(_is_djangos(kind, method) for method in _METHODS):
        return None
    # Django's class for the relation is on top of the manager's own, which may do anything.
    if not _is_djangos(super(kind, manager), "get_queryset"):
        return None
    keys = [foreign.attname for _, foreign in manager.source_field.related_fields]
    if any(key not in instance.__dict__ for instance in instances for key in keys):
        return None
    cached = first.__dict__.get("_prefetched_objects_cache", ())
    return None if manager.prefetch_cache_name in cached else manager


def _is_djangos(owner: Any, method: str) -> bool:
    """Whether *owner* has *method* from Django, or not at all."""
    found = getattr(owner, method, None)
    return found is None or found.__module__ in _DJANGOS


def _querysets(manager: Any, name: str, first: Any) -> Callable[[Any], Any]:
    """Return what makes an instance's queryset, like ``manager.get_queryset()`` of its manager."""
    template: Any = manager.get_queryset()
    planned = template._planned if isinstance(template, PlannedQuerySet) else None
    pairs = manager.source_field.related_fields
    if planned is None or planned.given is not None or len(planned.values) != 1 or len(pairs) != 1:
        return lambda instance: getattr(instance, name).get_queryset()
    attname = pairs[0][1].attname
    if planned.values[0] != first.__dict__.get(attname):
        return lambda instance: getattr(instance, name).get_queryset()

    def make(instance: Any) -> Any:
        value = instance.__dict__[attname]
        clone: Any = template._derive(Planned(planned.node, (value,), None, None, False))
        clone._hints = {**template._hints, "instance": instance}
        if "_fetch_mode" in template.__dict__:
            clone._fetch_mode = instance._state.fetch_mode
        return clone

    return make
