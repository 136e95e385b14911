"""What tells an expression from others: the part it has in a shape.

Expressions of Django's own, and a project's that only declare what their SQL is, are told by their
class and arguments, where these say everything about the SQL. Parts which hold values (`Q`, `Value`,
subqueries) are told by `plans.arguments`, that takes the values out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from django.db.models import (
    Aggregate,
    Case,
    Exists,
    ExpressionWrapper,
    F,
    Field,
    Func,
    OuterRef,
    Q,
    Subquery,
    Transform,
    Value,
    When,
    Window,
    aggregates,
    functions,
)
from django.db.models.expressions import (
    CombinedExpression,
    NegatedExpression,
    OrderBy,
    OrderByList,
    RowRange,
    Star,
    ValueRange,
)
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions.datetime import Extract, TruncBase
from django.db.models.functions.text import ConcatPair
from django.utils import timezone

from turbo_orm.plans.declared import check_instance, django_base
from turbo_orm.plans.values import Bail

__all__ = ["CONSTANTS", "KEYS_OF_JSON", "OF_DATETIMES", "TellPart", "identity", "within"]


class TellPart(Protocol):
    """Returns what tells a `Q`, `Value`, `Exists` or `Subquery` from others.

    *typed* says that a text is one in SQL, too: whatever is around it, the server takes it for one.
    """

    def __call__(self, part: Any, *, typed: bool = False) -> Any: ...


#: Since Django 6.0 a condition of an aggregate is in an expression of its own.
_AggregateFilter: Any = getattr(aggregates, "AggregateFilter", None)

_NOT_PASSED: Any = getattr(timezone, "NOT_PASSED", None)

#: Types of what can be part of a shape. (Equal decimals are not always the same.)
CONSTANTS = frozenset({bool, int, str, type(None)})

#: What makes an instance another than its class and arguments say.
_OWN = frozenset({"arg_joiner", "filter_template", "function", "template"})


def identity(expression: Any, tell_part: TellPart) -> Any:
    """Return what tells *expression* from others, where its class is one of those whose SQL that decides.

    *tell_part* does it for its parts that hold values. Raises `Bail` for other classes.
    """
    kind = type(expression)
    tell = _TOLD.get(kind) or _told_by_name(kind)
    if tell is None:
        tell = _told_by_base(kind)
        check_instance(expression, within(expression))
    own = getattr(expression, "__dict__", {})
    if not (_OWN.isdisjoint(own) or tell in _TELL_OWN):
        raise Bail
    told = tell(expression, tell_part)
    return (kind, *told, _identity_of_type(own["output_field"])) if "output_field" in own else (kind, *told)


def within(expression: Any) -> Iterator[Any]:
    """*expression* and all expressions in it; conditions as they are."""
    yield expression
    for each in getattr(expression, "get_source_expressions", tuple)():
        if each is not None:
            yield from within(each)


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


def _told_by_name(kind: type) -> Tell | None:
    tell = _TOLD_BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}")
    if tell is not None:
        _TOLD[kind] = tell
    return tell


def _told_by_base(kind: type) -> Tell:
    """Return what tells instances of *kind*, a project's class of declarations, from others."""
    base = django_base(kind)
    tell = None if base is None else _TOLD.get(base) or _TOLD_OF_BASES.get(base)
    if tell is None or tell not in _INHERITED:
        raise Bail
    return tell


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


