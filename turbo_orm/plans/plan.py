"""A plan: the SQL of one shape and terminal, how values become its parameters, how rows load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from turbo_orm.conf import get_config
from turbo_orm.db.statements import Statement, known
from turbo_orm.plans.aggregates import Aggregation
from turbo_orm.plans.arguments import Arguments
from turbo_orm.plans.loaders import Loader
from turbo_orm.plans.prepare import PrepareAll
from turbo_orm.plans.shapes import Node, trie
from turbo_orm.plans.sqltext import SQLText
from turbo_orm.plans.updates import Update
from turbo_orm.plans.values import NoValues

__all__ = ["Bound", "Plan", "Terminal", "returning_of"]

#: Texts of statements that differ only in the lengths of lists or in limits, kept per plan.
_MAX_STATEMENTS = 100

#: What is executed where there are no rows, whatever is in the database.
_NOTHING = known(())
_COUNT_OF_NOTHING = known(((0,),))


class Bound(NamedTuple):
    """A plan with the values of one call."""

    plan: Plan
    statement: Statement
    #: The parameters of the statement, without the constants that are in its text.
    params: tuple[Any, ...]
    values: tuple[Any, ...]
    limits: tuple[int, int | None] | None
    alias: str
    writes: bool

    @property
    def marks_for_rollback(self) -> bool:
        """Whether Django has an error leave the block around it nothing but to roll back."""
        return self.writes

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL and parameters Django's own compiler would return."""
        sql, params = self.plan.bind_as_django(self.values)
        return sql + self.plan.limit_sql(self.limits), params


_new_bound: Callable[[type[Bound], tuple[Any, ...]], Bound] = tuple.__new__

#: The name of a method without arguments; or a method with the shape of its arguments.
Terminal: TypeAlias = "str | Update | Aggregation"


def returning_of(terminal: Terminal) -> tuple[str, ...]:
    """Return the names of the fields whose values *terminal*, an UPDATE, returns."""
    return terminal.returning if isinstance(terminal, Update) else ()


class Plan:
    """Immutable, apart from the statements it keeps; shared by all threads."""

    __slots__ = (
        "_limit_sql",
        "_limits",
        "_statements",
        "alias",
        "bind",
        "bind_as_django",
        "conditional",
        "ending",
        "epoch",
        "loader",
        "locks",
        "most_rows",
        "needed",
        "orderings",
        "prepare",
        "terminal",
        "text",
        "time_zone",
        "verified",
        "writes",
    )

    def __init__(self, terminal: Terminal, alias: str, node: Node) -> None:
        self.terminal = terminal
        self.alias = alias
        self.writes = isinstance(terminal, Update) or terminal in ("delete", "_raw_delete")
        self.epoch = trie.epoch
        #: Tests, and applications, replace ``Meta.ordering``: of the models in the query, as it was.
        self.orderings: tuple[tuple[Any, Any], ...] = ()
        #: It has a ``FOR UPDATE``, which Django refuses outside of transactions.
        self.locks = False
        #: What comes after the limits of a slice.
        self.ending = ""
        #: How many rows of a slice the terminal asks for; None for all.
        self.most_rows: int | None = None
        #: Of which values none may be empty: they are the values of an ``IN`` that all rows are to meet.
        #: None where there are no rows, whatever the values.
        self.needed: tuple[int, ...] | None = ()
        #: What the SQL depends on besides its values; None for nothing.
        self.time_zone: tuple[bool, str] | None = None
        #: `is_current()` alone does not tell that it can be used.
        self.conditional = True
        #: Each use is compared with what Django would execute. (The setting moves the epoch.)
        self.verified = get_config().verify_plans
        self.loader: Loader | None = None
        #: From the terminal's values to what Django stores of them; None if that is the same.
        self.prepare: PrepareAll | None = None
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
            statement.locks = self.locks
            if self.loader is not None:
                statement.late = self.loader.late
            self._statements[key] = statement
        return _new_bound(Bound, (self, statement, params, values, limits, self.alias, self.writes))

    def bound_to_nothing(
        self, error: Exception, values: tuple[Any, ...], limits: tuple[int, int | None] | None
    ) -> Bound | None:
        """Return what has no rows, in the place of the statement that *error* says can't be bound.

        None where only Django can say what comes of *values*.
        """
        if not isinstance(error, NoValues) or (
            self.needed is not None
            and all(any(value is not None for value in values[index]) for index in self.needed)
        ):
            return None
        statement = _COUNT_OF_NOTHING if self.terminal == "count" else _NOTHING
        return _new_bound(Bound, (self, statement, (), values, limits, self.alias, self.writes))

    def stored(self, arguments: Arguments) -> tuple[Any, ...]:
        """Return the values of *arguments*, the terminal's, as Django stores them. Raises as `bound()`."""
        values = tuple(arguments.values)
        return values if self.prepare is None else self.prepare(values)

    def limit_sql(self, limits: tuple[int, int | None] | None) -> str:
        if limits is None:
            return ""
        text = self._limits.get(limits)
        if text is None:
            if len(self._limits) >= _MAX_STATEMENTS:
                self._limits.clear()
            low, high = limits
            if self.most_rows is not None:
                end = low + self.most_rows
                high = end if high is None else min(high, end)
            text = self._limits[limits] = f" {self._limit_sql(low, high)}{self.ending}"
        return text

    @property
    def name(self) -> str:
        """The name of the terminal's method."""
        return self.terminal if isinstance(self.terminal, str) else self.terminal.method

    def is_current(self) -> bool:
        """Whether Django would compile the same SQL now."""
        if self.epoch != trie.epoch:
            return False
        for meta, ordering in self.orderings:  # noqa: SIM110 - a generator would cost more than it
            if meta.ordering is not ordering:
                return False
        return True
