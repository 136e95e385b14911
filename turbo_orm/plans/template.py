"""Run Django's own query building with parameters in place of values.

A template is a real queryset over a `TemplateQuery`, whose ``filter()`` was given `Param`
objects. Django's checks see the values inside them; the lookups it builds hold `Slot` objects.
When a template is compiled, a `Recording` notes where each slot's values land among the
parameters of the SQL.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.db.models import Count, lookups
from django.db.models.expressions import Col, CombinedExpression, Exists, OrderBy, Star, Value
from django.db.models.fields import related_lookups
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import WhereNode
from django.utils.hashable import make_hashable
from typing_extensions import Self

from turbo_orm.plans.connections import Captured
from turbo_orm.plans.unsupported import Unsupported

__all__ = [
    "TOKEN",
    "Assigned",
    "Const",
    "Group",
    "Marker",
    "Param",
    "Recording",
    "Slot",
    "TemplateQuery",
    "instrument",
]


class Param:
    """A value on its way through `QuerySet.filter()` into a template."""

    __slots__ = ("bad", "found", "index", "prepared", "value")

    def __init__(self, index: int, value: Any) -> None:
        self.index = index
        self.value = value
        #: What the lookup made of it.
        self.prepared: Any = None
        #: The lookups (class, left-hand side) Django built with it.
        self.found: list[tuple[type, Any]] = []
        #: Why no parameter can stand for it.
        self.bad: str | None = None


class Slot:
    """Stands for the right-hand side of a lookup in a template."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"<slot {self.index}>"


