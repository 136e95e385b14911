"""Django's related managers on the async connection, and the queries of its prefetches on plans."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from django.db.models import ForeignKey, Manager
from django.db.models.fields import related_descriptors

from turbo_orm.adoption import async_manager_class
from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.db.originals import replace_once
from turbo_orm.fetch_modes.older_django.querysets import carry_to_related
from turbo_orm.instance import is_managed
from turbo_orm.manager import AsyncManager
from turbo_orm.many_to_many import ask_join_table, write_to_join_table
from turbo_orm.plans.keys import ARE_TUPLES
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.related_creation import plan_creation
from turbo_orm.related_keys import ForeignKeyEnd, GenericEnd, KeyEnd

__all__ = ["install"]

_replace = partial(replace_once, by="related")


def _async_if_managed(create: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(create)
    def create_manager(superclass: Any, rel: Any, *args: Any, **kwargs: Any) -> Any:
        if not any(is_managed(model) for model in (rel.model, rel.related_model)):
            return create(superclass, rel, *args, **kwargs)
        manager_class = create(async_manager_class(superclass), rel, *args, **kwargs)
        carry_to_related(manager_class)
        _plan(manager_class, superclass)
        return manager_class

    return create_manager


def _plan(manager_class: type[Any], superclass: type[Any]) -> None:
    """Have the a-methods of a relation's *manager_class* do without the bridge where they can."""
    if hasattr(manager_class, "_add_items"):
        is_plain = superclass in (Manager, AsyncManager)
        plan_creation(manager_class, superclass, None)
        write_to_join_table(manager_class, is_plain=is_plain)
        if is_plain and hasattr(manager_class, "constrained_target"):
            ask_join_table(manager_class)
        return
    of_foreign_key = hasattr(manager_class, "_check_fk_val")
    key: KeyEnd = ForeignKeyEnd(manager_class) if of_foreign_key else GenericEnd(manager_class)
    plan_creation(manager_class, superclass, key)
    key.plan()


def _filter_on_plans(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def filter_prefetch_queryset(queryset: Any, field_name: str, instances: Any) -> Any:
        if isinstance(queryset, PlannedQuerySet):
            found = queryset._prefetched_for(field_name, instances)
            if found is not None:
                return found
        return original(queryset, field_name, instances)

    return filter_prefetch_queryset


def _forward_on_plans(original: Callable[..., Any]) -> Callable[..., Any]:
    def planned(self: Any, instances: Any, queryset: Any) -> Any:
        field = self.field
        if not isinstance(field, ForeignKey):
            return None
        of_instance, of_related = field.get_local_related_value, field.get_foreign_related_value
        by_key = {of_instance(instance): instance for instance in instances}
        rows = queryset._prefetched_one(field, [key for (key,) in by_key if key is not None], forward=True)
        if rows is None:
            return None
        if not field.remote_field.multiple:
            for found in rows:
                field.remote_field.set_cached_value(found, by_key[of_related(found)])
        return rows, of_related, of_instance, True, field.cache_name, False

    return _one_on_plans(original, planned)


def _reverse_on_plans(original: Callable[..., Any]) -> Callable[..., Any]:
    def planned(self: Any, instances: Any, queryset: Any) -> Any:
        field = self.related.field
        rows = queryset._prefetched_one(field, [*instances], forward=False)
        if rows is None:
            return None
        of_instance, of_related = field.get_foreign_related_value, field.get_local_related_value
        by_key = {of_instance(instance): instance for instance in instances}
        for found in rows:
            field.set_cached_value(found, by_key[of_related(found)])
        return rows, of_related, of_instance, True, self.related.cache_name, False

    return _one_on_plans(original, planned)


def _one_on_plans(original: Callable[..., Any], planned: Callable[..., Any]) -> Callable[..., Any]:
    """Return a descriptor's method that prefetches as *planned* does, where that is not None."""

    @wraps(original)
    def get_prefetch_querysets(self: Any, instances: Any, querysets: Any = None) -> Any:
        if current_bridge() is not None and len(querysets or ()) < 2:
            queryset = querysets[0] if querysets else self.get_queryset(instance=instances[0])
            if isinstance(queryset, PlannedQuerySet):
                queryset._add_hints(instance=instances[0])
                found = planned(self, instances, queryset)
                if found is not None:
                    return found
        return original(self, instances, querysets)

    return get_prefetch_querysets


def install() -> None:
    """Have Django's related managers of models with an `AsyncManager` derive from it.

    ``user.groups.aadd(group)`` belongs to the model ``User``, although the manager's class
    comes from ``Group``, which may be a model nobody here can edit.
    """
    _replace(related_descriptors, "create_reverse_many_to_one_manager", _async_if_managed)
    _replace(related_descriptors, "create_forward_many_to_many_manager", _async_if_managed)
    _replace(related_descriptors, "_filter_prefetch_queryset", _filter_on_plans)
    if ARE_TUPLES:
        name = "get_prefetch_querysets"
        _replace(related_descriptors.ForwardManyToOneDescriptor, name, _forward_on_plans)
        _replace(related_descriptors.ReverseOneToOneDescriptor, name, _reverse_on_plans)
    # Can't be imported before the apps are loaded; apps.py calls again when they are.
    contenttypes = sys.modules.get("django.contrib.contenttypes.fields")
    if contenttypes is not None:
        _replace(contenttypes, "create_generic_related_manager", _async_if_managed)
