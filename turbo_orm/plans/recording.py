"""What is found while Django compiles a template: where values land among the parameters of the SQL.

The compilers of `instrument()` note it in the `Recording` that is entered.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import DatabaseError
from django.db.models import Aggregate, Count, lookups
from django.db.models.expressions import Col, CombinedExpression, Exists, OrderBy, Star, Subquery, Value
from django.db.models.fields import related_lookups
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import WhereNode
from django.utils.hashable import make_hashable
from typing_extensions import Self

from turbo_orm.plans.arrays import compares_arrays, elements_of
from turbo_orm.plans.connections import Captured, raise_returning
from turbo_orm.plans.declared import is_declared_function
from turbo_orm.plans.expressions import KEYS_OF_JSON, OF_DATETIMES, within
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import Bail

TupleIn: Any
try:
    from django.db.models.fields.tuple_lookups import TupleIn
except ImportError:  # before Django 5.2
    TupleIn = None

__all__ = [
    "TOKEN",
    "ArraySlot",
    "Assigned",
    "Const",
    "Group",
    "LateSlot",
    "ListForm",
    "Marker",
    "Recording",
    "Slot",
    "TemplateValue",
    "TupleIn",
    "instrument",
    "stands_for_several",
]


class Slot:
    """Stands for the right-hand side of a lookup in a template."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"<slot {self.index}>"


class ArraySlot(Slot):
    """Stands for the ``ARRAY[...]`` that Django makes of a list."""

    __slots__ = ()


class LateSlot(Slot):
    """A slot whose value is stored as it was given, and not as the lookup prepares it."""

    __slots__ = ("given", "prepared")

    def __init__(self, index: int, given: Any, prepared: Any) -> None:
        super().__init__(index)
        #: The sample, and what the lookup made of it.
        self.given, self.prepared = given, prepared


class Marker:
    """Among compiled parameters: part *part* of what *group*'s value becomes."""

    __slots__ = ("group", "part")

    def __init__(self, group: Group, part: int) -> None:
        self.group = group
        self.part = part

    # As of constants: the same value is the same parameter.

    def __eq__(self, other: object) -> bool:
        return type(other) is Marker and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

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


class ListForm(NamedTuple):
    """How a list of values is written in SQL."""

    before: str
    #: What stands for one of them.
    item: str
    after: str

    def of(self, length: int) -> str:
        """Return a list of that many."""
        return f"{self.before}{', '.join([self.item] * length)}{self.after}"


_IN_FORM = ListForm("(", "%s", ")")

#: `TupleIn` compares with tuples of one.
_TUPLES_FORM = ListForm("(", "(%s)", ")")

_ARRAY_FORM = ListForm("(ARRAY[", "%s", "])")


class Group:
    """One lookup with a slot, compiled: its SQL and how many parameters come from the slot."""

    __slots__ = ("lhs_params", "list_form", "lookup", "parts", "slot", "sql", "value")

    def __init__(self, slot: Slot, lookup: Any, lhs_params: int, sql: str) -> None:
        self.slot = slot
        #: The lookup; its right-hand side is set anew for each use.
        self.lookup = lookup
        self.lhs_params = lhs_params
        self.sql = sql
        self.parts = 1
        #: How its values are written if it has one placeholder for each, as an ``IN``; else None.
        self.list_form: ListForm | None = None
        #: Of a value that is no lookup's: the expression it stands in.
        self.value: Any = None


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
        return "%s", [_mark(self.slot, self)]


class TemplateValue(Value):
    """A `Value` in a template. Its value is a sample, whose type is that of all it stands for."""

    #: `values_list()` names an expression by its class.
    default_alias = "value"

    def __init__(self, slot: Slot, sample: Any, output_field: Any = None) -> None:
        super().__init__(sample, output_field=output_field)
        self.slot = slot

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Compile, see Django."""
        sql, _ = super().as_sql(compiler, connection)
        if sql != "%s":
            raise Unsupported("the field of a value has its own placeholder")
        return sql, [_mark(self.slot, self)]

    def as_param(self, value: Any, compiler: Any) -> Any:
        """Return the parameter that *value* becomes. Raises `Bail` where it becomes anything else."""
        twin = copy.copy(self)
        twin.value = value
        sql, params = Value.as_sql(twin, compiler, compiler.connection)
        if sql != "%s":
            raise Bail
        return params[0]


def _mark(slot: Slot, value: Any) -> Marker:
    """Record a parameter that is *value*'s; return what stands for it among the others."""
    assert Recording.current is not None
    group = Group(slot, None, 0, "%s")
    group.value = value
    Recording.current.groups.append(group)
    return Marker(group, 0)


