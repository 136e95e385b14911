"""What tells an expression from others: the part it has in a shape.

Expressions of Django's own are told by their class and arguments, where these say everything about
the SQL. Their constants are part of the shape: `F("n") + 1` and `F("n") + 2` are two.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Avg, Count, F, Max, Min, Sum, Value, functions
from django.db.models.expressions import CombinedExpression, OrderBy, Star
from django.db.models.functions.text import ConcatPair

from turbo_orm.plans.values import Bail

__all__ = ["identity", "identity_of_order"]

_AGGREGATES = frozenset({Avg, Count, Max, Min, Sum})

#: Their SQL depends on nothing but their arguments, on PostgreSQL.
_FUNCTIONS = frozenset(
    {
        ConcatPair,
        functions.Abs,
        functions.Ceil,
        functions.Coalesce,
        functions.Concat,
        functions.Floor,
        functions.Greatest,
        functions.Least,
        functions.Length,
        functions.Lower,
        functions.LTrim,
        functions.Now,
        functions.NullIf,
        functions.RTrim,
        functions.Trim,
        functions.Upper,
    }
)

_CONSTANTS = frozenset({bool, int, str, type(None)})

#: What makes an instance another than its class and arguments say.
_OWN = frozenset({"arg_joiner", "filter_template", "function", "output_field", "template"})


def identity(expression: Any) -> Any:
    """Return what tells *expression* from others, for a few that are Django's own.

    Those are names of fields, arithmetic with constants, simple functions, and aggregates of these.
    Raises `Bail` for any other.
    """
    kind = type(expression)
    if not _OWN.isdisjoint(getattr(expression, "__dict__", ())):
        raise Bail
    if kind is F and type(expression.name) is str:
        return ("F", expression.name)
    if kind is CombinedExpression:
        return (expression.connector, identity(expression.lhs), identity(expression.rhs))
    if kind is Value and type(expression.value) in _CONSTANTS:
        return ("Value", type(expression.value), expression.value)
    if kind in _AGGREGATES:
        if expression.filter is not None or expression.extra or getattr(expression, "order_by", None):
            raise Bail
        arguments = expression.get_source_expressions()
        others = [each for each in arguments[1:] if each is not None]
        if others or getattr(expression, "default", None) is not None:
            raise Bail
        return (kind, expression.distinct, identity(arguments[0]))
    if kind in _FUNCTIONS and not expression.extra:
        return (kind, *map(identity, expression.get_source_expressions()))
    if kind is Star:
        return Star
    raise Bail


def identity_of_order(given: Any) -> Any:
    """Return what tells *given*, an argument of `order_by()`, from others, as `identity()` does."""
    if type(given) is str:
        return given
    if type(given) is OrderBy:
        if any(each not in (None, True, False) for each in (given.nulls_first, given.nulls_last)):
            raise Bail
        return (OrderBy, given.descending, given.nulls_first, given.nulls_last, identity(given.expression))
    return identity(given)