def _called(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    extra = expression.extra
    if not CONSTANTS.issuperset(map(type, extra.values())):
        raise Bail
    options = tuple((name, type(value), value) for name, value in sorted(extra.items()))
    return (options, *_sources(expression, tell_part))


def _of_datetime(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    zone = expression.tzinfo
    # Before Django 5.0 there is *is_dst*, with which another time zone library chooses the hour.
    if type(zone) not in _ZONES or getattr(expression, "is_dst", _NOT_PASSED) is not _NOT_PASSED:
        raise Bail
    # Trunc() is given its kind, Extract() what is looked up; the classes made of them have their own.
    named = getattr(expression, "kind", None), getattr(expression, "lookup_name", None)
    told = () if zone is None else (type(zone), str(zone), zone.utcoffset(None))
    return (*told, *named, *_function(expression, tell_part))


#: Types of time zones whose text, which is in the SQL, says all about them, or does so with their offset.
_ZONES = frozenset({type(None), ZoneInfo, dt.timezone})


def _key_of_json(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return (expression.key_name, *_function(expression, tell_part))


def _collated(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return (expression.collation, *_function(expression, tell_part))


def _order(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    nulls = expression.nulls_first, expression.nulls_last
    if any(each not in (None, True, False) for each in nulls):
        raise Bail
    return (expression.descending, *nulls, identity(expression.expression, tell_part))


def _with_text(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    """Tell a function of which all that is no column is a text for the server."""
    if expression.extra:
        raise Bail
    return tuple([_text(each, tell_part) for each in expression.source_expressions])


def _text(expression: Any, tell_part: TellPart) -> Any:
    if type(expression) is Value and "output_field" not in vars(expression):
        return (Value, tell_part(expression, typed=True))
    return identity(expression, tell_part)


def _search_query(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    # The kind of search is the name of the function in SQL.
    return (expression.function, bool(expression.invert), *_with_text(expression, tell_part))


def _search_vector(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    options = [_optional(each, tell_part) for each in (expression.config, expression.weight)]
    return (*options, *_function(expression, tell_part))


def _search_config(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return (identity(expression.config, tell_part),)


def _search_combined(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    # What a vector is compared with is searched for by its configuration.
    return (_optional(expression.config, tell_part), *_combined(expression, tell_part))


def _search_rank(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return (expression.function, *_function(expression, tell_part))


def _search_headline(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    if expression.options:  # they become SQL with a connection
        raise Bail
    return _function(expression, tell_part)


def _optional(expression: Any, tell_part: TellPart) -> Any:
    return None if expression is None else identity(expression, tell_part)


def _window(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    partition = expression.partition_by
    return (
        None if partition is None else tuple(_sources(partition, tell_part)),
        _optional(expression.order_by, tell_part),
        _optional(expression.frame, tell_part),
        identity(expression.source_expression, tell_part),
    )


def _frame(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    ends = expression.start.value, expression.end.value
    if not CONSTANTS.issuperset(map(type, ends)):
        raise Bail
    return (*ends, getattr(expression, "exclusion", None))


def _aggregate(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    if expression.extra:
        raise Bail
    given, default = expression.filter, expression.default
    if given is not None:
        given = identity(given.condition if type(given) is _AggregateFilter else given, tell_part)
    if hasattr(default, "resolve_expression"):
        default = identity(default, tell_part)
    elif type(default) not in CONSTANTS:
        raise Bail
    order = _optional(getattr(expression, "order_by", None), tell_part)
    return (expression.distinct, type(default), default, given, order, *_sources(expression, tell_part))


def _sampled(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    # Of a sample, or of all there is: it is the name of the function in SQL.
    return (expression.function, *_aggregate(expression, tell_part))


def _of_postgres(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    # Before Django 5.0, an empty result is another one if no default was given.
    return (vars(expression).get("_default_provided"), *_aggregate(expression, tell_part))


def _case(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    if expression.extra:
        raise Bail
    return tuple([identity(each, tell_part) for each in (*expression.cases, expression.default)])


def _when(expression: Any, tell_part: TellPart) -> tuple[Any, ...]:
    return identity(expression.condition, tell_part), identity(expression.result, tell_part)


#: Functions with parameters of their own: which part of a datetime is meant, and where.
OF_DATETIMES = frozenset(
    each
    for each in vars(functions).values()
    if isinstance(each, type) and issubclass(each, Extract | TruncBase)
)

#: A key of a JSON value, or the path to one, is a parameter of theirs.
KEYS_OF_JSON = frozenset({KeyTransform, KeyTextTransform})

#: What tells an expression from others of its class.
Tell = Callable[[Any, TellPart], tuple[Any, ...]]

#: Tellers which know what an instance has of its own.
_TELL_OWN: frozenset[Tell] = frozenset({_part, _sampled, _search_query, _search_rank})


def _there_is(module: Any, *names: str) -> list[Any]:
    # Of newer Djangos.
    return [getattr(module, name) for name in names if hasattr(module, name)]


#: Tellers that know classes which only declare more, too.
_INHERITED: frozenset[Tell] = frozenset({_called, _function, _aggregate})

#: Classes of Django's which are nothing until something is declared.
_TOLD_OF_BASES: dict[type, Tell] = {Aggregate: _aggregate, Transform: _called}

#: The expressions whose SQL, on PostgreSQL, depends on nothing but what these tell, and the time zone.
_TOLD: dict[type, Tell] = {
    F: _name,
    OuterRef: _name,
    **dict.fromkeys((Exists, Q, Subquery, Value), _part),
    Star: lambda expression, tell_part: (),
    Func: _called,
    CombinedExpression: _combined,
    **dict.fromkeys((ExpressionWrapper, NegatedExpression), _wrapped),
    Case: _case,
    When: _when,
    OrderBy: _order,
    Window: _window,
    **dict.fromkeys((RowRange, ValueRange), _frame),
    functions.Collate: _collated,
    **dict.fromkeys(KEYS_OF_JSON, _key_of_json),
    **dict.fromkeys(OF_DATETIMES, _of_datetime),
    **dict.fromkeys(
        (
            aggregates.Avg,
            aggregates.Count,
            aggregates.Max,
            aggregates.Min,
            aggregates.Sum,
            *_there_is(aggregates, "AnyValue", "BitAnd", "BitOr", "BitXor", "StringAgg"),
        ),
        _aggregate,
    ),
    **dict.fromkeys((aggregates.StdDev, aggregates.Variance), _sampled),
    **dict.fromkeys(
        (
            ConcatPair,
            OrderByList,
            *_there_is(aggregates, "AggregateOrderBy", "StringAggDelimiter"),
            functions.Abs,
            functions.ACos,
            functions.ASin,
            functions.ATan,
            functions.ATan2,
            functions.Cast,
            functions.Ceil,
            functions.Chr,
            functions.Coalesce,
            functions.Concat,
            functions.Cos,
            functions.Cot,
            functions.CumeDist,
            functions.Degrees,
            functions.DenseRank,
            functions.Exp,
            functions.FirstValue,
            functions.Floor,
            functions.Greatest,
            functions.JSONObject,
            functions.Lag,
            functions.LastValue,
            functions.Lead,
            functions.Least,
            functions.Left,
            functions.Length,
            functions.Ln,
            functions.Log,
            functions.Lower,
            functions.LPad,
            functions.LTrim,
            functions.MD5,
            functions.Mod,
            functions.Now,
            functions.NthValue,
            functions.Ntile,
            functions.NullIf,
            functions.Ord,
            functions.PercentRank,
            functions.Pi,
            functions.Power,
            functions.Radians,
            functions.Random,
            functions.Rank,
            functions.Repeat,
            functions.Replace,
            functions.Reverse,
            functions.Right,
            functions.Round,
            functions.RowNumber,
            functions.RPad,
            functions.RTrim,
            functions.SHA1,
            functions.SHA224,
            functions.SHA256,
            functions.SHA384,
            functions.SHA512,
            functions.Sign,
            functions.Sin,
            functions.Sqrt,
            functions.StrIndex,
            functions.Substr,
            functions.Tan,
            functions.Trim,
            functions.Upper,
            *_there_is(functions, "JSONArray"),
        ),
        _function,
    ),
}

_POSTGRES = "django.contrib.postgres"

#: Those of modules that are imported by projects that use them.
_TOLD_BY_NAME: dict[str, Tell] = {
    **{
        f"{_POSTGRES}.aggregates.general.{name}": _of_postgres
        for name in ("ArrayAgg", "BitAnd", "BitOr", "BitXor", "BoolAnd", "BoolOr", "JSONBAgg", "StringAgg")
    },
    **{f"{_POSTGRES}.functions.{name}": _function for name in ("RandomUUID", "TransactionNow")},
    **{
        f"{_POSTGRES}.search.{name}": tell
        for name, tell in {
            "CombinedSearchQuery": _search_combined,
            "CombinedSearchVector": _search_combined,
            "SearchConfig": _search_config,
            "SearchHeadline": _search_headline,
            "SearchQuery": _search_query,
            "SearchRank": _search_rank,
            "SearchVector": _search_vector,
            "TrigramDistance": _with_text,
            "TrigramSimilarity": _with_text,
            "TrigramStrictWordDistance": _with_text,
            "TrigramStrictWordSimilarity": _with_text,
            "TrigramWordDistance": _with_text,
            "TrigramWordSimilarity": _with_text,
        }.items()
    },
}