#: Where the parentheses of the group of that number go.
TOKEN = re.compile("\x00(\\d+)\x00")


class Recording:
    """What is found while one template is compiled for values of the given samples."""

    current: Recording | None = None

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = [*samples]
        self.groups: list[Group] = []
        #: All queries in the statement: subqueries too.
        self.queries: list[Any] = []
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
    TemplateValue,
    Value,
    WhereNode,
    BaseTable,
    Join,
    OrderBy,
    Count,
    Star,
    Exists,
    Subquery,
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


class _Instrumented(SQLCompiler):
    """Records what a compiler does, and executes nothing."""

    #: The compiler's class.
    _plain: type[SQLCompiler]

    def __init__(self, query: Any, *args: Any, **kwargs: Any) -> None:
        if Recording.current is not None:
            Recording.current.queries.append(query)
        super().__init__(query, *args, **kwargs)

    def execute_sql(self, *args: Any, **kwargs: Any) -> Any:
        raise Captured(self)

    execute_returning_sql = raise_returning

    def compile(self, node: Any) -> Any:
        recording = Recording.current
        if recording is None:
            return super().compile(node)
        if type(node) not in _PLAIN and not isinstance(node, Query):
            recording.ambient = True
        if isinstance(node, lookups.Lookup):
            _demand_trust(node)
            in_tuples = type(node) is TupleIn and type(node.rhs) is Slot and len(node.lhs) == 1
            if stands_for_several(node.lhs) and not in_tuples:
                raise Unsupported("it compares several columns at once")
            if isinstance(node.rhs, Slot):
                return _compile_slot(recording, self, node, super().compile)
        sql: Any
        params: Sequence[Any]
        sql, params = super().compile(node)
        if _has_constants(node):
            return sql, [each if isinstance(each, Const | Marker) else Const(each) for each in params]
        return sql, params

    # Here Django leaves out what is there already, with the same values.

    def get_group_by(self, select: Any, order_by: Any) -> Any:
        found = super().get_group_by(select, order_by)
        if self.query.group_by is not None:
            # Of what is not in WHERE, Django may group by all that is in an array.
            conditions = getattr(self, "having", None)
            grouped = [*(each for each, *_ in (*select, *order_by)), *filter(None, [conditions])]
            if any(map(_compares_array, grouped)):
                raise Unsupported("it may group by what is in an array")
        if found:
            grouped = [expression for expression, _, _ in select if not expression.contains_aggregate]
            if isinstance(self.query.group_by, tuple):
                grouped += self.query.group_by
            with_slots = {slots for each in grouped if (slots := _slots_in(each))}
            if len(with_slots) > 1 or sum(_has_markers(params) for _, params in found) > 1:
                raise Unsupported("what it groups by may be the same with some values")
        return found

    def get_order_by(self) -> Any:
        try:
            found: Any = super().get_order_by()
        except DatabaseError:
            raise Unsupported("what a union is ordered by is not in its rows, but for some values") from None
        parts: Any = self.ordering_parts
        compiled = [(parts.search(sql)[1], params) for _, (sql, params, is_ref) in found if not is_ref]
        texts = [sql for sql, _ in compiled]
        with_values = [sql for sql, params in compiled if _has_markers(params)]
        if with_values and (self.query.distinct or any(texts.count(sql) > 1 for sql in with_values)):
            raise Unsupported("what it is ordered by may be the same with some values")
        for _, (sql, params), _ in self.select or ():  # of these it would have the position
            if sql in with_values or (_has_markers(params) and sql in texts):
                raise Unsupported("what it is ordered by may be selected with some values")
        return found

    def instrumented(self) -> type[SQLCompiler]:
        """Return the class that compiles as this does, and records nothing."""
        return self._plain


@cache
def instrument(compiler_class: Any) -> Any:
    """Return a subclass of *compiler_class* which records, and executes nothing."""
    name = compiler_class.__name__
    return type(name, (_Instrumented, compiler_class), {"__module__": __name__, "_plain": compiler_class})


def _slots_in(expression: Any) -> frozenset[int]:
    slots = [getattr(each, "slot", getattr(each, "rhs", None)) for each in within(expression)]
    return frozenset(slot.index for slot in slots if isinstance(slot, Slot))


