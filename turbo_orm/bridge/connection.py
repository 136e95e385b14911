"""A sync psycopg connection on top of an async one: everything but the waiting is shared."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import psycopg
from psycopg import pq
from psycopg._server_cursor_base import ServerCursorMixin
from psycopg.rows import tuple_row

from turbo_orm.bridge.greenlets import await_only, current_bridge, postpone
from turbo_orm.db.connections import close_now
from turbo_orm.db.cursors import serve
from turbo_orm.db.failover import note_error
from turbo_orm.db.leases import abandon, give_back, put_idle
from turbo_orm.db.pools import Pool
from turbo_orm.db.wire import Wire, wire_of
from turbo_orm.errors import ConnectionReleasedError

if TYPE_CHECKING:
    from turbo_orm.bridge.scopes import Scope
    from turbo_orm.bridge.wrapper import BridgedWrapper

__all__ = ["BridgedConnection"]

T = TypeVar("T")

_ACTIVE = int(pq.TransactionStatus.ACTIVE)
_IDLE = int(pq.TransactionStatus.IDLE)
_IN_TRANSACTION = int(pq.TransactionStatus.INTRANS)
_CLOSING_CURSOR = ServerCursorMixin._close_gen.__code__


class BridgedConnection(psycopg.Connection[Any]):
    """A sync `psycopg.Connection` which shares the whole state of an `AsyncConnection`.

    Both have one ``__dict__`` (pgconn, autocommit, adapters, prepared statements...), so all
    of psycopg's and Django's sync cursor code runs on it unmodified; only where it waits does
    the greenlet switch out. It dies with its lease: afterwards it refuses every statement,
    because the async connection may serve somebody else by then.
    """

    # Data descriptors, as those below, so that they win over the shared __dict__.
    __slots__ = ("_aconn", "_gate", "_left_open", "_named", "_pool_", "_scope", "_wrapper", "cursor_factory")

    if not TYPE_CHECKING:
        lock = property(lambda self: self._gate)
        server_cursor_factory = property(lambda self: psycopg.ServerCursor)
        row_factory = property(lambda self: tuple_row)

    def __init__(
        self,
        aconn: psycopg.AsyncConnection[Any],
        *,
        cursor_factory: type[psycopg.Cursor[Any]],
        scope: Scope,
        pool: Pool | None,
        wrapper: BridgedWrapper,
    ) -> None:
        self.__dict__ = aconn.__dict__
        self._aconn: psycopg.AsyncConnection[Any] | None = aconn
        self.cursor_factory = cursor_factory
        self._gate: AbstractContextManager[None] = _Gate(aconn.lock)
        #: A named cursor was not closed for certain.
        self._left_open = False
        self._named: list[Any] = []
        self._pool_ = pool
        self._scope = scope
        self._wrapper = ref(wrapper)

    def __del__(self, _warn: Any = None) -> None:
        # psycopg warns of connections deleted while open; this one does not own its socket.
        self._aconn = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        aconn = self._aconn
        if aconn is None:
            raise ConnectionReleasedError(
                "This cursor or connection belongs to an operation that has ended, and its "
                "connection has gone back to the pool. Fetch what you need inside the "
                "operation, or keep the connection with `async with turbo_orm.atomic()`."
            )
        try:
            if args or kwargs or self._pipeline is not None or self.pgconn.transaction_status == _ACTIVE:
                # Not the beginning of a statement: the next step of a COPY, for one.
                return self._await(aconn.wait(gen, *args, **kwargs))
            wire = self.__dict__.get("wire") or wire_of(aconn, self._scope.loop)
            return self._await(aconn.wait(gen) if wire is None else serve(wire, gen))
        except asyncio.CancelledError as exc:
            if getattr(gen, "gi_code", None) is not _CLOSING_CURSOR:
                raise
            # A generator that is left early closes its cursor as it is finalized.
            self._left_open = True
            postpone(exc)
            return None
        except psycopg.Error as exc:
            note_error(aconn, exc)
            wrapper = self._wrapper()
            if wrapper is not None:
                if wrapper.is_cut and getattr(gen, "gi_code", None) is _CLOSING_CURSOR:
                    return None  # it goes with the block, which is only rolled back
                wrapper.validate_not_cut()  # it is a cursor that was open before
            raise

    @property
    def shares_session(self) -> bool:
        """Whether its next statement may be executed in another session of the server than its last one."""
        return self.autocommit and self._pool_ is not None and bool(self._pool_.shares_sessions)

    def commit(self) -> None:
        """Commit, see psycopg: where the wire has the socket, it keeps it."""
        wire: Wire | None = self.__dict__.get("wire")
        if (
            wire is None
            or not wire.attached
            or self._aconn is None
            or self._num_transactions
            or self._tpc
            or self._pipeline is not None
            or self.pgconn.transaction_status != _IN_TRANSACTION
        ):
            super().commit()
        else:
            self._await(wire.command(b"COMMIT"))

    def set_autocommit(self, value: bool) -> None:
        """Begin transactions from now on, or not, see psycopg: it is nothing to wait for."""
        if self._aconn is None or self._pipeline is not None or self.pgconn.transaction_status != _IDLE:
            super().set_autocommit(value)
        else:
            self._autocommit = bool(value)

    def _await(self, waiting: Coroutine[Any, Any, T]) -> T:
        try:
            return await_only(waiting)
        except asyncio.CancelledError as exc:
            # asyncio.timeout() may turn this into a TimeoutError that is caught inside the
            # block. The statement's fate is unknown: that block must never commit.
            wrapper = self._wrapper()
            if wrapper is not None:
                wrapper.break_block(exc)
            raise

    def cancel_safe(self, *, timeout: float = 30.0) -> None:
        assert self._aconn is not None
        await_only(self._aconn.cancel_safe(timeout=timeout))

    def close(self) -> None:
        if self not in self._scope.leases:
            return
        self._scope.leases.remove(self)
        bridge = current_bridge()
        if bridge is None or bridge.closing:
            if self._aconn is not None:
                close_now(self._aconn)
            return
        try:
            await_only(self.release())
        except BaseException:
            self.abandon()  # unless it has been given back: nothing may have been awaited
            raise

    def note_server_cursor(self, cursor: Any) -> None:
        """Remember a named cursor: left open, it would outlive the operation on the server.

        Even if the cursor object does not live that long.
        """
        if self._named:
            self._named = [known for known in self._named if not known.closed]
        self._named.append(cursor)

    def doubt_server_cursors(self) -> None:
        """Have named cursors ask whether they are there before they close: some went with a savepoint.

        To close one that is not is an error, and breaks the transaction.
        """
        for cursor in self._named:
            cursor._described = False

    def release_now(self) -> bool:
        """Do what `release()` does, if that needs no waiting; return whether it did."""
        aconn, pool = self._aconn, self._pool_
        if aconn is not None:
            if pool is None or self._is_soiled() or not put_idle(aconn, pool):
                return False
            self.die()
        return True

    async def release(self) -> None:
        """Give the async connection back, and refuse to serve from now on."""
        aconn = self._aconn
        if aconn is None:
            return
        soiled = self._is_soiled()
        self.die()
        await give_back(aconn, self._pool_, soiled=soiled)

    def _is_soiled(self) -> bool:
        if not self._named:
            return False
        if self._left_open:
            return True
        # The end of a transaction closes its cursors, but for those WITH HOLD.
        over = self.pgconn.transaction_status == _IDLE
        return any(not cursor.closed and (cursor.withhold or not over) for cursor in self._named)

    def abandon(self) -> None:
        """Close the connection without awaiting: the loop does it when it has time."""
        aconn = self._aconn
        if aconn is None:
            return
        self.die()
        abandon(aconn, self._pool_, self._scope.loop)

    def die(self) -> None:
        """Stop sharing the async connection's state: whoever holds this object holds nothing."""
        self.__dict__ = {**self.__dict__, "pgconn": _dead_pgconn(), "_pool": None}
        self._aconn = None
        self._gate = nullcontext()
        for cursor in self._named:
            # Nothing is left on the server, whatever interrupted it; psycopg would warn of it.
            cursor._closed = True
        self._named = []


class _Gate:
    """The async connection's `asyncio.Lock` as the lock of sync cursors."""

    __slots__ = ("_lock",)

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        lock = self._lock
        if lock.locked() or lock._waiters:
            await_only(lock.acquire())
            return
        # Free, so that acquire() does not suspend: no need to go through the event loop.
        try:
            lock.acquire().send(None)
        except StopIteration:
            return

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


@lru_cache(maxsize=1)
def _dead_pgconn() -> pq.abc.PGconn:
    """A libpq connection that was never made: every use of it fails as of a closed one."""
    pgconn = pq.PGconn.connect_start(b"host=/nonexistent")
    pgconn.finish()
    return pgconn
