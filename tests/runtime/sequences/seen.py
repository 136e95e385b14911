"""What a program can see of objects, managers and querysets, without changing them by looking.

Instances are numbered as they are met, so that which of them are the same object is seen too.
"""

from __future__ import annotations

import re
from typing import Any

import django
from django.core.exceptions import EmptyResultSet
from django.db import DatabaseError
from django.db.models import Manager, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.expressions import BaseExpression, Combinable

from turbo_orm.prefetching.kept import KEPT, known_rows

__all__ = ["error_seen", "looked_at", "seen"]

#: Where the server says in the statement, which is not the same to the letter.
_IN_STATEMENT = re.compile(r"\nLINE .*", re.DOTALL)
#: A lookup of a `Prefetch` in another's queryset is named from there.
_PATH = re.compile(r"'(?:\w+?__)*(\w+)' lookup was")
_NAMES = re.compile(r"models_of_(?:django|ours)|\bAsync(?=QuerySet|Manager)|0x[0-9a-f]+")


def error_seen(error: BaseException) -> tuple[Any, ...]:
    """Return the class of *error* and what it says."""
    text = _PATH.sub(r"'\1' lookup was", str(error))
    if isinstance(error, DatabaseError):
        text = _IN_STATEMENT.sub("", text)
    return "error", type(error).__qualname__, _NAMES.sub("", text)


def seen(value: Any, met: dict[int, int] | None = None) -> Any:
    """Return *value* as nested tuples; what was *met* before is only numbered."""
    met = {} if met is None else met
    if isinstance(value, Model):
        if id(value) in met:
            return f"{type(value).__name__} no. {met[id(value)]}"
        met[id(value)] = len(met)
        # Sorted, for independent prefetches run at the same time.
        attributes = sorted(
            ((name, item) for name, item in vars(value).items() if name != KEPT or item),
            key=lambda each: each[0],
        )
        return type(value).__name__, [_attribute(*each, met) for each in attributes]
    if isinstance(value, QuerySet):
        return "rows", value.model.__name__, value._prefetch_done, seen(value._result_cache, met)
    if isinstance(value, Manager):
        return "manager", value.model.__name__, seen(getattr(value, "instance", None), met)
    if isinstance(value, dict):
        return "dict", [(seen(key, met), seen(item, met)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [seen(item, met) for item in value]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(repr, value))
    if isinstance(value, BaseExpression | Combinable):
        return type(value).__name__
    return type(value).__name__, value


def _attribute(name: str, value: Any, met: dict[int, int]) -> Any:
    if name == KEPT:
        return KEPT, {
            relation: seen(known_rows(value, relation), met) for relation in sorted(dict.keys(value))
        }
    if isinstance(value, ModelState):
        caches = vars(value).get("fields_cache", {})
        return [
            *("state", value.adding, value.db, value.fetch_mode if _HAS_FETCH_MODES else None),
            # Where the key is None, reading it fills the cache with None as well.
            [(name, seen(item, met)) for name, item in sorted(caches.items()) if item is not None],
        ]
    return name, seen(value, met)


_HAS_FETCH_MODES = django.VERSION >= (6, 1)


def looked_at(value: Any) -> Any:
    """Return what *value* and what it has prefetched say to who looks closely."""
    if isinstance(value, Model):
        kept = vars(value).get(KEPT, {})
        return [(name, looked_at(kept[name])) for name in sorted(kept)]
    if isinstance(value, QuerySet):
        internals: Any = value
        known = {
            field.name: [(key, type(item).__name__, item.pk) for key, item in items.items()]
            for field, items in internals._known_related_objects.items()
        }
        return _statement(value), known, internals._db, internals._sticky_filter, internals._for_write
    return None


def _statement(queryset: Any) -> Any:
    try:
        return queryset.query.sql_with_params()
    except (EmptyResultSet, ValueError) as error:
        return error_seen(error)