def _compares_array(expression: Any) -> bool:
    """Whether *expression* compares with an array, but for what is in aggregates."""
    if isinstance(expression, Aggregate):
        return False
    if type(getattr(expression, "rhs", None)) is ArraySlot:
        return True
    inside: Any = getattr(expression, "get_source_expressions", tuple)()
    return any(_compares_array(each) for each in inside if each is not None)


def _has_markers(params: Sequence[Any]) -> bool:
    return any(type(each) is Marker for each in params)


def stands_for_several(lhs: Any) -> bool:
    """Whether *lhs*, of a lookup, is several columns: of a composite key, or of a relation."""
    return type(lhs).__name__ in {"ColPairs", "MultiColSource"}


def _has_constants(node: Any) -> bool:
    """Whether parameters of *node* which are not those of what is in it are the same for all values."""
    if isinstance(node, lookups.Lookup):
        return node.rhs is None or node.rhs is True or node.rhs is False
    if type(node) is Value:
        return type(node.value) in (int, str, bool)
    return type(node) in _WITH_CONSTANTS


#: Expressions with parameters of their own, which are part of their shapes.
_WITH_CONSTANTS = OF_DATETIMES | KEYS_OF_JSON


def _demand_trust(node: Any) -> None:
    if not _trusted(node):
        raise Unsupported("it has a lookup or expression that is not Django's own")


def _trusted(node: Any) -> bool:
    if isinstance(node, Query):
        return True  # its own compiler vets what is in it
    if not (
        isinstance(node, TemplateValue)
        or type(node).__module__.startswith("django.")
        or is_declared_function(type(node))
    ):
        return False
    inner: Sequence[Any]
    if isinstance(node, lookups.Lookup):
        inner = node.lhs, node.rhs
    else:
        inner = getattr(node, "get_source_expressions", tuple)()
    return all(_trusted(each) for each in inner if hasattr(each, "resolve_expression"))


def _compile_slot(
    recording: Recording,
    compiler: Any,
    node: Any,
    compile_plainly: Callable[[Any], tuple[str, Sequence[Any]]],
) -> tuple[str, list[Any]]:
    slot: Slot = node.rhs
    sample = slot.prepared if isinstance(slot, LateSlot) else recording.samples[slot.index]
    lookup = _with_sample(node, sample)
    try:
        sql, params = compile_plainly(lookup)
    except (EmptyResultSet, FullResultSet):
        raise Unsupported("with this value a condition is always true, or never") from None
    # A lookup on the year compares the column with the year's bounds.
    lhs = (lookup.lhs.lhs,) if isinstance(lookup, lookups.YearLookup) else ()
    _, lhs_params = lookup.process_lhs(compiler, compiler.connection, *lhs)
    if not _same(params[: len(lhs_params)], lhs_params):
        raise Unsupported("the parameters of its left side do not come first")
    count = len(lhs_params)
    group = Group(slot, lookup, count, sql)
    constants = [each if type(each) in (Const, Marker) else Const(each) for each in params[:count]]
    recording.groups.append(group)
    form = _list_form(lookup)
    if form is not None:
        if compiler.connection.ops.max_in_list_size():
            raise Unsupported("the database bounds the length of IN")
        before, found, after = sql.rpartition(f" {form.of(len(params) - count)}")
        if not found or (after and form is not _ARRAY_FORM):
            raise Unsupported("its values have an unknown form")
        group.list_form = form
        return f"{before} \x00{len(recording.groups) - 1}\x00{after}", [*constants, Marker(group, 0)]
    group.parts = len(params) - count
    if group.parts < 1:
        raise Unsupported("a value is not a parameter of the SQL")
    return sql, [*constants, *(Marker(group, part) for part in range(group.parts))]


def _with_sample(node: Any, sample: Any) -> Any:
    """Return a copy of the lookup *node*, which compares with *sample*."""
    if compares_arrays(type(node)) and isinstance(sample, list):
        return type(node)(node.lhs, sample)
    lookup = copy.copy(node)
    lookup.rhs = [(each,) for each in sample] if type(lookup) is TupleIn else sample
    return lookup


def _list_form(lookup: Any) -> ListForm | None:
    """Return how *lookup* writes its values if it has one placeholder for each of them."""
    if elements_of(lookup) is not None:
        return _ARRAY_FORM
    if type(lookup) is TupleIn:
        return _TUPLES_FORM
    return _IN_FORM if isinstance(lookup, _IN) else None


def _same(params: Sequence[Any], others: Sequence[Any]) -> bool:
    def key(each: Any) -> Any:
        return each.key() if type(each) in (Const, Marker) else each

    return [*map(key, params)] == [*map(key, others)]
