"""The steps of a query: what a chainable method was called with, but for its values.

A step can be taken again, on the template of its shape and when a queryset leaves plan mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.db.models.fields import related_descriptors

from turbo_orm.plans.arguments import (
    Argument,
    Arguments,
    Kind,
    OrderArguments,
    has_lazy,
    made,
    made_by_name,
    made_condition,
)
from turbo_orm.plans.keys import filtered_by_keys, filtered_by_related
from turbo_orm.plans.values import CONTAINERS, SCALARS

__all__ = [
    "Annotate",
    "Call",
    "Combine",
    "Extra",
    "Filter",
    "NoneType",
    "Order",
    "PrefetchFilter",
    "PrefetchFilterOne",
    "Select",
    "Slice",
    "Step",
    "Taken",
    "Unite",
    "kinds_and_values",
    "take_annotations",
    "take_combination",
    "take_filter",
    "take_order",
    "take_selection",
    "take_union",
]


class Filter(NamedTuple):
    """`filter()` or `exclude()`."""

    negated: bool
    sticky: bool
    #: The shapes of the positional conditions.
    conditions: tuple[Any, ...]
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        query_class = type(queryset.query)
        args = [made_condition(shape, values, query_class) for shape in self.conditions]
        kwargs = {
            name: made(kind, values, query_class) for name, kind in zip(self.names, self.kinds, strict=True)
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
    """``annotate()`` or ``alias()``."""

    method: str
    names: tuple[str, ...]
    expressions: tuple[Argument, ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        annotations = made_by_name(self.names, self.expressions, values, type(queryset.query))
        return getattr(QuerySet, self.method)(queryset, **annotations)


class Select(NamedTuple):
    """``values()`` or ``values_list()`` with expressions."""

    method: str
    #: Names, and expressions among them.
    args: tuple[str | Argument, ...]
    names: tuple[str, ...]
    expressions: tuple[Argument, ...]
    options: tuple[tuple[str, Any], ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        query_class = type(queryset.query)
        args = [each if isinstance(each, str) else each.make(values, query_class) for each in self.args]
        named = made_by_name(self.names, self.expressions, values, query_class)
        return getattr(QuerySet, self.method)(queryset, *args, **named, **dict(self.options))


class Order(NamedTuple):
    """``order_by()`` with expressions. Nothing resolves them before the query is compiled."""

    #: Expressions, and names among them.
    args: tuple[str | Argument, ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        query_class = type(queryset.query)
        args = [each if isinstance(each, str) else each.make(values, query_class) for each in self.args]
        return QuerySet.order_by(queryset, *args)


class Combine(NamedTuple):
    """One of the operators ``&``, ``|`` and ``^`` with another queryset of the model."""

    #: The name of its method.
    operator: str
    other: Argument

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        return getattr(QuerySet, self.operator)(queryset, self.other.make(values, type(queryset.query)))


class Unite(NamedTuple):
    """One of the methods `union()`, `intersection()` and `difference()`."""

    method: str
    others: tuple[Argument, ...]
    options: tuple[tuple[str, bool], ...]

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        others = [each.make(values, type(queryset.query)) for each in self.others]
        return getattr(QuerySet, self.method)(queryset, *others, **dict(self.options))


#: Django's own, which filters the rows to prefetch for some instances.
_filter_prefetch_queryset: Any = related_descriptors._filter_prefetch_queryset  # type: ignore[attr-defined]


class PrefetchFilter(NamedTuple):
    """The filter of a prefetch, whose value is a list of instances."""

    name: str
    sticky: bool

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        # Of its own: some versions of Django filter in place.
        queryset = _flagged(queryset) if self.sticky else queryset._chain()
        return _filter_prefetch_queryset(queryset, self.name, next(values))


class PrefetchFilterOne(NamedTuple):
    """The filter of a prefetch that has one object for each instance, by a foreign key or from its other end.

    Its value is the list of keys, or of instances.
    """

    field: Any
    forward: bool
    sticky: bool

    def apply(self, queryset: Any, values: Iterator[Any]) -> Any:
        queryset = _flagged(queryset) if self.sticky else queryset._chain()
        filtered = filtered_by_keys if self.forward else filtered_by_related
        return filtered(queryset, self.field, next(values))


Step = (
    Filter
    | Call
    | Slice
    | Extra
    | Annotate
    | Select
    | Order
    | Combine
    | Unite
    | PrefetchFilter
    | PrefetchFilterOne
)


class Taken(NamedTuple):
    """A step as it is taken: where it leads in the trie of shapes, and its values."""

    key: Any
    make_step: Callable[[], Step]
    values: tuple[Any, ...] = ()


def take_filter(sticky: bool, negated: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Taken:
    """Return the step ``filter(*args, **kwargs)``, or ``exclude()``.

    Raises `Bail` for arguments that can't be told from others.
    """
    names = tuple(kwargs)
    if not args:
        kinds, values = kinds_and_values(kwargs)
        if _PLAIN.issuperset(kinds) and not any(map(has_lazy, values)):
            return Taken(
                (negated, sticky, (), *names, *kinds),
                lambda: Filter(negated, sticky, (), names, tuple(kinds)),
                values,
            )
    arguments = Arguments()
    conditions = tuple(map(arguments.take_condition, args))
    kinds = [*map(arguments.take, kwargs.values())]

    def make_step() -> Filter:
        arguments.keep()
        return Filter(negated, sticky, conditions, names, tuple(kinds))

    return Taken((negated, sticky, conditions, *names, *kinds), make_step, tuple(arguments.values))


def take_annotations(method: str, expressions: Mapping[str, Any]) -> Taken:
    """Return the step of *method*, ``annotate`` or ``alias``.

    Raises `Bail` for expressions that can't be told from others.
    """
    arguments = Arguments()
    names = tuple(expressions)
    taken = tuple(map(arguments.take_expression, expressions.values()))

    def make_step() -> Annotate:
        arguments.keep()
        return Annotate(method, names, taken)

    return Taken((method, *names, *taken), make_step, tuple(arguments.values))


def take_selection(
    method: str,
    fields: tuple[Any, ...],
    expressions: Mapping[str, Any],
    options: tuple[tuple[str, bool], ...] = (),
) -> Taken:
    """Return the step of *method*, ``values`` or ``values_list``; some *fields* are expressions.

    Raises `Bail` for expressions that can't be told from others.
    """
    arguments = Arguments()
    args = tuple([each if type(each) is str else arguments.take_expression(each) for each in fields])
    names = tuple(expressions)
    taken = tuple(map(arguments.take_expression, expressions.values()))

    def make_step() -> Select:
        arguments.keep()
        return Select(method, args, names, taken, options)

    return Taken((method, options, *args, *names, *taken), make_step, tuple(arguments.values))


def take_order(args: tuple[Any, ...]) -> Taken:
    """Return the step ``order_by(*args)``.

    Raises `Bail` for expressions that can't be told from others.
    """
    arguments = OrderArguments()
    taken = tuple([each if type(each) is str else arguments.take_expression(each) for each in args])

    def make_step() -> Order:
        arguments.keep()
        return Order(taken)

    return Taken(("order_by", *taken), make_step, tuple(arguments.values))


def take_combination(operator: str, other: Any) -> Taken:
    """Return the step of *operator*, the name of its method, with the queryset *other*.

    Raises `Bail` if that is not in plan mode.
    """
    arguments = Arguments()
    taken = arguments.take_queryset(other)
    return Taken((operator, taken), lambda: Combine(operator, taken), tuple(arguments.values))


def take_union(method: str, others: Sequence[Any], options: tuple[tuple[str, bool], ...]) -> Taken:
    """Return the step of *method* with the querysets *others* and keyword arguments *options*.

    Raises `Bail` if one of them is not in plan mode.
    """
    arguments = Arguments()
    taken = tuple([arguments.take_queryset(each) for each in others])
    return Taken((method, options, taken), lambda: Unite(method, taken, options), tuple(arguments.values))


def kinds_and_values(kwargs: Mapping[str, Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """Return what of the values of *kwargs* is in the shape of a filter, and what is a parameter."""
    values = tuple(kwargs.values())
    kinds: list[Any] = [*map(type, values)]
    if bool in kinds or NoneType in kinds:
        kinds = [
            value if value is None or value is True or value is False else type(value) for value in values
        ]
        values = tuple([value for value, kind in zip(values, kinds, strict=True) if kind is not value])
    return kinds, values


NoneType = type(None)

#: Kinds of what holds no values of its own.
_PLAIN = frozenset({*SCALARS, *CONTAINERS, dict, None, True, False})


def _flagged(queryset: Any) -> Any:
    """Return a copy on which `_next_is_sticky()` was called: templates are shared."""
    # Not through _chain(), which would use the flag up.
    flagged: Any = object.__new__(QuerySet)
    flagged.__dict__.update(queryset.__dict__)
    flagged._sticky_filter = True
    return flagged
