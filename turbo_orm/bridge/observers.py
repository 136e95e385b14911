"""Who is told of each statement of async code when it has been executed: ``TURBO_ORM["OBSERVERS"]``.

Django's own instrumentation wraps executions by cursors. This only looks on, so that statements stay on
the wire.
https://docs.djangoproject.com/en/stable/topics/db/instrumentation/
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import psycopg
from django.db.backends.utils import CursorWrapper
from typing_extensions import Self

from turbo_orm.conf import get_observers
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result

__all__ = [
    "ExecutedStatement",
    "Observation",
    "ObservedCursor",
    "observation_of",
    "observed",
    "observed_together",
]

logger = logging.getLogger("turbo_orm")


class ExecutedStatement(NamedTuple):
    """What the functions of ``TURBO_ORM["OBSERVERS"]`` are told of a statement."""

    #: The database.
    alias: str
    #: With Django's placeholders, ``%s``.
    sql: str
    #: As the driver was given them; None or empty if there are none.
    params: Any
    #: Nanoseconds since the epoch, see `time.time_ns()`. What was sent together has them in common.
    start_time: int
    end_time: int
    #: How many rows it returned or changed; -1 if there is no such number.
    rowcount: int
    #: What it failed with, psycopg's error or what interrupted it; None if it did not.
    error: BaseException | None
    #: It did not pass Django's cursors: nothing that instruments these has seen it.
    on_wire: bool


class Observation:
    """A context manager around one execution; at its end the observers are told."""

    __slots__ = ("_alias", "_on_wire", "_params", "_sql", "_start", "is_moot", "rowcount")

    def __init__(self, alias: str, sql: str, params: Any = None, *, on_wire: bool = False) -> None:
        self._alias = alias
        self._sql = sql
        self._params = params
        self._on_wire = on_wire
        self.rowcount = -1
        #: Nobody is told: it is executed in another way again.
        self.is_moot = False

    def __enter__(self) -> Self:
        self._start = time_ns()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What is destroyed ends in a context that has nothing to do with it.
        if not self.is_moot and exc_type is not GeneratorExit:
            rowcount = self.rowcount if exc is None else -1
            self.tell(self._start, time_ns(), rowcount, exc)

    def tell(self, start: int, end: int, rowcount: int, error: BaseException | None) -> None:
        """Tell the observers of an execution."""
        if error is not None and isinstance(error.__cause__, psycopg.Error):
            error = error.__cause__  # else it is Django's
        executed = ExecutedStatement(
            self._alias, self._sql, self._params, start, end, rowcount, error, self._on_wire
        )
        for observer in get_observers():
            try:
                observer(executed)
            except Exception:
                logger.exception("The observer %r failed, of %s", observer, self._sql)


def observation_of(alias: str, sql: str, params: Any = None) -> AbstractContextManager[Observation | None]:
    """Return an `Observation` if there are observers."""
    return Observation(alias, sql, params) if get_observers() else nullcontext()


class _Sent(Protocol):
    @property
    def statement(self) -> Statement: ...
    @property
    def params(self) -> tuple[Any, ...]: ...


def observed(
    alias: str, statement: Statement, params: Sequence[Any], executing: Coroutine[Any, Any, Result]
) -> Coroutine[Any, Any, Result]:
    """Return *executing*, which executes *statement* on the wire; observers are told, if there are any."""
    return _observed(alias, statement, params, executing) if get_observers() else executing


async def _observed(
    alias: str, statement: Statement, params: Sequence[Any], executing: Coroutine[Any, Any, Result]
) -> Result:
    with Observation(alias, statement.sql, params, on_wire=True) as seen:
        try:
            result = await executing
        except Exception as exc:
            seen.is_moot = statement.is_left_by(exc)
            raise
        seen.rowcount = result.rowcount
    return result


async def observed_together(
    alias: str, sent: Sequence[_Sent], executing: Coroutine[Any, Any, list[Result | Exception]]
) -> list[Result | Exception]:
    """Await *executing*, which executes on the wire what is *sent*; tell the observers of each statement."""
    if not get_observers():
        return await executing
    start = time_ns()
    answers = await executing
    end = time_ns()
    for each, answer in zip(sent, answers, strict=True):
        seen = Observation(alias, each.statement.sql, each.params, on_wire=True)
        if isinstance(answer, Result):
            seen.tell(start, end, answer.rowcount, None)
        elif not each.statement.is_left_by(answer):
            seen.tell(start, end, -1, answer)
    return answers


if TYPE_CHECKING:

    class _Cursor(CursorWrapper):
        def _execute(self, sql: Any, params: Any, *context: Any) -> Any: ...
        def _executemany(self, sql: Any, param_list: Any, *context: Any) -> Any: ...

else:
    _Cursor = object


class ObservedCursor(_Cursor):
    """Mixed into the cursors Django has for sync code in the bridge."""

    def _execute(self, sql: Any, params: Any, *context: Any) -> Any:
        with Observation(self.db.alias, sql, params) as seen:
            result = super()._execute(sql, params, *context)
            seen.rowcount = self.cursor.rowcount
        return result

    def _executemany(self, sql: Any, param_list: Any, *context: Any) -> Any:
        with Observation(self.db.alias, sql, param_list) as seen:
            result = super()._executemany(sql, param_list, *context)
            seen.rowcount = self.cursor.rowcount
        return result
