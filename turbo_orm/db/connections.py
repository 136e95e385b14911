"""The pools' async connections: psycopg's, with the wire plugged in beside their cursors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import AsyncConnection, waiting
from psycopg._preparing import PrepareManager
from psycopg.abc import PQGen
from psycopg.adapt import AdaptersMap
from psycopg.errors import _WaitTimeout
from psycopg.pq import TransactionStatus
from psycopg.waiting import Wait
from typing_extensions import Self

from turbo_orm.db.uncancellable import uncancellable

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

    from turbo_orm.db.wire import Wire

__all__ = ["READY", "TurboConnection", "WatchedAdapters", "close_now"]

RV = TypeVar("RV")

_ACTIVE = int(TransactionStatus.ACTIVE)
_AT_REST = frozenset(map(int, (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR)))

#: Seconds between two looks at whether the socket is ready which the event loop may have missed; psycopg's.
_INTERVAL = 0.1

#: Seconds that interrupted statements have to end once their cancellation is requested; psycopg's.
_STOP_TIMEOUT = 5.0
#: Seconds after which the request is repeated.
_STOP_INTERVAL = 0.5

logger = logging.getLogger(__name__)

#: The attribute of a connection that its user marks it with, once it is set up.
READY = "_turbo_ready"


class TurboConnection(AsyncConnection[Any]):
    """An `AsyncConnection` whose socket psycopg and a `Wire` use by turns.

    Whatever psycopg does on it (cursors, COPY, notifications, the pool's checks) works as on
    any other connection.
    """

    #: Made at first use, see `wire_of()`.
    wire: Wire | None = None
    #: Whether it may have one.
    wired = True
    #: Whether the wire keeps prepared statements on the server.
    prepares = True

    def __init__(self, pgconn: PGconn, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        self._prepared = _PrepareManager()
        #: Lent to somebody by its pool.
        self.lent = False

    @classmethod
    async def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:
        """Connect, see psycopg."""
        conn = await super().connect(conninfo, **kwargs)
        conn._adapters = WatchedAdapters(conn.adapters)
        return conn

    async def wait(self, gen: PQGen[RV], interval: float = _INTERVAL, timeout: float | None = None) -> RV:
        """Wait for what psycopg does with the socket, which must be its alone meanwhile.

        As psycopg's does, it has the server stop what a cancellation interrupts.
        """
        if self.wire is not None and self.wire.listening:
            self.wire.detach()
        socket = self.pgconn.socket
        try:
            return await waiting.wait_async(gen, socket, interval, timeout)
        except (asyncio.CancelledError, KeyboardInterrupt):
            if self.pgconn.transaction_status == _ACTIVE:
                await self.stop(lambda seconds: waiting.wait_async(gen, socket, _INTERVAL, seconds))
            raise

    async def stop(
        self, ended: Callable[[float], Awaitable[object]], interval: float = _STOP_INTERVAL
    ) -> None:
        """Have the server stop what it executes, or close the connection.

        *ended* waits for the end of it, for that many seconds at most; it raises `TimeoutError` then, or
        psycopg's. The request is repeated, every *interval* seconds, until then: one that arrives before
        the statement does, or between two, has no effect.
        """
        deadline = time.monotonic() + _STOP_TIMEOUT
        try:
            while True:
                with suppress(psycopg.Error):  # it may be possible a moment later, or not be necessary
                    await self.cancel_safe(timeout=_STOP_TIMEOUT)
                try:
                    await ended(interval)
                    return
                except (TimeoutError, _WaitTimeout):
                    if time.monotonic() > deadline:
                        raise
                except asyncio.CancelledError:
                    # After a BEGIN that was interrupted, psycopg has sent the statement that it was for.
                    with suppress(psycopg.Error):
                        await self.cancel_safe(timeout=_STOP_TIMEOUT)
                    raise
        except BaseException as failure:
            if isinstance(failure, psycopg.Error) and self.pgconn.transaction_status in _AT_REST:
                return  # the error is the statement's
            close_now(self)
            logger.warning("Closing %r, which does not answer to a cancellation: %r", self, failure)
            if not isinstance(failure, Exception):
                raise

    async def stop_unread(self) -> None:
        """Have the server stop what nobody reads any more, or close the connection; it is of no more use."""
        if self.wire is not None:
            self.wire.detach()
        socket = self.pgconn.socket
        await self.stop(lambda seconds: waiting.wait_async(_answered(), socket, _INTERVAL, seconds))

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to stop the statement, see psycopg; a cancellation waits for that.

        Whoever asks closes the connection when interrupted, and the server would not notice before it is
        done with the statement, however long that takes and whatever it keeps locked.
        """
        await uncancellable(super().cancel_safe(timeout=timeout))

    async def close(self) -> None:
        """Close the connection, see psycopg."""
        await super().close()
        wire = self.wire
        if wire is not None and self.closed:
            self.wire = None
            wire.release()


class WatchedAdapters(AdaptersMap):
    """A connection's adapters, counting their changes."""

    changes = 0

    def register_dumper(self, cls: Any, dumper: Any) -> None:
        """Register, see psycopg."""
        self.changes += 1
        super().register_dumper(cls, dumper)

    def register_loader(self, oid: Any, loader: Any) -> None:
        """Register, see psycopg."""
        self.changes += 1
        super().register_loader(oid, loader)


class _PrepareManager(PrepareManager):
    """Tells the wire when psycopg deallocates every prepared statement of the session."""

    def maintain_gen(self, conn: Any) -> PQGen[None]:
        everything = None in self._to_flush
        yield from super().maintain_gen(conn)
        # Not an attribute of ours: cursors and bridged connections share only psycopg's state.
        wire: Wire | None = conn.__dict__.get("wire")
        if everything and wire is not None:
            wire.prepared.forget_all()


def _answered() -> PQGen[None]:
    """Wait until something arrives: the statement has begun then, and a request to stop came in time."""
    while not (yield Wait.R):
        pass


def close_now(conn: AsyncConnection[Any]) -> None:
    """Close *conn* without awaiting, whatever it is doing."""
    wire: Wire | None = conn.__dict__.pop("wire", None)
    conn.pgconn.finish()
    if wire is not None:
        wire.release()
