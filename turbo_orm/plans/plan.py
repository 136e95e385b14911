"""A plan: the SQL of one shape and terminal, how values become its parameters, how rows load."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db.models.fields.related import ForeignObject
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.sql.compiler import SQLDeleteCompiler
from django.utils import timezone, translation

from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.db.statements import Statement
from turbo_orm.plans.capture import capture
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.functions import make_function
from turbo_orm.plans.loaders import Loader, row_loader
from turbo_orm.plans.prepare import Binding, at_bind
from turbo_orm.plans.shapes import LOCK, Node, trie
from turbo_orm.plans.sqltext import SQLText
from turbo_orm.plans.template import TOKEN, Const, Group, Marker, Recording, instrument
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.updates import Update, assignment

__all__ = ["Bound", "Plan", "Terminal", "plan_for"]

#: The terminals whose rows become the queryset's own objects.
_LOADING = frozenset({"list", "get", "first", "last"})

#: Terminals, aliases and time zones per shape: arithmetic in ``update()`` may have any constants.
_MAX_PLANS = 60

#: Texts of statements that differ only in the lengths of lists or in limits, kept per plan.
_MAX_STATEMENTS = 100


class Bound(NamedTuple):
    """A plan with the values of one call."""

    plan: Plan
    statement: Statement
    #: The parameters of the statement, without the constants that are in its text.
    params: tuple[Any, ...]
    values: tuple[Any, ...]
    limits: tuple[int, int | None] | None
    alias: str
    #: It changes rows: after an error, the transaction it is in can only be rolled back.
    writes: bool

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL and parameters Django's own compiler would return."""
        sql, params = self.plan.bind_as_django(self.values)
        return sql + self.plan.limit_sql(self.limits), params


_new_bound: Callable[[type[Bound], tuple[Any, ...]], Bound] = tuple.__new__

Terminal: TypeAlias = "str | Update"

_NONE: Mapping[str, Any] = MappingProxyType({})


class Plan:
    """Immutable, apart from the statements it keeps; shared by all threads."""

    __slots__ = (
        "_limit_sql",
        "_limits",
        "_statements",
        "alias",
        "bind",
        "bind_as_django",
        "epoch",
        "loader",
        "orderings",
        "terminal",
        "text",
        "time_zone",
        "writes",
    )

    def __init__(self, terminal: Terminal, alias: str, node: Node) -> None:
        self.terminal = terminal
        self.alias = alias
        self.writes = isinstance(terminal, Update) or terminal == "delete"
        self.epoch = trie.epoch
        #: Tests, and applications, replace ``Meta.ordering``: of the models in the query, as it was.
        self.orderings: tuple[tuple[Any, Any], ...] = ()
        #: What the SQL depends on besides its values; None for nothing.
        self.time_zone: tuple[bool, str] | None = None
        self.loader: Loader | None = None
        self._statements: dict[Any, Statement] = {}
        self._limits: dict[Any, str] = {}

    #: values -> the parameters of the statement, and the lengths of its lists.
    bind: Callable[[tuple[Any, ...]], tuple[tuple[Any, ...], Any]]
    #: values -> SQL and parameters as Django has them.
    bind_as_django: Callable[[tuple[Any, ...]], tuple[str, tuple[Any, ...]]]
    text: SQLText
    _limit_sql: Callable[[int, int | None], str]

    def bound(self, values: tuple[Any, ...], limits: tuple[int, int | None] | None) -> Bound:
        """Return the statement and its parameters for *values*.

        Raises anything, among others `Bail`, if they can't be bound: Django's path then does
        what is right.
        """
        params, lengths = self.bind(values)
        key = lengths if limits is None else (lengths, limits)
        statement = self._statements.get(key)
        if statement is None:
            if len(self._statements) >= _MAX_STATEMENTS:
                self._statements.clear()
            statement = self.text.statement(lengths, self.limit_sql(limits))
            self._statements[key] = statement
        return _new_bound(Bound, (self, statement, params, values, limits, self.alias, self.writes))

    def limit_sql(self, limits: tuple[int, int | None] | None) -> str:
        if limits is None:
            return ""
        text = self._limits.get(limits)
        if text is None:
            if len(self._limits) >= _MAX_STATEMENTS:
                self._limits.clear()
            text = self._limits[limits] = " " + self._limit_sql(*limits)
        return text

    @property
    def name(self) -> str:
        """The name of the terminal's method."""
        return "update" if isinstance(self.terminal, Update) else self.terminal

    def is_current(self) -> bool:
        """Whether Django would compile the same SQL now."""
        if self.epoch != trie.epoch:
            return False
        for meta, ordering in self.orderings:  # noqa: SIM110 - a generator would cost more than it
            if meta.ordering is not ordering:
                return False
        return True


