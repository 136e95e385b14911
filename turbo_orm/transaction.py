"""`atomic` blocks and `on_commit` for async code.

https://docs.djangoproject.com/en/stable/topics/db/transactions/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from psycopg import IsolationLevel
from typing_extensions import ParamSpec

from turbo_orm.bridge.greenlets import current_bridge, drive
from turbo_orm.bridge.interruptions import is_interruption, writes_lost
from turbo_orm.bridge.nested_blocks import NestedBlock, PartOfBlock, Savepoint
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import Entered, Scope, inherited_scope, open_scope
from turbo_orm.bridge.wire_blocks import WireBlock
from turbo_orm.bridge.wrapper import awaiting
from turbo_orm.retry import is_worth_retrying, pause_before

__all__ = ["Atomic", "IsolationLevel", "atomic", "on_commit"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Options:
    using: str = DEFAULT_DB_ALIAS
    savepoint: bool = True
    durable: bool = False
    isolation_level: IsolationLevel | None = None
    read_only: bool | None = None
    deferrable: bool | None = None
    retry: int = 0
    #: Of these, what only a transaction has, and a savepoint inherits.
    characteristics: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("isolation_level", "read_only", "deferrable")}
        characteristics = {name: value for name, value in given.items() if value is not None}
        object.__setattr__(self, "characteristics", characteristics)

    def new_block(self) -> transaction.Atomic:
        """Return Django's own block."""
        return transaction.Atomic(self.using, self.savepoint, self.durable)


#: Of `atomic()` as it mostly is called.
_DEFAULT = _Options()
_NO_CHARACTERISTICS = (None, None, None)


