"""Filters of prefetches for single objects, as Django has them since 5.2: ``("id") IN ((1), (2))``."""

from __future__ import annotations

from typing import Any

from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

from turbo_orm.plans.recording import Slot, TupleIn
from turbo_orm.plans.template import Param

__all__ = ["ARE_TUPLES", "filtered_by_keys", "filtered_by_related"]

ColPairs: Any
try:
    from django.db.models.expressions import ColPairs
except ImportError:  # before Django 5.2
    ColPairs = None

_prefetch: Any = getattr(ForwardManyToOneDescriptor, "get_prefetch_querysets", None)
#: Whether Django filters so. Before, all it calls are steps of plans.
ARE_TUPLES = _prefetch is not None and "TupleIn" in _prefetch.__code__.co_names


def filtered_by_keys(queryset: Any, field: Any, keys: Any) -> Any:
    """Return what `ForwardManyToOneDescriptor` of *field*, a foreign key, makes of *queryset*.

    *keys* are a list of them, without None, or the `Param` that stands for it.
    """
    columns = [queryset.query.resolve_ref(each.name).target for each in field.foreign_related_fields]
    pairs = ColPairs(queryset.model._meta.db_table, columns, columns, field)
    given = keys.value if isinstance(keys, Param) else keys
    condition: Any = TupleIn(pairs, [(key,) for key in given])
    if isinstance(keys, Param):
        keys.is_stored_as_given = True
        condition.rhs = Slot(keys.index)
        # Expressions remember what they were made of; values must not live as long as templates.
        condition._constructor_args = ((pairs, condition.rhs), {})
    return _without_order(queryset.filter(condition))


def filtered_by_related(queryset: Any, field: Any, instances: Any) -> Any:
    """Return what `ReverseOneToOneDescriptor` makes of *queryset*; *field* is at its end.

    *instances* are a list, or the `Param` that stands for it.
    """
    return _without_order(queryset.filter(**{f"{field.name}__in": instances}))


def _without_order(queryset: Any) -> Any:
    queryset.query.clear_ordering()
    return queryset
