"""Advisory locks: of a transaction, or of a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import TransactionManagementError

from turbo_orm.bridge.held import Held
from turbo_orm.bridge.run import run_sync
from turbo_orm.sql.sessions import refuse_pooler

__all__ = ["advisory_lock"]

Key: TypeAlias = "int | str | tuple[int, int]"


@asynccontextmanager
async def advisory_lock(
    key: Key,
    *,
    shared: bool = False,
    wait: bool = True,
    session: bool = False,
    using: str | None = None,
) -> AsyncIterator[bool]:
    """Take PostgreSQL's advisory lock *key* for an ``async with`` block.

    *key* is an integer of 64 bits, a pair of 32 bits, or text, which the server hashes. A
    *shared* lock excludes exclusive ones only. The block is given whether the lock was taken:
    always true, unless *wait* is False, which does not wait for somebody else to release it.

    The lock belongs to the transaction: it is released when the surrounding `atomic()` block
    ends, not before. With *session* it is released at the end of this block, and for that keeps
    a connection of its own; inside `atomic()` too, where that is a second one.

    Raises `TransactionManagementError` outside of `atomic()` without *session*, and
    `NotSupportedError` with *session* behind a connection pooler.
    """
    alias = using or DEFAULT_DB_ALIAS
    kind = "_shared" if shared else ""
    take = "pg_advisory" if wait else "pg_try_advisory"
    if session:
        async with _session_lock(alias, f"{take}_lock{kind}", f"pg_advisory_unlock{kind}", key) as taken:
            yield taken
    else:
        yield await run_sync(_take_in_transaction, alias, f"{take}_xact_lock{kind}", key)


@asynccontextmanager
async def _session_lock(alias: str, take: str, release: str, key: Key) -> AsyncIterator[bool]:
    held = Held("advisory_lock()", own=True)

    async def give_back() -> None:
        try:
            if taken:
                await held.run(_call, alias, release, key)
        except BaseException:
            held.abandon()  # closing the connection releases the lock
            raise
        await held.close()

    try:
        taken = await held.run(_take_in_session, alias, take, key)
    except BaseException:
        held.abandon()  # interrupted in the moment it was granted, the lock may be there
        raise
    try:
        yield taken
    except GeneratorExit:
        held.abandon()
        raise
    except BaseException:
        with suppress(Exception):  # the lock is gone anyhow, and this error matters more
            await give_back()
        raise
    await give_back()


def _take_in_transaction(alias: str, function: str, key: Key) -> bool:
    if not connections[alias].in_atomic_block:
        raise TransactionManagementError(
            "advisory_lock() takes the lock for a transaction, and there is none. Use it inside "
            "`async with atomic()`, or pass session=True for a lock that ends with its block."
        )
    return _call(alias, function, key)


def _take_in_session(alias: str, function: str, key: Key) -> bool:
    connection: Any = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    refuse_pooler(alias, "advisory_lock(session=True)", connection.connection.info.backend_pid, pid)
    return _call(alias, function, key)


def _call(alias: str, function: str, key: Key) -> bool:
    """Call *function* of PostgreSQL, and return whether it took or released the lock."""
    with connections[alias].cursor() as cursor:
        if isinstance(key, tuple):
            cursor.execute(f"SELECT {function}(CAST(%s AS int4), CAST(%s AS int4))", key)
        elif isinstance(key, str):
            cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [key])
        else:
            cursor.execute(f"SELECT {function}(CAST(%s AS int8))", [key])
        (result,) = cursor.fetchone()
    return result is not False  # the functions that wait return void
