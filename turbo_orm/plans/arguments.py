"""Arguments of a queryset's methods, taken apart: what of them is in a shape, and their values.

Of a plain value its type is in the shape (see `plans.values`). `Q` objects, expressions and
querysets hold values of their own: what is left of them is made again with other values, for a
template or where a queryset leaves plan mode.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.db.models import Model, Q, QuerySet, Value
from django.utils.functional import SimpleLazyObject

from turbo_orm.plans.constructed import VALUES, without_parts
from turbo_orm.plans.expressions import CONSTANTS, identity
from turbo_orm.plans.inner import Inner, inner_of, made_of
from turbo_orm.plans.recording import Slot, TemplateValue
from turbo_orm.plans.template import Param
from turbo_orm.plans.values import SCALARS, Bail, is_scalar

__all__ = [
    "Argument",
    "Arguments",
    "Kind",
    "OrderArguments",
    "has_lazy",
    "made",
    "made_by_name",
    "made_condition",
]

#: What of an argument is in a shape: ``None`` or a boolean; the type of a value, which is left out;
#: or an `Argument`.
Kind = Any


def has_lazy(value: Any) -> bool:
    """Whether *value* is a container with lazy objects in it, whose place what they mean may take."""
    return type(value) in (list, tuple) and SimpleLazyObject in map(type, value)


def _looked_at(value: Any) -> Any:
    """Return the instance that is meant by a lazy object which was looked at, as `request.user` mostly was.

    Of it, too, Django takes the key.
    """
    found = value
    while type(found) is SimpleLazyObject:  # middlewares of a project wrap that of Django's
        found = found._wrapped
    return found if isinstance(found, Model) else value


class Argument:
    """An argument without its values. Equal are those which differ in nothing but these."""

    __slots__ = ("_identity",)

    def __init__(self, identity: Any) -> None:
        self._identity = identity

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._identity}>"

    def make(self, values: Iterator[Any], query_class: type) -> Any:
        """Return the argument with the next of *values* in it; querysets have queries of *query_class*."""
        raise NotImplementedError


class _Expression(Argument):
    """An expression, with the parts of it that have values, and their shapes."""

    __slots__ = ("_expression", "_parts", "_shapes")

    def __init__(self, identity: Any, expression: Any, parts: list[tuple[Any, Any]]) -> None:
        super().__init__(identity)
        self._expression = expression
        self._parts: list[Any] | None = [part for part, _ in parts]
        self._shapes = [shape for _, shape in parts]

    def keep(self) -> None:
        """Keep an expression of its own, without values: whose it was may change it, or drop it."""
        if self._parts is not None:
            self._expression, self._parts = without_parts(self._expression, self._parts), None

    def make(self, values: Iterator[Any], query_class: type) -> Any:
        self.keep()
        if not self._shapes:
            return self._expression.expression
        return self._expression.filled([made_condition(shape, values, query_class) for shape in self._shapes])


class _QuerySet(Argument):
    """A queryset in plan mode, whose rows a lookup compares with."""

    __slots__ = ()

    def make(self, values: Iterator[Any], query_class: type) -> Any:
        node, limits, alias = self._identity
        queryset: Any = QuerySet(model=node.model, query=query_class(node.model), using=alias)
        for each in node.path():
            queryset = each.step.apply(queryset, values)
        if limits is not None:
            queryset.query.set_limits(*limits)
        return queryset


class _Subquery(Argument):
    """An `Exists` or a `Subquery`."""

    __slots__ = ("_options",)

    def __init__(self, kind: type, queryset: Argument, options: dict[str, Any]) -> None:
        super().__init__((kind, queryset))
        #: What its constructor takes by name: part of what tells the expression it is in from others.
        self._options = options

    def make(self, values: Iterator[Any], query_class: type) -> Any:
        kind, queryset = self._identity
        return kind(queryset.make(values, query_class), **self._options)


class _Value(Argument):
    """A `Value` of a type."""

    __slots__ = ("_options",)

    def __init__(self, kind: type, options: dict[str, Any]) -> None:
        super().__init__(kind)
        self._options = options

    def make(self, values: Iterator[Any], query_class: type) -> Any:
        value = next(values)
        if not isinstance(value, Param):
            return Value(value, **self._options)
        value.is_stored_as_given = True
        # A user's text must not live as long as the template.
        sample = "text" if type(value.value) is str else value.value
        return TemplateValue(Slot(value.index), sample, **self._options)


class Arguments:
    """Takes arguments apart, one after the other."""

    __slots__ = ("_expressions", "values")

    #: Types of a `Value` that is part of the shape. The type of a text depends on what is around it.
    in_shapes = CONSTANTS - {int}

    def __init__(self) -> None:
        #: All values there were, in the order in which `Argument.make()` wants them.
        self.values: list[Any] = []
        self._expressions: list[_Expression] = []

    def keep(self) -> None:
        """Have what was taken apart outlive the arguments, as the keys and steps of shapes do."""
        for each in self._expressions:
            each.keep()

    def take(self, value: Any) -> Kind:
        """Take any argument. Raises `Bail` for those that can't be told from others."""
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is SimpleLazyObject:
            value = _looked_at(value)
            kind = type(value)
        elif has_lazy(value):
            value = kind([_looked_at(each) for each in value])
        if kind in SCALARS or not hasattr(kind, "resolve_expression"):
            if kind is Decimal and value.is_snan():
                raise Bail  # it has no hash, and expressions are compared by those of what is in them
            self.values.append(value)
            return kind
        return self.take_queryset(value) if isinstance(value, QuerySet) else self.take_expression(value)

    def take_queryset(self, queryset: Any) -> Argument:
        """Take a queryset. Raises `Bail` for one that is not in plan mode."""
        return self._take_inner(inner_of(queryset))

    def take_condition(self, condition: Any) -> Any:
        """Take a `Q` or a boolean expression, and return its shape. Raises `Bail`, as `take()`."""
        if type(condition) is not Q:
            return self.take_expression(condition)
        children = [
            (child[0], self.take(child[1])) if type(child) is tuple else self.take_condition(child)
            for child in condition.children
        ]
        return ("Q", condition.connector, condition.negated, tuple(children))

    def take_expression(self, expression: Any) -> Argument:
        """Take an expression. Raises `Bail`, as `take()`."""
        parts: list[tuple[Any, Any]] = []

        def take_part(part: Any, *, typed: bool = False) -> Any:
            is_text = typed and type(part.value) is str
            if not is_text and type(part) is Value and type(part.value) in self.in_shapes:
                return type(part.value), part.value
            shape = _Value(self.take(part.value), {}) if is_text else self._take_part(part)
            parts.append((part, shape))
            return shape

        taken = _Expression(identity(expression, take_part), expression, parts)
        self._expressions.append(taken)
        return taken

    def _take_part(self, part: Any) -> Any:
        if type(part) is Q:
            return self.take_condition(part)
        given = vars(part).get("output_field")
        options = {} if given is None else {"output_field": given}
        if type(part) is not Value:
            if part.extra or part.template != type(part).template:
                raise Bail
            return _Subquery(type(part), self._take_inner(made_of(part)), options)
        # Of a naive datetime Django warns, each time.
        if type(part.value) not in VALUES or (type(part.value) is dt.datetime and part.value.tzinfo is None):
            raise Bail
        return _Value(self.take(part.value), options)

    def _take_inner(self, inner: Inner | None) -> Argument:
        if inner is None:
            raise Bail
        self.values.extend(inner.values)
        return _QuerySet((inner.node, inner.limits, inner.alias))


