"""`fetch_mode()` for `AsyncQuerySet`, and what carries the mode to related and raw querysets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

from django.db.models import Model

from turbo_orm.fetch_modes.older_django import NEEDED
from turbo_orm.fetch_modes.older_django.modes import FETCH_ONE, FetchMode, mode_of
from turbo_orm.fetch_modes.older_django.rows import apply, mark, mode_of_queryset

__all__ = ["carry_to_related", "with_fetch_modes", "with_raw_fetch_modes"]

Q = TypeVar("Q", bound=type)


def with_fetch_modes(queryset_class: Q) -> Q:
    """Give *queryset_class* `fetch_mode()`, and have `create()` and `raw()` hand its mode on."""
    if not NEEDED:
        return queryset_class
    target: Any = queryset_class
    raw = target.raw

    def fetch_mode(self: Any, fetch_mode: FetchMode) -> Any:
        """Set what reading an unloaded relation or field of the rows does.

        Raises `TypeError` if *fetch_mode* is none of `turbo_orm.fetch_modes`.
        """
        clone = self._chain()
        apply(clone, fetch_mode)
        return clone

    @wraps(target.create)
    def create_with_mode(self: Any, **kwargs: Any) -> Any:
        made = super(target, self).create(**kwargs)
        if (mode := mode_of_queryset(self)) is not FETCH_ONE:
            made._state.fetch_mode = mode
        return made

    @wraps(raw)
    def raw_with_mode(self: Any, *args: Any, **kwargs: Any) -> Any:
        rows = raw(self, *args, **kwargs)
        rows._fetch_mode = mode_of_queryset(self)
        return rows

    target.fetch_mode, target.create, target.raw = fetch_mode, create_with_mode, raw_with_mode
    return queryset_class


def with_raw_fetch_modes(queryset_class: Q) -> Q:
    """Have the rows of *queryset_class*, a `RawQuerySet`, get the mode it was made with."""
    if not NEEDED:
        return queryset_class
    target: Any = queryset_class
    iterator = target.iterator

    @wraps(iterator)
    def iterator_with_mode(self: Any) -> Iterator[Model]:
        rows: Iterator[Model] = iterator(self)
        return rows if self._fetch_mode is FETCH_ONE else mark(rows, self._fetch_mode)

    target._fetch_mode = FETCH_ONE
    target.iterator = iterator_with_mode
    for name in ("_clone", "using"):
        setattr(target, name, _carrying(getattr(target, name)))
    return queryset_class


def _carrying(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def carrying(self: Any, *args: Any, **kwargs: Any) -> Any:
        clone = method(self, *args, **kwargs)
        clone._fetch_mode = self._fetch_mode
        return clone

    return carrying


def carry_to_related(manager_class: Any) -> None:
    """Have the querysets of *manager_class*, a related manager, get the mode of their instance."""
    original = getattr(manager_class, "_apply_rel_filters", None)
    if not NEEDED or original is None:
        return

    @wraps(original)
    def with_the_mode(self: Any, queryset: Any) -> Any:
        rows = original(self, queryset)
        if (mode := mode_of(self.instance)) is not FETCH_ONE:
            apply(rows, mode)
        return rows

    manager_class._apply_rel_filters = with_the_mode
