"""Advisory locks: of a transaction, or of a session."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncContextDecorator, suppress
from types import TracebackType
from typing import Any, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import TransactionManagementError
from typing_extensions import Self

from turbo_orm.bridge.held import Held
from turbo_orm.bridge.run import run_sync
from turbo_orm.sql.sessions import refuse_pooler

__all__ = ["advisory_lock"]

Key: TypeAlias = "int | str | tuple[int, int]"


def advisory_lock(
    key: Key,
    *,
    shared: bool = False,
    wait: bool = True,
    session: bool = False,
    using: str | None = None,
) -> _AdvisoryLock:
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
    kind = "_shared" if shared else ""
    take = "pg_advisory" if wait else "pg_try_advisory"
    lock = _SessionLock if session else _TransactionLock
    return lock(using or DEFAULT_DB_ALIAS, key, take, kind)


# Classes, not generators: see `turbo_orm.bridge.iterators`.


class _AdvisoryLock(AbstractAsyncContextManager[bool, None], AsyncContextDecorator):
    """One ``async with`` block with a lock; as a decorator, one for each call."""

    def __init__(self, alias: str, key: Key, take: str, kind: str) -> None:
        self._alias = alias
        self._key = key
        self._take = take
        self._kind = kind

    def _recreate_cm(self) -> Self:
        return type(self)(self._alias, self._key, self._take, self._kind)


class _TransactionLock(_AdvisoryLock):
    async def __aenter__(self) -> bool:
        function = f"{self._take}_xact_lock{self._kind}"
        return await run_sync(_take_in_transaction, self._alias, function, self._key)

    async def __aexit__(self, *exc_info: object) -> None:
        """Leave it to the transaction."""


class _SessionLock(_AdvisoryLock):
    async def __aenter__(self) -> bool:
        self._held = held = Held("advisory_lock()", own=True)
        function = f"{self._take}_lock{self._kind}"
        try:
            self._taken = await held.run(_take_in_session, self._alias, function, self._key)
        except BaseException:
            held.abandon()  # interrupted in the moment it was granted, the lock may be there
            raise
        return self._taken

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            await self._give_back()
        elif exc_type is GeneratorExit:
            self._held.abandon()
        else:
            with suppress(Exception):  # the lock is gone anyhow, and this error matters more
                await self._give_back()

    async def _give_back(self) -> None:
        held = self._held
        try:
            if self._taken:
                await held.run(_call, self._alias, f"pg_advisory_unlock{self._kind}", self._key)
        except BaseException:
            held.abandon()  # closing the connection releases the lock
            raise
        await held.close()


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
