"""Execute planned statements: on the wire where nobody watches, else with Django's cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol, TypeAlias

from django.db import DatabaseError, connections, transaction
from psycopg import AsyncConnection

from turbo_orm.bridge.databases import open_pool_of
from turbo_orm.bridge.greenlets import await_only
from turbo_orm.bridge.observers import observed, observed_together
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import Scope, active_scope, inherited_scope, open_scope
from turbo_orm.bridge.straight import (
    django_errors,
    goes_straight,
    is_guarded,
    is_watched,
    take_later,
    take_now,
    take_ready,
)
from turbo_orm.bridge.wire_blocks import WireBlock
from turbo_orm.bridge.wrapper import BridgedWrapper
from turbo_orm.conf import MultiplexOptions, get_config
from turbo_orm.db.arrays import OtherEncoding
from turbo_orm.db.leases import abandon, give_back, put_idle_again
from turbo_orm.db.multiplex import Multiplexer
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result, Wire

__all__ = [
    "Collect",
    "Work",
    "collecting",
    "connected_wrapper",
    "run",
    "run_in_bridge",
    "run_on_wire_in_bridge",
    "run_together",
]


class Work(Protocol):
    """A statement with its parameters, to be executed on a database."""

    @property
    def alias(self) -> str: ...
    @property
    def statement(self) -> Statement: ...
    @property
    def params(self) -> tuple[Any, ...]: ...
    @property
    def writes(self) -> bool:
        """It changes rows."""
        ...

    @property
    def marks_for_rollback(self) -> bool:
        """Django has an error leave the surrounding block with nothing to do but roll back."""
        ...

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        """Return what a cursor takes."""
        ...


def run(work: Work) -> Awaitable[Result]:
    """Execute *work*, in the running task's transaction if it has one. To be awaited at once.

    Raises Django's database errors.
    """
    if (collect := _collector.get()) is not None and (collected := collect(work)) is not None:
        return collected
    config, statement = get_config(), work.statement
    if config.wire and not statement.refused:
        loop = asyncio.get_running_loop()
        if inherited_scope() is not None and (scope := active_scope(loop)) is not None:
            return _run_in_scope(scope, work)
        if not statement.locks and goes_straight(work.alias):
            options = config.multiplex
            if options is not None and statement.proven and not work.writes:
                return _run_multiplexed(loop, work, options)
            return _run_pooled(loop, work)
    if statement.known is not None:
        return _known(statement.known)
    return run_sync(_run_with_cursor, work)


async def _known(rows: Sequence[tuple[Any, ...]]) -> Result:
    return Result([*rows], len(rows))


Collect: TypeAlias = "Callable[[Work], Awaitable[Result] | None]"

#: What statements of this context are handed to before they are executed; see `collecting()`.
_collector: ContextVar[Collect | None] = ContextVar("turbo_orm_collector", default=None)


@contextmanager
def collecting(collect: Collect | None) -> Iterator[None]:
    """Have what is started in this context hand its statements to *collect*, or to nobody.

    It returns what executes the statement, or None for those it leaves alone.
    """
    token = _collector.set(collect)
    try:
        yield
    finally:
        with suppress(ValueError):  # a destroyed coroutine ends in another context, which has none to reset
            _collector.reset(token)


async def run_together(alias: str, works: Sequence[Work]) -> list[Result | Exception]:
    """Execute *works*, all on *alias*, in one round trip where that is possible.

    Django's database errors stand in the place of results.
    """
    answers: Sequence[Result | Exception] | None = None
    if len(works) > 1 and get_config().wire and not any(work.statement.refused for work in works):
        loop = asyncio.get_running_loop()
        if active_scope(loop) is not None:
            answers = await _run_together_in_scope(loop, alias, works)
        elif not any(work.statement.locks for work in works) and goes_straight(alias):
            answers = await _run_together_pooled(loop, alias, works)
    if answers is None:
        return [await _result_or_error(work) for work in works]
    return [
        await _result_or_error(work)
        if isinstance(answer, Exception) and work.statement.is_left_by(answer)
        else _as_djangos(answer)
        for work, answer in zip(works, answers, strict=True)
    ]


async def _result_or_error(work: Work) -> Result | Exception:
    try:
        return await run(work)
    except Exception as exc:
        return exc


def _as_djangos(answer: Result | Exception) -> Result | Exception:
    if not isinstance(answer, Exception):
        return answer
    try:
        with django_errors:
            raise answer
    except Exception as exc:
        return exc


async def _run_together_pooled(
    loop: asyncio.AbstractEventLoop, alias: str, works: Sequence[Work]
) -> list[Result | Exception] | None:
    wire = take_now(loop, alias) or await take_later(loop, alias)
    if wire is None:
        return None
    conn = wire.conn
    pool: Any = conn._pool
    try:
        with django_errors:
            answers = await _run_many(wire, alias, works)
    except GeneratorExit:
        abandon(conn, pool, loop)
        raise
    except BaseException:
        await give_back(conn, pool)
        raise
    await give_back(conn, pool)
    return answers


def _run_many(wire: Wire, alias: str, works: Sequence[Work]) -> Awaitable[list[Result | Exception]]:
    executing = wire.run_many([(work.statement, work.params) for work in works])
    return observed_together(alias, works, executing)


async def _run_together_in_scope(
    loop: asyncio.AbstractEventLoop, alias: str, works: Sequence[Work]
) -> list[Result | Exception] | None:
    scope = await open_scope(loop)
    try:
        owner = _owner_in(scope, alias, any(work.statement.locks for work in works))
        wire = None if owner is None else owner.wire
        if owner is None or wire is None:
            return None
        try:
            with django_errors:
                answers = await _run_many(wire, alias, works)
        except GeneratorExit:
            scope.abort()
            raise
        except BaseException as exc:
            owner.break_block(exc)
            raise
        for work, answer in zip(works, answers, strict=True):
            if (
                work.marks_for_rollback
                and isinstance(answer, Exception)
                and not work.statement.is_left_by(answer)
            ):
                owner.break_block(answer)
        return answers
    finally:
        await scope.close()


def run_in_bridge(work: Work) -> Result:
    """Execute *work* for sync code in the bridge, on the connection that code has.

    Raises Django's database errors.
    """
    result = None
    if get_config().wire and not work.statement.refused:
        result = run_on_wire_in_bridge(work.alias, work.statement, work.params)
    return _run_with_cursor(work) if result is None else result


def run_on_wire_in_bridge(alias: str, statement: Statement, params: Sequence[Any]) -> Result | None:
    """Execute *statement* for sync code in the bridge; None where only a cursor can.

    Raises Django's database errors.
    """
    wrapper = connected_wrapper(alias)
    wire = None if wrapper is None else wrapper.wire
    if wrapper is None or wire is None:
        return None
    try:
        with wrapper.wrap_database_errors:
            return await_only(observed(alias, statement, params, wire.run(statement, params)))
    except OtherEncoding:
        return None
    except asyncio.CancelledError as exc:
        wrapper.break_block(exc)  # as where a cursor waits: the statement's fate is unknown
        raise
    except DatabaseError:
        if statement.refused:
            return None
        raise


def connected_wrapper(alias: str) -> BridgedWrapper | None:
    """Return the connection sync code in the bridge has to *alias*, connected unless its block is lost.

    None for one that is not the bridge's.
    """
    wrapper = connections[alias]
    if not isinstance(wrapper, BridgedWrapper):
        return None
    if wrapper.connection is None and not wrapper.closed_in_transaction:
        wrapper.ensure_connection()
    return wrapper


def _run_with_cursor(work: Work) -> Result:
    known = work.statement.known
    if known is not None:
        return Result([*known], len(known))
    if work.statement.locks and connections[work.alias].get_autocommit():
        # The block it was made for ended before its turn came. What Django's compiler says:
        raise transaction.TransactionManagementError(
            "select_for_update cannot be used outside of a transaction."
        )
    marks = work.marks_for_rollback
    marking = transaction.mark_for_rollback_on_error(using=work.alias) if marks else nullcontext()
    with marking, connections[work.alias].cursor() as cursor:
        cursor.execute(*work.as_sql())
        if cursor.rownumber is None:  # as the description is, which takes an object for each column
            return Result(None, cursor.rowcount)
        return Result(cursor.fetchall(), cursor.rowcount)


async def _run_pooled(loop: asyncio.AbstractEventLoop, work: Work) -> Result:
    """Run on a connection of the pool, and give it back."""
    alias = work.alias
    wire = take_now(loop, alias) or await take_later(loop, alias)
    if wire is None:
        return await run_sync(_run_with_cursor, work)
    conn = wire.conn
    pool: Any = conn._pool
    try:
        statement, params = work.statement, work.params
        result = await observed(alias, statement, params, wire.run_alone(statement, params))
    except GeneratorExit:
        abandon(conn, pool, loop)
        raise
    except BaseException as exc:
        await give_back(conn, pool)
        if not work.statement.is_left_by(exc):
            with django_errors:
                raise
    else:
        if not put_idle_again(conn, pool):
            await give_back(conn, pool)
        return result
    return await run_sync(_run_with_cursor, work)


async def _run_multiplexed(loop: asyncio.AbstractEventLoop, work: Work, options: MultiplexOptions) -> Result:
    """Run a read on a connection that other tasks use at the same time."""
    pool = None if is_guarded() else open_pool_of(loop, work.alias)
    if pool is not None:
        multiplexer = pool.multiplexer
        if multiplexer is None:
            take = partial(_take_for_many, loop, work.alias)
            multiplexer = pool.multiplexer = Multiplexer(pool, loop, options, take)
        with suppress(_NotReady), django_errors:
            statement, params = work.statement, work.params
            return await observed(work.alias, statement, params, multiplexer.run(statement, params))
    return await run_sync(_run_with_cursor, work)


async def _take_for_many(loop: asyncio.AbstractEventLoop, alias: str) -> AsyncConnection[Any]:
    taken = await take_ready(loop, alias)
    if taken is None:
        raise _NotReady
    return taken[0]


class _NotReady(Exception):
    """Somebody wants to be told of each connection that is taken: Django must take it."""


async def _run_in_scope(scope: Scope, work: Work) -> Result:
    """Run on the connection of the block *scope* is in."""
    # A child's turn, and mostly without a child: a statement needs no scope of its own.
    turns = scope.turns or scope.make_turns()
    child = None if turns.take() else await open_scope(scope.loop)
    try:
        statement = work.statement
        owner = _owner_in(child or scope, work.alias, statement.locks)
        wire = None if owner is None else owner.wire
        if owner is not None and wire is not None:
            try:
                # Only the tasks of the block have the connection as long as there is no wrapper.
                execute = wire.run_alone if type(owner) is WireBlock else wire.run
                params = work.params
                return await observed(work.alias, statement, params, execute(statement, params))
            except GeneratorExit:
                scope.abort()
                raise
            except BaseException as exc:
                if not work.statement.is_left_by(exc):
                    with _breaking(owner, work), django_errors:
                        raise
    finally:
        if child is None:
            turns.release()
        else:
            await child.close()
    return await run_sync(_run_with_cursor, work)


@contextmanager
def _breaking(owner: WireBlock | BridgedWrapper, work: Work) -> Iterator[None]:
    """Let *owner*'s block only roll back after an error that leaves it nothing else."""
    try:
        yield
    except BaseException as exc:
        marks = work.marks_for_rollback and isinstance(exc, Exception)
        if marks or isinstance(exc, asyncio.CancelledError):
            owner.break_block(exc)
        raise


def _owner_in(scope: Scope, alias: str, locks: bool) -> WireBlock | BridgedWrapper | None:
    """Return who has the connection of the block on *alias* around *scope*; None if only the bridge can.

    For statements with *locks*, it must be in a transaction.
    """
    block = scope.root.wire_block
    if block is not None and block.alias == alias:
        return None if block.broken_by is not None or is_watched(alias) else block
    wrapper = scope.wrappers.get(alias)
    if not isinstance(wrapper, BridgedWrapper) or (locks and not wrapper.in_atomic_block):
        return None
    return wrapper
