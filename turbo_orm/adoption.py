"""Async twins of manager and queryset classes that nobody here can edit."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from django.db.models import Manager, QuerySet

from turbo_orm.manager import AsyncManager
from turbo_orm.queryset import AsyncQuerySet

__all__ = ["async_manager_class", "async_queryset_class"]


@cache
def async_manager_class(manager_class: Any, queryset_class: Any = None) -> Any:
    """Return *manager_class* with `AsyncManager` beneath it, so that its own methods stay.

    Its querysets are of the async twin of *queryset_class* (default: its own). For migrations
    it is the original.
    """
    if issubclass(manager_class, AsyncManager):
        return manager_class
    queryset_class = queryset_class or manager_class._queryset_class
    if manager_class is Manager and issubclass(AsyncQuerySet, queryset_class):
        return AsyncManager

    def get_queryset(self: Any) -> Any:
        found: Any = super(made, self).get_queryset()
        found.__class__ = async_queryset_class(found.__class__)
        return found

    def deconstruct(self: Any) -> Any:
        original = copy.copy(self)
        original.__class__ = manager_class
        return original.deconstruct()

    def equals(self: Any, other: Any) -> bool:
        # Migrations compare managers: this one is no change of the original.
        return isinstance(other, manager_class) and bool(self._constructor_args == other._constructor_args)

    made: Any = type(
        f"Async{manager_class.__name__}",
        (manager_class, AsyncManager),
        {
            "__module__": __name__,
            "_queryset_class": async_queryset_class(queryset_class),
            "get_queryset": get_queryset,
            "deconstruct": deconstruct,
            "__eq__": equals,
            "__hash__": manager_class.__hash__,
        },
    )
    return made


@cache
def async_queryset_class(queryset_class: Any) -> Any:
    """Return *queryset_class* with `AsyncQuerySet` beneath it; pickles of it find the original."""
    if issubclass(queryset_class, AsyncQuerySet):
        return queryset_class
    if queryset_class is QuerySet:
        return AsyncQuerySet

    def reduce(self: Any, protocol: int) -> Any:
        return _empty_queryset, (queryset_class,), self.__getstate__()

    return type(
        f"Async{queryset_class.__name__}",
        (queryset_class, AsyncQuerySet),
        {"__module__": __name__, "__reduce_ex__": reduce},
    )


def _empty_queryset(queryset_class: Any) -> Any:
    return async_queryset_class(queryset_class)()
