"""Querysets in plan mode that are part of others: as values of lookups, and in subqueries.

`Subquery` and `Exists` take the queryset's query, and keep nothing else of it; so it is noted here what
they were made of. Where the query around them has a plan nobody looks at theirs, and it is never made.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple

from django.db.models import QuerySet, Subquery
from django.db.models.sql import Query

from turbo_orm.db.originals import original
from turbo_orm.plans.unmade import Unmade, attributes_of, become

__all__ = ["Inner", "inner_of", "install", "made_of"]


class Inner(NamedTuple):
    """What makes the query of a queryset."""

    #: The node of its shape.
    node: Any
    limits: tuple[int, int | None] | None
    alias: str | None
    #: The values as they were given.
    values: tuple[Any, ...]


def inner_of(queryset: Any) -> Inner | None:
    """Return what makes the query of *queryset*; None if that is not known."""
    planned = getattr(queryset, "_planned", None)
    if (
        planned is None
        or queryset._sticky_filter
        or queryset._result_cache is not None
        or type(queryset).resolve_expression is not QuerySet.resolve_expression
        or queryset._fields is not planned[0].fields
    ):
        return None
    node, stored, given, limits, _ = planned
    return Inner(node, limits, queryset._db, stored if given is None else given)


#: By the address of the expression, for expressions are equal to others.
_noted: dict[int, tuple[weakref.ref[Subquery], Inner]] = {}


def made_of(subquery: Subquery) -> Inner | None:
    """Return what the query of *subquery*, which is no copy of another, was made of; None if not known."""
    found = _noted.get(id(subquery))
    return found[1] if found is not None and found[0]() is subquery else None


def install() -> None:
    """Have it noted what subqueries are made of, from now on."""
    takes_query = original(Subquery, "__init__") is not None
    Subquery.__init__ = _noting(Subquery.__init__, takes_query)  # type: ignore[method-assign]


def _noting(init: Callable[..., None], takes_query: bool) -> Callable[..., None]:
    """Return *init* with a note. With *takes_query* it is Django's, which only takes a copy of the query."""

    @wraps(init)
    def __init__(self: Subquery, queryset: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it is one
        inner = inner_of(queryset)
        if inner is None:
            init(self, queryset, *args, **kwargs)
            return
        if takes_query:
            queryset = _Taken(partial(queryset._make_query, queryset._planned))
        init(self, queryset, *args, **kwargs)
        _note(self, inner)

    return __init__


class _Taken:
    """In the place of a queryset, and of its query, where only a copy of that is taken: what *make* makes."""

    def __init__(self, make: Callable[[], Query]) -> None:
        self._make = make
        self.query = self

    def clone(self) -> Query:
        return _OfSubquery(self._make)


class _OfSubquery(Unmade):
    """The query of a subquery."""

    _own = frozenset({"exists"})
    _settable = frozenset({"subquery"})

    def exists(self, *args: Any, **kwargs: Any) -> Any:
        """Return the query that `Exists` makes of it, which is not made yet either."""
        before = _OfSubquery(**attributes_of(self))  # this one may be looked at, and changed
        return _OfSubquery(lambda: become(before).exists(*args, **kwargs))


def _note(subquery: Subquery, inner: Inner) -> None:
    key = id(subquery)

    def forget(gone: weakref.ref[Subquery]) -> None:
        found = _noted.get(key)
        if found is not None and found[0] is gone:  # another may have its address already
            del _noted[key]

    _noted[key] = weakref.ref(subquery, forget), inner