class TemplateQuery(Query):
    """A `Query` that takes `Param` objects for values."""

    _param: Param | None = None

    def resolve_lookup_value(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        self._param = None
        if not isinstance(value, Param):
            return super().resolve_lookup_value(value, *args, **kwargs)
        resolved = super().resolve_lookup_value(value.value, *args, **kwargs)
        self._param = value
        return resolved

    def build_filter(self, *args: Any, **kwargs: Any) -> Any:
        self._param = None  # left behind where Django gave up a join that goes to many rows
        try:
            return super().build_filter(*args, **kwargs)
        finally:
            self._param = None  # templates live long, the values they were made with must not

    def build_lookup(self, lookups: Sequence[str], lhs: Any, rhs: Any) -> Any:
        param, self._param = self._param, None
        lookup: Any = super().build_lookup(lookups, lhs, rhs)
        if param is None or lookup is None:
            return lookup
        param.bad = param.bad or _why_not(lookup)
        if param.bad is None:
            param.found.append((type(lookup), lookup.lhs))
            param.prepared = lookup.rhs
            lookup.rhs = Slot(param.index)
            # Expressions remember what they were made of; values must not live as long as templates.
            lookup._constructor_args = ((lookup.lhs, lookup.rhs), {})
        return lookup


def _why_not(lookup: Any) -> str | None:
    rhs = lookup.rhs
    if rhs is None or isinstance(rhs, bool):
        return "it becomes part of the SQL"
    if hasattr(rhs, "as_sql") or hasattr(rhs, "resolve_expression"):
        return "it becomes an expression"
    if getattr(lookup, "bilateral_transforms", None):
        return "a transform applies to it"
    if type(lookup.lhs).__name__ in {"ColPairs", "MultiColSource"}:
        return "it stands for several columns"
    if lookup.lookup_name == "isnull":
        return "it is part of IS NULL"
    return None


class Marker:
    """Among compiled parameters: part *part* of what *group*'s value becomes."""

    __slots__ = ("group", "part")

    def __init__(self, group: Group, part: int) -> None:
        self.group = group
        self.part = part

    def key(self) -> tuple[Any, ...]:
        return ("slot", self.group.slot.index, self.part)


class Const:
    """Among compiled parameters: a constant of Django's own making."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    # Django leaves out what is in ORDER BY or GROUP BY already, with the same parameters.

    def __eq__(self, other: object) -> bool:
        return type(other) is Const and bool(make_hashable(self.value) == make_hashable(other.value))

    def __hash__(self) -> int:
        return hash(make_hashable(self.value))

    def key(self) -> tuple[Any, ...]:
        return ("constant", type(self.value), self.value)


class Group:
    """One lookup with a slot, compiled: its SQL and how many parameters come from the slot."""

    __slots__ = ("assigned", "expands", "lhs_params", "lookup", "parts", "slot", "sql")

    def __init__(self, slot: Slot, lookup: Any, lhs_params: int, sql: str) -> None:
        self.slot = slot
        #: The lookup; its right-hand side is set anew for each use.
        self.lookup = lookup
        self.lhs_params = lhs_params
        self.sql = sql
        self.parts = 1
        #: It is an ``IN`` with one placeholder per value.
        self.expands = False
        #: Of a value that is no lookup's.
        self.assigned: Assigned | None = None


class Assigned:
    """Stands for a value in `QuerySet.update()` of a template: an expression that is a parameter."""

    contains_aggregate = False
    contains_over_clause = False

    def __init__(self, index: int, name: str, kind: type) -> None:
        self.slot = Slot(index)
        #: The field it is assigned to.
        self.name = name
        #: The type of the value, exactly.
        self.kind = kind

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Assigned:
        return self

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        assert Recording.current is not None
        group = Group(self.slot, None, 0, "%s")
        group.assigned = self
        Recording.current.groups.append(group)
        return "%s", [Marker(group, 0)]


#: Where the parentheses of the group of that number go.
TOKEN = re.compile("\x00(\\d+)\x00")


class Recording:
    """What is found while one template is compiled for values of the given samples."""

    current: Recording | None = None

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = samples
        self.groups: list[Group] = []
        #: Something was compiled that may depend on the time zone or the language.
        self.ambient = False

    def __enter__(self) -> Self:
        self._outer, Recording.current = Recording.current, self
        return self

    def __exit__(self, *exc_info: object) -> None:
        Recording.current = self._outer


#: What compiles to the same SQL in every time zone and language.
_PLAIN = {
    Col,
    Assigned,
    CombinedExpression,
    Value,
    WhereNode,
    BaseTable,
    Join,
    OrderBy,
    Count,
    Star,
    Exists,
    Query,
    TemplateQuery,
    related_lookups.RelatedExact,
    related_lookups.RelatedIn,
    related_lookups.RelatedIsNull,
    *(
        each
        for each in vars(lookups).values()
        if isinstance(each, type)
        and issubclass(each, lookups.Lookup)
        and not issubclass(each, lookups.YearLookup)
    ),
}

_IN = (lookups.In, related_lookups.RelatedIn)


@cache
def instrument(compiler_class: Any) -> Any:
    """Return a subclass of *compiler_class* which records, and executes nothing."""

    def execute_sql(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise Captured(self)

    def compile_node(self: Any, node: Any) -> Any:
        recording = Recording.current
        if recording is None:
            return compiler_class.compile(self, node)
        if type(node) not in _PLAIN:
            recording.ambient = True
        if isinstance(node, lookups.Lookup):
            if type(node.rhs) is Slot:
                return _compile_slot(recording, self, node, lambda each: compiler_class.compile(self, each))
            if node.rhs is None or node.rhs is True or node.rhs is False:
                _demand_trust(node)
                sql, params = compiler_class.compile(self, node)
                return sql, [each if type(each) in (Const, Marker) else Const(each) for each in params]
        sql, params = compiler_class.compile(self, node)
        if type(node) is Value and type(node.value) in (int, str, bool):
            return sql, [Const(each) for each in params]
        return sql, params

    def instrumented(self: Any) -> Any:
        return compiler_class

    return type(
        compiler_class.__name__,
        (compiler_class,),
        {
            "__module__": __name__,
            "execute_sql": execute_sql,
            "compile": compile_node,
            "instrumented": instrumented,
        },
    )


def _demand_trust(node: Any) -> None:
    if not _trusted(node):
        raise Unsupported("it has a lookup or expression that is not Django's own")


def _trusted(node: Any) -> bool:
    if isinstance(node, Query):
        return True  # its own compiler vets what is in it
    if not type(node).__module__.startswith("django."):
        return False
    inner = [node.lhs] if isinstance(node, lookups.Lookup) else node.get_source_expressions()
    return all(_trusted(each) for each in inner if each is not None)


def _compile_slot(
    recording: Recording,
    compiler: Any,
    node: Any,
    compile_plainly: Callable[[Any], tuple[str, Sequence[Any]]],
) -> tuple[str, list[Any]]:
    slot: Slot = node.rhs
    _demand_trust(node)
    lookup = copy.copy(node)
    lookup.rhs = recording.samples[slot.index]
    sql, params = compile_plainly(lookup)
    # A lookup on the year compares the column with the year's bounds.
    lhs = (lookup.lhs.lhs,) if isinstance(lookup, lookups.YearLookup) else ()
    _, lhs_params = lookup.process_lhs(compiler, compiler.connection, *lhs)
    if not _same(params[: len(lhs_params)], lhs_params):
        raise Unsupported("the parameters of its left side do not come first")
    count = len(lhs_params)
    group = Group(slot, lookup, count, sql)
    constants = [each if type(each) in (Const, Marker) else Const(each) for each in params[:count]]
    recording.groups.append(group)
    if isinstance(lookup, _IN):
        if compiler.connection.ops.max_in_list_size():
            raise Unsupported("the database bounds the length of IN")
        values = "(" + ", ".join(["%s"] * (len(params) - count)) + ")"
        if not sql.endswith(f" IN {values}"):
            raise Unsupported("its IN has an unknown form")
        group.expands = True
        return f"{sql[: -len(values)]}\x00{len(recording.groups) - 1}\x00", [*constants, Marker(group, 0)]
    group.parts = len(params) - count
    if group.parts < 1:
        raise Unsupported("a value is not a parameter of the SQL")
    return sql, [*constants, *(Marker(group, part) for part in range(group.parts))]


def _same(params: Sequence[Any], others: Sequence[Any]) -> bool:
    def key(each: Any) -> Any:
        return each.key() if type(each) in (Const, Marker) else each

    return [*map(key, params)] == [*map(key, others)]
