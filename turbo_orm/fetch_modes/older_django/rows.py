"""Give the rows of a query their mode, and those it loaded along with them.

A queryset's mode is in its iterable class, which Django hands on to copies of every queryset.
"""

from __future__ import annotations

import weakref
from collections.abc import Container, Iterable, Iterator
from typing import Any

from django.db.models import Model
from django.db.models.query import ModelIterable

from turbo_orm.fetch_modes.older_django.modes import FETCH_ONE, FETCH_PEERS, FETCH_RAISE, FetchMode
from turbo_orm.loading import Peers

__all__ = ["PeersIterable", "RaiseIterable", "apply", "mark", "mode_of_queryset"]


class _Marker:
    """Marks the objects found in one place of every row: the row itself, or behind one relation."""

    def __init__(self, mode: FetchMode, others: Container[int]) -> None:
        self._mode = mode
        self._others = others
        self._peers = Peers()
        self._behind: dict[str, _Marker] = {}

    def mark(self, found: Model, names: Iterable[str], seen: set[int]) -> None:
        """Mark *found* and what was loaded with it: its relations, and its attributes *names*."""
        seen.add(id(found))
        state: Any = found._state
        state.fetch_mode = self._mode
        if self._mode is FETCH_PEERS:
            self._peers.append(weakref.ref(found))
            state.peers = self._peers
        related = {**state.fields_cache, **{name: found.__dict__.get(name) for name in names}}
        for name, value in related.items():
            if isinstance(value, Model) and id(value) not in seen and id(value) not in self._others:
                marker = self._behind.get(name)
                if marker is None:
                    marker = self._behind[name] = _Marker(self._mode, self._others)
                marker.mark(value, (), seen)


def mark(
    rows: Iterable[Model], mode: FetchMode, queryset: Any = None, others: Iterable[Model] = ()
) -> Iterator[Model]:
    """Yield *rows*, the peers of one query, with *mode*.

    *queryset* is where they come from; *others* are objects they refer to but which were there
    before them.
    """
    known: dict[Any, dict[Any, Model]] = getattr(queryset, "_known_related_objects", {})
    before = {id(value) for values in known.values() for value in values.values()} | set(map(id, others))
    # select_related() puts a FilteredRelation into the object's own attributes.
    filtered = tuple(queryset.query._filtered_relations) if queryset is not None else ()
    marker = _Marker(mode, before)
    for row in rows:
        marker.mark(row, filtered, set())
        yield row


class _MarkedIterable(ModelIterable):  # type: ignore[type-arg]  # not subscriptable at runtime
    mode: FetchMode

    def __iter__(self) -> Iterator[Model]:
        return mark(super().__iter__(), self.mode, self.queryset)


class PeersIterable(_MarkedIterable):
    """Rows which load for each other."""

    mode = FETCH_PEERS


class RaiseIterable(_MarkedIterable):
    """Rows which load nothing when they are read."""

    mode = FETCH_RAISE


_ITERABLES: dict[FetchMode, type[ModelIterable[Any]]] = {
    FETCH_ONE: ModelIterable,
    FETCH_PEERS: PeersIterable,
    FETCH_RAISE: RaiseIterable,
}


def mode_of_queryset(queryset: Any) -> FetchMode:
    """Return the mode which the rows of *queryset* get."""
    iterable = queryset._iterable_class
    mode: FetchMode = iterable.mode if issubclass(iterable, _MarkedIterable) else FETCH_ONE
    return mode


def apply(queryset: Any, mode: FetchMode, others: Iterable[Model] = ()) -> None:
    """Give the rows of *queryset* the mode; those it has already too.

    *others* are objects which these refer to, and which keep theirs.
    Raises `TypeError` if there is no such mode.
    """
    iterable = _ITERABLES.get(mode)
    if iterable is None:
        raise TypeError(
            f"{mode!r} is no fetch mode: pass FETCH_ONE, FETCH_PEERS or FETCH_RAISE of turbo_orm.fetch_modes."
        )
    if queryset._iterable_class in _ITERABLES.values():  # else it yields no instances, or a subclass's own
        queryset._iterable_class = iterable
    if queryset._result_cache and mode is not FETCH_ONE:
        for _ in mark(queryset._result_cache, mode, queryset, others):
            pass