def plan_for(
    node: Node,
    terminal: Terminal,
    alias: str,
    values: tuple[Any, ...],
    expressions: Mapping[str, Any] = _NONE,
) -> Plan | None:
    """Return the plan of *terminal* on *node* for the database *alias*, making it at need.

    None where there can't be one. *values* serve as samples; *expressions* are those in an
    `Update`, by name.
    """
    key = (terminal, alias)
    found = node.plans.get(key)
    if found is None:
        if node.parent is None and not trie.at_once:
            # There is a template always; it is the terminal that was not seen.
            _keep(node, key, _SEEN)
            return None
        found = _make(node, key, values, expressions)
    elif found is _SEEN or (type(found) is _Refused and found.try_again()):
        found = _make(node, key, values, expressions)
    if type(found) is not Plan:
        return None
    if not found.is_current():
        node.plans.clear()
        found = _make(node, key, values, expressions)
    elif found.time_zone is not None and found.time_zone != (now := _time_zone()):
        key = (terminal, alias, now)  # type: ignore[assignment]
        found = node.plans.get(key)
        if found is None or (type(found) is Plan and not found.is_current()):
            found = _make(node, key, values, expressions)
    return found if type(found) is Plan else None


_SEEN = object()


class _Refused:
    """Kept in the place of a plan that can't be, for now or for good."""

    __slots__ = ("_left", "_wait", "epoch", "why")

    def __init__(self, why: str, wait: int | None) -> None:
        self.why = why
        self.epoch = trie.epoch
        #: After so many uses it is tried again, with other values: None for never.
        self._wait = self._left = wait

    @property
    def next_wait(self) -> int | None:
        return None if self._wait is None else self._wait * 4

    def try_again(self) -> bool:
        if self.epoch != trie.epoch:
            return True
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0


class _NotYet(Exception):
    """There is no plan now, for a reason that passes."""


def _make(
    node: Node, key: tuple[Any, ...], values: tuple[Any, ...], expressions: Mapping[str, Any]
) -> Plan | _Refused | None:
    made: Plan | _Refused
    before = node.plans.get(key)
    # One odd value, such as a number no row can have, must not spoil the shape for all others.
    wait = (before.next_wait if type(before) is _Refused else 2) if values else None
    try:
        with LOCK:
            made = _Compilation(node, key[0], key[1], values, expressions).plan()
    except _NotYet:
        return None
    except Unsupported as exc:
        made = _Refused(str(exc), wait)
    except Exception as exc:  # Django fails too: let it, in its own words, each time
        made = _Refused(f"Django raises {exc!r}", wait)
    _keep(node, key, made)
    return made


def _keep(node: Node, key: tuple[Any, ...], plan: Any) -> None:
    if len(node.plans) >= _MAX_PLANS and key not in node.plans:
        node.plans.clear()
    node.plans[key] = plan


