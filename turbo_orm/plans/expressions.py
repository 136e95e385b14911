"""What tells an expression from others: the part it has in a shape.

Expressions of Django's own are told by their class and arguments, where these say everything about
the SQL. Parts which hold values (`Q`, `Value`, subqueries) are told by `plans.arguments`, that takes
the values out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    Field,
    Max,
    Min,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    aggregates,
    functions,
)
from django.db.models.expressions import CombinedExpression, NegatedExpression, OrderBy, Star
from django.db.models.functions.datetime import Extract, TruncBase
from django.db.models.functions.text import ConcatPair
from django.utils import timezone

from turbo_orm.plans.values import Bail

__all__ = ["CONSTANTS", "OF_MOMENTS", "TellPart", "identity", "identity_of_order", "within"]

#: Returns what tells a `Q`, `Value`, `Exists` or `Subquery` from others.
TellPart = Callable[[Any], Any]

#: Since Django 6.0 a condition of an aggregate is in an expression of its own.
_AggregateFilter: Any = getattr(aggregates, "AggregateFilter", None)

_NOT_PASSED: Any = getattr(timezone, "NOT_PASSED", None)

#: Types of what can be part of a shape. (Equal decimals are not always the same.)
CONSTANTS = frozenset({bool, int, str, type(None)})

#: What makes an instance another than its class and arguments say.
_OWN = frozenset({"arg_joiner", "filter_template", "function", "template"})


def identity(expression: Any, tell_part: TellPart) -> Any:
    """Return what tells *expression* from others, for those of `_TOLD`; *tell_part* does it for its parts.

    Raises `Bail` for any other.
    """
    kind = type(expression)
    tell = _TOLD.get(kind)
    own = getattr(expression, "__dict__", {})
    if tell is None or (tell is not _part and not _OWN.isdisjoint(own)):
        raise Bail
    told = tell(expression, tell_part)
    return (kind, *told, _identity_of_type(own["output_field"])) if "output_field" in own else (kind, *told)


def identity_of_order(given: Any) -> Any:
    """Return what tells *given*, an argument of `order_by()`, from others, as `identity()` does.

    Django leaves out what it is ordered by already, with the same values: they are part of it.
    """
    if type(given) is str:
        return given
    if type(given) is OrderBy:
        if any(each not in (None, True, False) for each in (given.nulls_first, given.nulls_last)):
            raise Bail
        told = identity(given.expression, _tell_constant)
        return (OrderBy, given.descending, given.nulls_first, given.nulls_last, told)
    return identity(given, _tell_constant)


def within(expression: Any) -> Iterator[Any]:
    """*expression* and all expressions in it; conditions as they are."""
    yield expression
    for each in getattr(expression, "get_source_expressions", tuple)():
        if each is not None:
            yield from within(each)


def _tell_constant(part: Any) -> Any:
    if type(part) is not Value or type(part.value) not in CONSTANTS:
        raise Bail
    return type(part.value), part.value


def _identity_of_type(field: Any) -> Any:
    """Return what tells *field*, an ``output_field``, from others."""
    if (
        not isinstance(field, Field)
        or not type(field).__module__.startswith("django.db.models.")
        or hasattr(field, "model")
    ):
        raise Bail
    _, _, args, kwargs = field.deconstruct()
    if args or not CONSTANTS.issuperset(map(type, kwargs.values())):
        raise Bail
    return (type(field), *sorted(kwargs.items()))


def _sources(expression: Any, tell_part: TellPart) -> Iterator[Any]:
    return (identity(each, tell_part) for each in expression.source_expressions)


def _part(part: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return (tell_part(part),)


def _name(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    if type(expression.name) is not str:
        raise Bail
    return (expression.name,)


def _combined(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return expression.connector, identity(expression.lhs, tell_part), identity(expression.rhs, tell_part)


def _wrapped(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return (identity(expression.expression, tell_part),)


def _function(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    if expression.extra:
        raise Bail
    return tuple(_sources(expression, tell_part))


def _of_moment(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    # Before Django 5.0 there is *is_dst*, with which another time zone library chooses the hour.
    if expression.tzinfo is not None or getattr(expression, "is_dst", _NOT_PASSED) is not _NOT_PASSED:
        raise Bail
    # Trunc() is given its kind, Extract() what is looked up; the classes made of them have their own.
    named = getattr(expression, "kind", None), getattr(expression, "lookup_name", None)
    return (*named, *_function(expression, tell_part))


def _aggregate(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    if expression.extra or getattr(expression, "order_by", None):
        raise Bail
    given, default = expression.filter, expression.default
    if given is not None:
        given = identity(given.condition if type(given) is _AggregateFilter else given, tell_part)
    if hasattr(default, "resolve_expression"):
        default = identity(default, tell_part)
    elif type(default) not in CONSTANTS:
        raise Bail
    return (expression.distinct, type(default), default, given, *_sources(expression, tell_part))


def _case(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    if expression.extra:
        raise Bail
    return tuple([identity(each, tell_part) for each in (*expression.cases, expression.default)])


def _when(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return identity(expression.condition, tell_part), identity(expression.result, tell_part)


#: Functions with parameters of their own: which part of a moment is meant, and where.
OF_MOMENTS = frozenset(
    each
    for each in vars(functions).values()
    if isinstance(each, type) and issubclass(each, Extract | TruncBase)
)

#: The expressions whose SQL, on PostgreSQL, depends on nothing but what these tell, and the time zone.
_TOLD: dict[type, Callable[[Any, TellPart], tuple[Any, ...]]] = {
    F: _name,
    OuterRef: _name,
    **dict.fromkeys((Exists, Q, Subquery, Value), _part),
    Star: lambda expression, tell_part: (),
    CombinedExpression: _combined,
    **dict.fromkeys((ExpressionWrapper, NegatedExpression), _wrapped),
    Case: _case,
    When: _when,
    **dict.fromkeys((Avg, Count, Max, Min, Sum), _aggregate),
    **dict.fromkeys(
        (
            ConcatPair,
            functions.Abs,
            functions.Cast,
            functions.Ceil,
            functions.Coalesce,
            functions.Concat,
            functions.Floor,
            functions.Greatest,
            functions.Least,
            functions.Left,
            functions.Length,
            functions.Lower,
            functions.LPad,
            functions.LTrim,
            functions.Mod,
            functions.Now,
            functions.NullIf,
            functions.Power,
            functions.Repeat,
            functions.Replace,
            functions.Reverse,
            functions.Right,
            functions.Round,
            functions.RPad,
            functions.RTrim,
            functions.Sign,
            functions.Sqrt,
            functions.StrIndex,
            functions.Substr,
            functions.Trim,
            functions.Upper,
        ),
        _function,
    ),
    **dict.fromkeys(OF_MOMENTS, _of_moment),
}
