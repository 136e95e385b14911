"""How a plan is made: Django compiles a shape's template, whose parameters are traced back to values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import EmptyResultSet, FieldDoesNotExist
from django.db.models import DecimalField, IntegerField
from django.db.models.fields.related import ForeignObject
from django.db.models.fields.related_lookups import RelatedIn
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.lookups import In
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLDeleteCompiler
from django.db.models.sql.where import AND, WhereNode
from django.utils import timezone, translation

from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.plans.aggregates import aggregate_loader
from turbo_orm.plans.capture import capture_terminal
from turbo_orm.plans.connections import compiling_connection, take_for_update
from turbo_orm.plans.loaders import row_loader
from turbo_orm.plans.plan import Plan, Terminal, returning_of
from turbo_orm.plans.prepare import Binding, PrepareAll, at_bind, at_filter, prepare_all
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.recording import (
    TOKEN,
    Const,
    Group,
    LateSlot,
    Marker,
    Recording,
    Slot,
    TemplateValue,
    instrument,
)
from turbo_orm.plans.saving import fitting
from turbo_orm.plans.shapes import Node
from turbo_orm.plans.sqltext import SQLText
from turbo_orm.plans.template import Param
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.updates import assignment, returned_loader
from turbo_orm.plans.values import NoValues

__all__ = ["NotYet", "compile_plan", "time_zone"]

#: The limits of slices' templates, which no other number in their SQL is.
_LOW, _HIGH = 7_093_751_209, 19_237_004_161

#: The terminals whose rows become the queryset's own objects.
_LOADING = frozenset({"list", "get", "first", "last"})


#: The terminals whose answer is known where no row can be; but `update()` looks at what is to be stored.
_READING = frozenset({*_LOADING, "count", "exists"})


class NotYet(Exception):
    """There is no plan now, for a reason that passes."""


def compile_plan(node: Node, terminal: Terminal, alias: str, values: tuple[Any, ...]) -> Plan:
    """Make the plan of *terminal* on *node* for the database *alias*.

    *values* serve as samples: those of *node*, and those of the terminal. Raises `Unsupported` where
    there can't be a plan, `NotYet` where there is none now, and whatever Django raises.
    """
    return _Compilation(node, terminal, alias, values).plan()


class _Compilation:
    """Makes one plan."""

    def __init__(self, node: Node, terminal: Terminal, alias: str, values: tuple[Any, ...]) -> None:
        self._node = node
        self._alias = alias
        self._values = values
        self._terminal = terminal
        self._name: str = terminal if isinstance(terminal, str) else terminal.method
        #: What prepares the values of the terminal.
        self._prepare: PrepareAll | None = None

    def plan(self) -> Plan:
        """Raises `Unsupported`, `NotYet`, and whatever Django raises."""
        node = self._node
        connection: Any = compiling_connection(self._alias, instrument)
        if connection is None:
            raise NotYet
        plan = Plan(self._terminal, self._alias, node)
        with connections_replaced({self._alias: connection}), Recording(self._values) as recording:
            compiler = self._capture(recording)
            take_for_update(connection)  # of a compilation that failed
            try:
                sql, params = self._as_sql(compiler)
            except EmptyResultSet:
                return self._plan_without_rows(plan, compiler)
            for_update = take_for_update(connection)
            plan.locks = for_update is not None
            for query in recording.queries:
                _check_query(query)  # now that it has all its joins
            # These two look at whether there is an ordering, besides.
            plan.orderings = _orderings_of(recording.queries, named=self._name not in ("first", "last"))
            _check_params(params)
            if recording.ambient:
                plan.time_zone = self._dependence(sql, params)
            if node.sliced:
                sql = _take_limits(plan, sql, compiler)
            _write_binders(plan, sql, params, recording.groups, compiler)
            if self._name in _READING or self._name == "update":
                plan.needed = _needed_by_all(compiler.query)
            if self._name in _LOADING:
                plan.loader = self._row_loader(compiler)
            elif self._name == "aggregate":
                plan.loader = aggregate_loader(compiler)
            elif returning_of(self._terminal):
                plan.loader = returned_loader(compiler)
        plan.prepare = self._prepare
        _forget_values(recording.groups)
        plan._limit_sql = connection.ops.limit_offset_sql
        plan.conditional = plan.time_zone is not None or plan.locks
        return plan

    def _row_loader(self, compiler: Any) -> Any:
        return row_loader(compiler, self._node.iterable, self._node.fields)

    def _plan_without_rows(self, plan: Plan, compiler: Any) -> Plan:
        """Raises `Unsupported` where there may be rows with other values, and for other terminals."""
        may_have_rows = self._values and not self._node.template.query.is_empty()
        if self._name not in _READING or may_have_rows:
            raise Unsupported("it has no rows, whatever the database")
        plan.bind, plan.needed = _bind_nothing, None
        if self._name in _LOADING:
            plan.loader = self._row_loader(compiler)
        plan.conditional = False
        return plan

    def _capture(self, recording: Recording) -> Any:
        """Have Django make the query, and *recording* the values of the terminal as they are stored."""
        template, terminal, before = self._node.template, self._terminal, self._node.slots
        if self._node.sliced:
            template = template[_LOW:_HIGH]
        if isinstance(terminal, str):
            compiler = capture_terminal(template, terminal, self._alias)
            if terminal == "delete" and not isinstance(compiler, SQLDeleteCompiler):
                raise Unsupported("it deletes other rows too")
            return compiler
        params = [Param(before + index, value) for index, value in enumerate(self._values[before:])]
        arguments = terminal.arguments(iter(params), type(template.query))
        compiler = capture_terminal(template, self._name, self._alias, arguments, returning_of(terminal))
        self._prepare, stored = prepare_all(params)
        recording.samples[before:] = stored
        return compiler

    def _as_sql(self, compiler: Any) -> tuple[str, Sequence[Any]]:
        columns = compiler.query.select
        sql, params = compiler.as_sql()
        if compiler.query.combinator and compiler.query.select != columns:
            raise Unsupported("the order of a union adds a column to its rows")
        return sql, [Const(None) if param is None else param for param in params]

    def _dependence(self, sql: str, params: Sequence[Any]) -> tuple[bool, str] | None:
        """Compile again under another language and time zone; return the latter if it matters."""
        expected = sql, [param.key() for param in params]
        now = time_zone()

        def again() -> tuple[str, list[Any]]:
            with Recording(self._values) as recording:
                sql, params = self._as_sql(self._capture(recording))
            return sql, [param.key() if type(param) in (Const, Marker) else param for param in params]

        with translation.override(_OTHER_LANGUAGE):
            if again() != expected:
                raise Unsupported("it depends on the language")
        with timezone.override(_OTHER_TIME_ZONE):
            return None if again() == expected else now


def _bind_nothing(values: tuple[Any, ...]) -> NoReturn:
    raise NoValues


def _needed_by_all(query: Any) -> tuple[int, ...]:
    # The condition of a union is that of its first part.
    return () if query.combinator else tuple(_needed_by(query.where))


def _needed_by(where: Any) -> Iterator[int]:
    """Yield the values without which no row meets *where*: those of each ``IN`` that all rows are to meet."""
    if where.connector != AND or where.negated:
        return
    for child in where.children:
        if isinstance(child, WhereNode):
            yield from _needed_by(child)
        elif type(child) in _IN and type(child.rhs) is Slot and not _after_rows(child):
            yield child.rhs.index


_IN = (In, RelatedIn)


def _after_rows(lookup: Any) -> bool:
    """Whether *lookup* compares what is made of several rows."""
    return bool(lookup.contains_aggregate or lookup.contains_over_clause)


def _forget_values(groups: Iterable[Group]) -> None:
    """A user's value must not live as long as the plan."""
    for group in groups:
        if group.lookup is not None:
            group.lookup.rhs = None
        if isinstance(group.slot, LateSlot):
            group.slot.given = group.slot.prepared = None