class Atomic:
    """An async context manager and decorator around Django's own `Atomic`; see `atomic()`."""

    def __init__(self, options: _Options) -> None:
        self._options = options
        #: One object may be entered again inside itself, and by several tasks at once.
        self._entries: list[_Entry] = []

    def __repr__(self) -> str:
        given = [
            f"{each.name}={value!r}"
            for each in fields(_Options)
            if each.repr and (value := getattr(self._options, each.name)) != each.default
        ]
        return f"atomic({', '.join(given)})"

    async def __aenter__(self) -> None:
        if self._options.retry:
            raise TypeError(
                "A block can't be run a second time, so `async with atomic(retry=...)` is not "
                "possible. Put the block into a function and decorate it: @atomic(retry=...)."
            )
        loop = asyncio.get_running_loop()
        scope = Scope(loop) if inherited_scope() is None else await open_scope(loop)
        options = self._options
        on_wire: WireBlock | NestedBlock | None = None
        djangos: transaction.Atomic | None = None
        replaced: dict[str, Any] = {}
        try:
            if not options.characteristics:
                on_wire = await WireBlock.begin(scope, options.using, options.new_block)
                if on_wire is None and not options.durable:
                    if options.savepoint:
                        on_wire = await Savepoint.begin(scope, options.using, options.new_block)
                    else:
                        on_wire = PartOfBlock.begin(scope, options.using, options.new_block)
            if on_wire is None:
                djangos = options.new_block()
                await drive(scope, _enter, (djangos, options, replaced))
        except BaseException as exc:
            if djangos is not None:
                _see_to_end(scope, djangos, replaced, exc)
            await scope.close()
            raise
        entered = Entered(scope)
        entered.__enter__()
        self._entries.append(_Entry(scope, on_wire, djangos, replaced, entered, asyncio.current_task()))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entry = self._pop_entry()
        scope, on_wire = entry.scope, entry.on_wire
        try:
            if exc_type is GeneratorExit:
                # The coroutine is being destroyed: nothing can be awaited, so no ROLLBACK
                # can be sent. Closing the connection makes the server roll back.
                scope.destroy()
                if entry.djangos is not None and exc is not None:
                    _see_to_end(scope, entry.djangos, entry.replaced, exc)
                return
            if on_wire is not None and not on_wire.declared and scope.take_last():
                await on_wire.end(exc)
                return
            last, cancelled = await scope.open_last()
            if cancelled is not None and exc is None:
                exc_type, exc = type(cancelled), cancelled
            try:
                if on_wire is not None and not on_wire.declared:
                    await on_wire.end(exc)
                else:
                    await drive(last, _leave, (entry.block(), entry.replaced, (exc_type, exc, traceback)))
            except BaseException as failure:
                if entry.djangos is not None:
                    _see_to_end(scope, entry.djangos, entry.replaced, failure)
                raise
            finally:
                last.end()
            if cancelled is not None:
                raise cancelled
        finally:
            entry.entered.__exit__(None, None, None)
            await scope.close()

    def _pop_entry(self) -> _Entry:
        # Where there is no loop, the coroutine of one that was closed is being destroyed.
        loop = asyncio._get_running_loop()
        task = None if loop is None else asyncio.current_task(loop)
        for index in range(len(self._entries) - 1, -1, -1):
            if self._entries[index].task is task:
                return self._entries.pop(index)
        # A block may be left by another task than entered it, as async generators are.
        return self._entries.pop()

    def __call__(self, fn: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        if not iscoroutinefunction(fn):
            raise TypeError(
                f"turbo_orm.atomic decorates async functions, and {fn!r} is not one. "
                "For sync functions use django.db.transaction.atomic."
            )
        once = replace(self._options, retry=0)

        async def attempt(*args: P.args, **kwargs: P.kwargs) -> T:
            async with Atomic(once):
                return await fn(*args, **kwargs)

        if not self._options.retry:
            return wraps(fn)(attempt)

        @wraps(fn)
        async def until_it_succeeds(*args: P.args, **kwargs: P.kwargs) -> T:
            # Inside another block only that block as a whole could be run again.
            nested = await run_sync(_in_block, once.using)
            for failures in range(0 if nested else self._options.retry):
                try:
                    return await attempt(*args, **kwargs)
                except Exception as exc:
                    if not is_worth_retrying(exc):
                        raise
                await pause_before(failures + 1)
            return await attempt(*args, **kwargs)

        return until_it_succeeds


@dataclass(slots=True)
class _Entry:
    scope: Scope
    on_wire: WireBlock | NestedBlock | None
    #: Django's block, unless there is *on_wire*, which has its own.
    djangos: transaction.Atomic | None
    #: Of the connection, what the block has its own characteristics in the place of.
    replaced: Mapping[str, Any]
    entered: Entered
    task: asyncio.Task[Any] | None

    def block(self) -> transaction.Atomic:
        if self.djangos is not None:
            return self.djangos
        assert self.on_wire is not None
        return self.on_wire.block


def _in_block(using: str) -> bool:
    return bool(connections[using].in_atomic_block)


def _enter(block: transaction.Atomic, options: _Options, replaced: dict[str, Any]) -> None:
    connection = connections[options.using]
    characteristics = options.characteristics
    if characteristics and connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            f"{', '.join(characteristics)} can only be given to the outermost atomic block: a "
            "savepoint has the characteristics of its transaction. Add durable=True to be told "
            "of nested blocks in one place, or give the outer block these options."
        )
    block.__enter__()
    try:
        # psycopg puts them into the BEGIN that goes with the first statement.
        for name, value in characteristics.items():
            replaced[name] = getattr(connection.connection, name)
            setattr(connection.connection, name, value)
    except BaseException as exc:
        block.__exit__(type(exc), exc, exc.__traceback__)
        raise


def _see_to_end(
    scope: Scope, block: transaction.Atomic, replaced: Mapping[str, Any], exc: BaseException
) -> None:
    """Leave *block*, if its sync code is not for the bridge and *exc* came between.

    A block which a cancelled task leaves behind would take the end of the block around it for its own.
    """
    if scope.runs is not None:
        scope.runs.queue(_leave_if_entered, block, replaced, exc)


def _leave_if_entered(block: transaction.Atomic, replaced: Mapping[str, Any], exc: BaseException) -> None:
    # By now its begin or end has been executed, or never will be.
    if any(each is block for each in transaction.get_connection(block.using).atomic_blocks):
        _leave(block, replaced, (type(exc), exc, exc.__traceback__))


