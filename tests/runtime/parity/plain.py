"""Turn what the ORM returns into plain values that can be compared."""

from __future__ import annotations

from typing import Any

from django.db.models import Manager, Model, QuerySet
from django.db.models.query import RawQuerySet

__all__ = ["plain"]


def plain(value: Any, _seen: tuple[int, ...] = ()) -> Any:
    """Return *value* as nested tuples: types, fields, what is deferred, cached and prefetched."""
    if isinstance(value, Model):
        label = value._meta.label
        if id(value) in _seen:
            return (label, value.pk, "again")
        return (label, _instance(value, (*_seen, id(value))))
    if isinstance(value, QuerySet | RawQuerySet):
        return (type(value).__name__, value.model._meta.label, plain(value._result_cache, _seen))
    if isinstance(value, Manager):
        return ("Manager", plain(getattr(value, "instance", None), _seen))
    if isinstance(value, dict):
        return ("dict", [(plain(key, _seen), plain(item, _seen)) for key, item in value.items()])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return (type(value).__name__, value._fields, [plain(item, _seen) for item in value])
    if isinstance(value, list | tuple):
        return (type(value).__name__, [plain(item, _seen) for item in value])
    return (type(value).__name__, value)


def _instance(value: Model, seen: tuple[int, ...]) -> Any:
    state = value._state
    fields = {
        name: plain(item, seen)
        for name, item in vars(value).items()
        if name not in ("_state", "_prefetched_objects_cache")
    }
    prefetched = getattr(value, "_prefetched_objects_cache", {})
    return {
        "fields": fields,
        "deferred": sorted(value.get_deferred_fields()),
        "state": (state.db, state.adding),
        "cached": {name: plain(item, seen) for name, item in state.fields_cache.items()},
        "prefetched": {name: plain(item, seen) for name, item in prefetched.items()},
    }