def _orderings_of(queries: Iterable[Any], *, named: bool) -> tuple[tuple[Any, Any], ...]:
    """Return the options of the models whose ``Meta.ordering`` may be part of the SQL, and these.

    *named* says that it is not where the query names what it is ordered by.
    """
    models = [
        model
        for query in queries
        if not isinstance(query, UpdateQuery) and _takes_ordering(query, named=named)
        for model in _models_in(query)
    ]
    return tuple({model._meta: (model._meta, model._meta.ordering) for model in models}.values())


def _takes_ordering(query: Any, *, named: bool) -> bool:
    """Whether a ``Meta.ordering`` may be part of *query*, which has no other query in it."""
    if named and query.order_by and not query.extra_order_by:
        return not all(_is_column(query, name) for name in query.order_by)
    return bool(query.default_ordering or query.order_by or query.extra_order_by)


def _is_column(query: Any, name: Any) -> bool:
    """Whether to order *query* by *name* is to order by a column: relations have orderings of their own."""
    if type(name) is not str:
        return False
    name = name.removeprefix("-")
    try:
        return name == "pk" or not query.get_meta().get_field(name).is_relation
    except FieldDoesNotExist:
        return False


def _models_in(query: Any) -> Iterator[Any]:
    """The model of *query*, and those it joins, whose ``Meta.ordering`` may be part of the SQL."""
    yield query.model
    for join in query.alias_map.values():
        field = getattr(join, "join_field", None)
        if field is not None and isinstance(field.related_model, type):
            yield field.related_model


def _take_limits(plan: Plan, sql: str, compiler: Any) -> str:
    """Return *sql* up to the limits of the slice; let *plan* have the rest.

    They are no part of the shape.
    """
    query = compiler.query
    if query.low_mark == _LOW:
        low, high = query.low_mark, query.high_mark
        if high != _HIGH:
            plan.most_rows = high - low
    else:  # of a query in its FROM
        low, high = _LOW, _HIGH
    before, *rest = sql.split(f" {compiler.connection.ops.limit_offset_sql(low, high)}")
    if len(rest) != 1 or "%" in rest[0]:
        raise Unsupported("it is not known where its limits go")
    plan.ending = rest[0]
    return before


