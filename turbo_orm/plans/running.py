"""Execute planned statements: on the wire where nobody watches, else with Django's cursor."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Protocol, cast

import psycopg
from django.conf import settings
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.db.utils import DatabaseErrorWrapper

from turbo_orm.bridge.async_backend.join import JoinedWrapper, in_their_block
from turbo_orm.bridge.connection import BridgedConnection
from turbo_orm.bridge.databases import open_pool_of
from turbo_orm.bridge.handler import ambient_connection
from turbo_orm.bridge.querylog import recording
from turbo_orm.bridge.readiness import is_ready
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import Scope, active_scope, open_scope
from turbo_orm.bridge.wrapper import BridgedWrapper
from turbo_orm.conf import get_config
from turbo_orm.db.leases import abandon, give_back, lease, put_idle, take_idle
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result, wire_of

__all__ = ["Work", "run"]

#: Turns psycopg's exceptions into Django's.
_django_errors = DatabaseErrorWrapper(SimpleNamespace(Database=psycopg, errors_occurred=False))


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
        """An error leaves the surrounding block with nothing to do but roll back."""
        ...

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        """Return what a cursor takes."""
        ...


async def run(work: Work) -> Result:
    """Execute *work*, in the running task's transaction if it has one.

    Raises Django's database errors.
    """
    alias, statement = work.alias, work.statement
    if not statement.refused and get_config().wire:
        loop = asyncio.get_running_loop()
        if active_scope(loop) is not None:
            result = await _run_in_scope(loop, work)
        elif _is_watched(alias, ambient_connection(alias)) or in_their_block(alias):
            result = None
        else:
            result = await _run_pooled(loop, alias, statement, work.params)
        if result is not None:
            return result
    return await run_sync(_run_with_cursor, work)


def _run_with_cursor(work: Work) -> Result:
    marking = transaction.mark_for_rollback_on_error(using=work.alias) if work.writes else nullcontext()
    with marking, connections[work.alias].cursor() as cursor:
        cursor.execute(*work.as_sql())
        if cursor.description is None:
            return Result(None, cursor.rowcount)
        return Result(cursor.fetchall(), cursor.rowcount)


def _is_watched(alias: str, wrapper: Any) -> bool:
    """Whether somebody is to see the statements on *alias*, as Django's cursors show them."""
    if recording(alias):
        return True
    if wrapper is None:
        return bool(settings.DEBUG)
    return bool(wrapper.execute_wrappers or wrapper.queries_logged)


async def _run_pooled(
    loop: asyncio.AbstractEventLoop, alias: str, statement: Statement, params: tuple[Any, ...]
) -> Result | None:
    pool = open_pool_of(loop, alias)
    if pool is None or not _plain_receivers():
        await run_sync(_connect, alias)
        pool = open_pool_of(loop, alias)
        if pool is None or not _plain_receivers():
            return None
    with _django_errors:
        conn = take_idle(pool)
        while conn is None or not is_ready(conn):
            if conn is None:
                conn = await lease(pool)
            else:
                await give_back(conn, pool)
                await run_sync(_connect, alias)
                conn = take_idle(pool)
        wire = wire_of(conn)
        if wire is None:
            await give_back(conn, pool)
            return None
        try:
            result = await wire.run(statement, params)
        except GeneratorExit:
            abandon(conn, pool, loop)
            raise
        except BaseException as exc:
            await give_back(conn, pool)
            if statement.refused and isinstance(exc, psycopg.Error):
                return None
            raise
        if not put_idle(conn, pool):
            await give_back(conn, pool)
        return result


def _connect(alias: str) -> None:
    connections[alias].ensure_connection()


#: Receivers which do the same to a connection whenever it is taken from the pool.
_KNOWN_RECEIVERS = frozenset({"django.contrib.postgres.signals"})


def _plain_receivers() -> bool:
    """Whether nobody wants to be told of each connection that is taken."""
    for receiver in connection_created.receivers or ():
        function = receiver[1]
        if callable(function) and getattr(function, "__module__", None) is None:
            function = function()
        if function is not None and getattr(function, "__module__", None) not in _KNOWN_RECEIVERS:
            return False
    return True


async def _run_in_scope(loop: asyncio.AbstractEventLoop, work: Work) -> Result | None:
    """Run on the connection of the surrounding block; None where only the bridge can."""
    alias, statement = work.alias, work.statement
    scope = await open_scope(loop)
    try:
        wrapper = _wrapper_in(scope, alias)
        if wrapper is None:
            return None
        conn = cast(BridgedConnection, wrapper.connection)
        wire = None if conn._aconn is None else wire_of(conn._aconn)
        if wire is None:
            return None
        try:
            with _django_errors:
                try:
                    return await wire.run(statement, work.params)
                except psycopg.Error:
                    if statement.refused:
                        return None
                    raise
        except GeneratorExit:
            scope.abort()
            raise
        except asyncio.CancelledError as exc:
            wrapper.break_block(exc)
            raise
        except Exception as exc:
            if work.writes:
                wrapper.break_block(exc)
            raise
    finally:
        await scope.close()


def _wrapper_in(scope: Scope, alias: str) -> BridgedWrapper | None:
    wrapper = scope.wrappers.get(alias)
    if (
        scope.parent is None
        or not isinstance(wrapper, BridgedWrapper)
        or isinstance(wrapper, JoinedWrapper)
        or not isinstance(wrapper.connection, BridgedConnection)
        or wrapper.closed_in_transaction
        or wrapper.needs_rollback
        or _is_watched(alias, wrapper)
    ):
        return None
    return wrapper