class OrderArguments(Arguments):
    """Takes the arguments of `order_by()`, which Django resolves where it compiles them."""

    __slots__ = ()

    #: Django leaves out what it is ordered by already, with the same values.
    in_shapes = CONSTANTS

    def take(self, value: Any) -> Kind:
        """Take an argument, as `Arguments.take()`; raises `Bail` for what may be another one later."""
        kind = super().take(value)
        if isinstance(kind, type) and not is_scalar(kind):
            raise Bail
        return kind

    def _take_inner(self, inner: Inner | None) -> Argument:
        raise Bail


def made(kind: Kind, values: Iterator[Any], query_class: type) -> Any:
    """Return the argument of *kind*, with the next of *values*: see `Argument.make()`."""
    if isinstance(kind, type):
        return next(values)
    return kind.make(values, query_class) if isinstance(kind, Argument) else kind


def made_by_name(
    names: Sequence[str], arguments: Sequence[Argument], values: Iterator[Any], query_class: type
) -> dict[str, Any]:
    """Return *arguments* by their *names*, with the next of *values*: see `Argument.make()`."""
    return {name: each.make(values, query_class) for name, each in zip(names, arguments, strict=True)}


def made_condition(shape: Any, values: Iterator[Any], query_class: type) -> Any:
    """Return the condition of *shape*, with the next of *values*: see `Argument.make()`."""
    if isinstance(shape, Argument):
        return shape.make(values, query_class)
    _, connector, negated, children = shape
    q = Q()
    q.connector, q.negated = connector, negated
    q.children = [
        (child[0], made(child[1], values, query_class))
        if type(child) is tuple and len(child) == 2
        else made_condition(child, values, query_class)
        for child in children
    ]
    return q