def _leave(block: transaction.Atomic, replaced: Mapping[str, Any], exc_info: Any) -> None:
    connection: Any = transaction.get_connection(block.using)
    leased, broken = connection.connection, connection.needs_rollback
    cut_by: BaseException | None = getattr(connection, "cut_by", None) if broken else None
    has_savepoint = any(connection.savepoint_ids[-1:])
    try:
        block.__exit__(*exc_info)
    finally:
        # It could not be rolled back alone: the block around is lost.
        spoils = connection.needs_rollback and (has_savepoint or not (broken or block.savepoint))
        if spoils and is_interruption(exc_info[1]):
            connection.cut_by = exc_info[1]
        if connection.connection is leased and leased is not None and not leased.closed:
            for name, value in replaced.items():
                setattr(leased, name, value)
    if cut_by is not None and exc_info[0] is None:
        raise writes_lost() from cut_by


@overload
def atomic(using: Callable[P, Awaitable[T]], /) -> Callable[P, Awaitable[T]]: ...
@overload
def atomic(
    using: str | None = None,
    savepoint: bool = True,
    durable: bool = False,
    *,
    isolation_level: IsolationLevel | str | None = None,
    read_only: bool | None = None,
    deferrable: bool | None = None,
    retry: int = 0,
) -> Atomic: ...
def atomic(
    using: Any = None,
    savepoint: bool = True,
    durable: bool = False,
    *,
    isolation_level: IsolationLevel | str | None = None,
    read_only: bool | None = None,
    deferrable: bool | None = None,
    retry: int = 0,
) -> Any:
    """Guarantee the atomic execution of an async block or function.

    ``async with atomic():``, ``@atomic`` and ``@atomic(using="other")`` work as Django's do:
    the outermost block is a transaction, inner ones are savepoints unless *savepoint* is
    False, and *durable* demands to be the outermost one. All queries inside, also those of
    tasks started inside, run on the block's connection one after another.

    *isolation_level* (a `psycopg.IsolationLevel` or its name, as ``"serializable"``),
    *read_only* and *deferrable* are the transaction's characteristics, for outermost blocks
    (https://www.postgresql.org/docs/current/sql-set-transaction.html). A decorator with
    *retry* runs its function again, up to that many more times and with growing random pauses,
    when PostgreSQL reports a serialization failure or a deadlock (40001, 40P01).

    Raises what Django's `atomic` raises: `RuntimeError` for a nested durable block,
    `TransactionManagementError` for queries in a broken block, and for characteristics of a
    nested one.
    """
    if callable(using):
        decorated: Any = using
        return Atomic(_Options(savepoint=savepoint, durable=durable))(decorated)
    characteristics = (isolation_level, read_only, deferrable)
    if using is None and savepoint and not durable and not retry and characteristics == _NO_CHARACTERISTICS:
        return Atomic(_DEFAULT)
    return Atomic(
        _Options(
            using=using or DEFAULT_DB_ALIAS,
            savepoint=savepoint,
            durable=durable,
            isolation_level=_isolation_level(isolation_level),
            read_only=read_only,
            deferrable=deferrable,
            retry=retry,
        )
    )


def _isolation_level(given: IsolationLevel | str | None) -> IsolationLevel | None:
    if not isinstance(given, str):
        return given
    try:
        return IsolationLevel[given.strip().upper().replace(" ", "_")]
    except KeyError:
        names = ", ".join(repr(level.name.lower().replace("_", " ")) for level in IsolationLevel)
        raise ValueError(f"There is no isolation level {given!r}. It is one of {names}.") from None


async def on_commit(func: Callable[[], object], using: str | None = None, robust: bool = False) -> None:
    """Call *func* when the current transaction commits, or now if there is none.

    *func* takes no arguments and may be an async function: it is awaited then, and its
    queries run on the same connection, after the commit. *robust* has an error in it logged
    instead of raised. It is dropped if the transaction (or its savepoint) is rolled back.
    """
    await run_sync(_on_commit, func, using, robust)


def _on_commit(func: Callable[[], Any], using: str | None, robust: bool) -> None:
    if current_bridge() is None and callable(func):  # in the block of a sync connection
        func = awaiting(func)
    transaction.on_commit(func, using=using, robust=robust)