def _check_query(query: Any) -> None:
    if getattr(query, "related_updates", None):
        raise Unsupported("it updates several tables")
    for join in query.alias_map.values():
        field = getattr(join, "join_field", None)
        for each in (field, getattr(field, "field", None)):
            restriction = getattr(type(each), "get_extra_restriction", None)
            if restriction not in _OWN_RESTRICTIONS:
                raise Unsupported("a relation restricts its joins")


_OWN_RESTRICTIONS = (None, ForeignObject.get_extra_restriction, ForeignObjectRel.get_extra_restriction)


def _check_params(params: Sequence[Any]) -> None:
    if any(type(param) not in (Const, Marker) for param in params):
        raise Unsupported("a parameter has an origin that is not known")


def time_zone() -> tuple[bool, str]:
    """Return the time zone that queries are compiled in now."""
    return settings.USE_TZ, timezone.get_current_timezone_name()


_OTHER_TIME_ZONE = dt.timezone(dt.timedelta(hours=5, minutes=17), "turbo")
_OTHER_LANGUAGE = "eo"


def _write_binders(
    plan: Plan, sql: str, params: Sequence[Any], groups: Sequence[Group], compiler: Any
) -> None:
    """Generate ``bind`` and ``bind_as_django``."""
    namespace: dict[str, Any] = {}
    first: list[str] = []
    names: dict[int, str] = {}
    dynamic: list[str] = []
    everything: list[str] = []
    for position, param in enumerate(params):
        if type(param) is Const:
            namespace[f"C{position}"] = param.value
            everything.append(f"C{position}")
            continue
        number = groups.index(param.group)
        if number not in names:
            names[number] = _written(number, param.group, _binding(param.group, compiler), namespace, first)
        expression = names[number]
        if param.group.list_form is not None:
            expression = f"*{expression}"
        elif param.group.parts > 1:
            expression = f"{expression}[{param.part}]"
        dynamic.append(expression)
        everything.append(expression)
    forms = {
        number: form for number, form in enumerate(each.list_form for each in groups) if form is not None
    }
    plan.text = text = SQLText(sql, params, TOKEN, forms)
    if not names.keys() >= {*text.lists}:
        raise Unsupported("what is in its text and its parameters were compiled one after the other")
    lengths = f"({''.join(f'len(g{number}), ' for number in text.lists)})" if text.lists else "None"
    namespace["as_django"] = text.as_django
    body = "".join(f"{line}\n" for line in first)
    bind = f"def bind(v):\n{body} return {_tuple(dynamic)}, {lengths}\n"
    bind_as_django = f"def bind(v):\n{body} return as_django({lengths}), {_tuple(everything)}\n"
    plan.bind = make_function("bind", bind, dict(namespace))
    plan.bind_as_django = make_function("bind", bind_as_django, dict(namespace))


def _written(number: int, group: Group, binding: Binding, namespace: dict[str, Any], first: list[str]) -> str:
    """Return the source of the parameters of *group*, with its names in *namespace*; *first* comes before."""
    value = source = f"v[{group.slot.index}]"
    if binding.prepare is not None:
        namespace[f"P{number}"] = binding.prepare
        source = f"P{number}({value})"
    if binding.condition is not None:
        namespace[f"Q{number}"] = binding.otherwise
        source = f"({source} if {binding.condition.format(value)} else Q{number}({value}))"
    if binding.many:
        first.append(f" g{number} = {source}")
        source = f"g{number}"
    return source


def _binding(group: Group, compiler: Any) -> Binding:
    value = group.value
    if isinstance(group.slot, LateSlot):
        lookup = group.lookup
        prepare = at_filter(type(lookup), lookup.lhs, group.slot.given, negated=False)
        return at_bind(group, compiler).after(prepare)
    if value is None:
        return at_bind(group, compiler)
    if isinstance(value, TemplateValue):
        return _binding_of_value(value, compiler)
    field = compiler.query.get_meta().get_field(value.name)
    return assignment(field, compiler.connection, value.kind)


def _binding_of_value(value: Any, compiler: Any) -> Binding:
    """Return what makes a value like that of *value*, a `TemplateValue`, into its parameter."""

    def thorough(given: Any) -> Any:
        return fitting(value.as_param(given, compiler))

    field, kind = value._output_field_or_none, type(value.value)
    if (type(field), kind) in _STORED_AS_COMPARED:
        binding = assignment(field, compiler.connection, kind)
        if binding.condition is not None:
            return binding._replace(otherwise=thorough)
    return Binding(thorough)


#: Fields and types of values which become the same parameters wherever they stand.
_STORED_AS_COMPARED = {(IntegerField, int), (DecimalField, Decimal)}


def _tuple(parts: Sequence[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
