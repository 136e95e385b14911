"""The steps of a query: what a chainable method was called with, but for its values.

A step can be taken again, on the template of its shape and when a queryset leaves plan mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from django.db.models.fields import related_descriptors

from turbo_orm.plans.values import Bail, kind_of

__all__ = [
    "Annotate",
    "Call",
    "Extra",
    "Filter",
    "NoneType",
    "Prefetched",
    "Slice",
    "Step",
    "Taken",
    "kinds_and_values",
    "take_filter",
]


class Filter(NamedTuple):
    """`filter()` or `exclude()`."""

    negated: bool
    sticky: bool
    #: The shapes of the positional `Q` objects.
    qs: tuple[Any, ...]
    names: tuple[str, ...]
    kinds: tuple[Any, ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        args = [_make_q(shape, values) for shape in self.qs]
        kwargs = {
            name: next(values) if isinstance(kind, type) else kind
            for name, kind in zip(self.names, self.kinds, strict=True)
        }
        if self.sticky:
            queryset = _flagged(queryset)
        method = QuerySet.exclude if self.negated else QuerySet.filter
        return method(queryset, *args, **kwargs)


class Call(NamedTuple):
    """A method whose arguments are all part of the shape."""

    name: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return getattr(QuerySet, self.name)(queryset, *self.args, **dict(self.kwargs))


class Slice(NamedTuple):
    """``[low:high]``: the limits themselves are no part of the shape."""

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return queryset


class Extra(NamedTuple):
    """``extra(select=...)`` without parameters, as Django uses it to prefetch."""

    select: tuple[tuple[str, str], ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return QuerySet.extra(queryset, select=dict(self.select))


class Annotate(NamedTuple):
    """``annotate()`` with expressions which are all part of the shape."""

    expressions: tuple[tuple[str, Any], ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return QuerySet.annotate(queryset, **dict(self.expressions))


#: Django's own, which filters the rows to prefetch for some instances.
_filter_prefetch_queryset: Any = related_descriptors._filter_prefetch_queryset  # type: ignore[attr-defined]


class Prefetched(NamedTuple):
    """The filter of a prefetch, whose value is a list of instances."""

    name: str
    sticky: bool

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        # Of its own: some versions of Django filter in place.
        queryset = _flagged(queryset) if self.sticky else queryset._chain()
        return _filter_prefetch_queryset(queryset, self.name, next(values))


Step = Filter | Call | Slice | Extra | Annotate | Prefetched


class Taken(NamedTuple):
    """A step as it is taken: where it leads in the trie of shapes, and its values."""

    key: Any
    make_step: Callable[[], Step]
    values: tuple[Any, ...] = ()


def take_filter(sticky: bool, negated: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Taken:
    """Return the step ``filter(*args, **kwargs)``, or ``exclude()``.

    Raises `Bail` for other arguments than `Q`, and for one that can't be a parameter.
    """
    kinds, values = kinds_and_values(kwargs)
    names = tuple(kwargs)
    shapes: tuple[Any, ...] = ()
    if args:
        in_qs: list[Any] = []
        shapes = tuple([_shape_of_q(arg, in_qs) for arg in args])
        values = (*in_qs, *values)
    return Taken(
        (negated, sticky, shapes, *names, *kinds),
        lambda: Filter(negated, sticky, shapes, names, tuple(kinds)),
        values,
    )


def kinds_and_values(kwargs: Mapping[str, Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """Return what of the values of *kwargs* is in the shape of a filter, and what is a parameter."""
    values = tuple(kwargs.values())
    kinds: list[Any] = [*map(type, values)]
    if bool in kinds or NoneType in kinds:
        # As kind_of(), which would be a call for each.
        kinds = [
            value if value is None or value is True or value is False else type(value) for value in values
        ]
        values = tuple([value for value, kind in zip(values, kinds, strict=True) if kind is not value])
    return kinds, values


NoneType = type(None)


def _flagged(queryset: Any) -> Any:
    """Return a copy on which `_next_is_sticky()` was called: templates are shared."""
    # Not through _chain(), which would use the flag up.
    flagged: Any = object.__new__(QuerySet)
    flagged.__dict__.update(queryset.__dict__)
    flagged._sticky_filter = True
    return flagged


def _shape_of_q(q: Any, values: list[Any]) -> tuple[Any, ...]:
    """Return the shape of the `Q` object *q*, adding its values to *values*."""
    if type(q) is not Q or q.connector == Q.XOR:
        raise Bail
    children: list[Any] = []
    for child in q.children:
        if type(child) is tuple:
            name, value = child
            kind = kind_of(value)
            if kind is not value:
                values.append(value)
            children.append((name, kind))
        else:
            children.append(_shape_of_q(child, values))
    return ("Q", q.connector, q.negated, tuple(children))


def _make_q(shape: tuple[Any, ...], values: Iterator[Any]) -> Q:
    _, connector, negated, children = shape
    q = Q()
    q.connector, q.negated = connector, negated
    q.children = [
        _make_q(child, values)
        if len(child) == 4
        else (child[0], next(values) if isinstance(child[1], type) else child[1])
        for child in children
    ]
    return q