class _Compilation:
    """Makes one plan."""

    def __init__(
        self,
        node: Node,
        terminal: Terminal,
        alias: str,
        values: tuple[Any, ...],
        expressions: Mapping[str, Any],
    ) -> None:
        self._node = node
        self._alias = alias
        self._values = values
        self._terminal = terminal
        self._name = "update" if isinstance(terminal, Update) else terminal
        self._arguments = (
            terminal.arguments(node.slots, expressions) if isinstance(terminal, Update) else None
        )

    def plan(self) -> Plan:
        """Raises `Unsupported`, `_NotYet`, and whatever Django raises."""
        node = self._node
        if node.sliced and self._name != "list":
            raise Unsupported(f"{self._name}() of a slice")
        connection: Any = compiling_connection(self._alias, instrument)
        if connection is None:
            raise _NotYet
        plan = Plan(self._terminal, self._alias, node)
        with connections_replaced({self._alias: connection}), Recording(self._values) as recording:
            compiler = self._capture()
            if self._name == "delete" and not isinstance(compiler, SQLDeleteCompiler):
                raise Unsupported("it deletes other rows too")
            sql, params = self._as_sql(compiler)
            _check_query(compiler.query, self._name)  # now that it has all its joins
            plan.orderings = tuple(
                {
                    model._meta: (model._meta, model._meta.ordering) for model in _models_in(compiler.query)
                }.values()
            )
            _check_params(params, len(self._values))
            if recording.ambient:
                plan.time_zone = self._dependence(sql, params)
            _write_binders(plan, sql, params, recording.groups, compiler)
            if self._name in _LOADING:
                plan.loader = row_loader(compiler, node.iterable, node.fields)
        for group in recording.groups:
            if group.lookup is not None:
                group.lookup.rhs = None  # a user's value must not live as long as the plan
        plan._limit_sql = connection.ops.limit_offset_sql
        return plan

    def _capture(self) -> Any:
        return capture(self._node.template, self._name, self._alias, self._arguments)

    def _as_sql(self, compiler: Any) -> tuple[str, Sequence[Any]]:
        try:
            # The limits of a slice are no part of its shape.
            sql, params = compiler.as_sql(with_limits=False) if self._node.sliced else compiler.as_sql()
        except EmptyResultSet:
            raise Unsupported("it has no rows, whatever the values") from None
        return sql, [Const(None) if param is None else param for param in params]

    def _dependence(self, sql: str, params: Sequence[Any]) -> tuple[bool, str] | None:
        """Compile again under another language and time zone; return the latter if it matters."""
        expected = sql, [param.key() for param in params]
        now = _time_zone()

        def again() -> tuple[str, list[Any]]:
            with Recording(self._values):
                sql, params = self._as_sql(self._capture())
            return sql, [param.key() if type(param) in (Const, Marker) else param for param in params]

        with translation.override(_OTHER_LANGUAGE):
            if again() != expected:
                raise Unsupported("it depends on the language")
        with timezone.override(_OTHER_TIME_ZONE):
            return None if again() == expected else now


def _models_in(query: Any) -> Iterator[Any]:
    """The model of *query*, and those it joins, whose ``Meta.ordering`` may be part of the SQL."""
    yield query.model
    for join in query.alias_map.values():
        field = getattr(join, "join_field", None)
        if field is not None and isinstance(field.related_model, type):
            yield field.related_model


def _check_query(query: Any, terminal: str) -> None:
    if getattr(query, "related_updates", None):
        raise Unsupported("it updates several tables")
    if query.combinator or query.select_for_update:
        raise Unsupported("it has a combinator or select_for_update()")
    for join in query.alias_map.values():
        field = getattr(join, "join_field", None)
        for each in (field, getattr(field, "field", None)):
            restriction = getattr(type(each), "get_extra_restriction", None)
            if restriction not in _OWN_RESTRICTIONS:
                raise Unsupported("a relation restricts its joins")


_OWN_RESTRICTIONS = (None, ForeignObject.get_extra_restriction, ForeignObjectRel.get_extra_restriction)


def _check_params(params: Sequence[Any], slots: int) -> None:
    if any(type(param) not in (Const, Marker) for param in params):
        raise Unsupported("a parameter has an origin that is not known")
    found = {param.group.slot.index for param in params if type(param) is Marker}
    if found != set(range(slots)):
        raise Unsupported("a value was not found among the parameters")


def _time_zone() -> tuple[bool, str]:
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
        value = f"v[{param.group.slot.index}]"
        if number not in names:
            binding = _binding(param.group, compiler)
            names[number] = value
            if binding.prepare is not None:
                namespace[f"P{number}"] = binding.prepare
                names[number] = f"P{number}({value})"
            if binding.many:
                first.append(f" g{number} = {names[number]}")
                names[number] = f"g{number}"
        expression = names[number]
        if param.group.expands:
            expression = f"*{expression}"
        elif param.group.parts > 1:
            expression = f"{expression}[{param.part}]"
        dynamic.append(expression)
        everything.append(expression)
    plan.text = text = SQLText(sql, params, TOKEN)
    lengths = f"({''.join(f'len(g{number}), ' for number in text.lists)})" if text.lists else "None"
    namespace["as_django"] = text.as_django
    body = "".join(f"{line}\n" for line in first)
    bind = f"def bind(v):\n{body} return {_tuple(dynamic)}, {lengths}\n"
    bind_as_django = f"def bind(v):\n{body} return as_django({lengths}), {_tuple(everything)}\n"
    plan.bind = make_function("bind", bind, dict(namespace))
    plan.bind_as_django = make_function("bind", bind_as_django, dict(namespace))


def _binding(group: Group, compiler: Any) -> Binding:
    assigned = group.assigned
    if assigned is None:
        return at_bind(group, compiler)
    field = compiler.query.get_meta().get_field(assigned.name)
    return Binding(assignment(field, compiler.connection, assigned.kind))


def _tuple(parts: Sequence[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
