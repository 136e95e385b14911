"""The pool of one database: psycopg_pool's, which says at once that there is no connection to be had."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolClosed
from psycopg_pool._acompat import AEvent
from psycopg_pool.pool_async import AddConnection

from turbo_orm.db.connections import TurboConnection, close_now
from turbo_orm.db.waiters import Waiters

if TYPE_CHECKING:
    from turbo_orm.db.multiplex import Multiplexer
    from turbo_orm.db.wire import Wire

__all__ = ["Pool", "PoolKey", "PoolSpec", "PoolStats"]

logger = logging.getLogger(__name__)

Configure = Callable[[AsyncConnection[Any]], Awaitable[None]]


class PoolKey(NamedTuple):
    """One database: its alias, and what tells it from another under the same alias."""

    alias: str
    #: Engine, name, host, port and user: tests rename databases.
    identity: tuple[object, ...]


@dataclass(frozen=True)
class PoolSpec:
    """Everything needed to build the pool of one database on any loop."""

    key: PoolKey
    #: Returns keyword arguments of `AsyncConnection.connect()`, for each connection: a password may
    #: be a token that does not live long.
    connect: Callable[[], Mapping[str, Any]]
    #: Keyword arguments of `AsyncConnectionPool`.
    options: Mapping[str, Any]
    #: Called with every new connection.
    configure: Configure | None = None
    #: Whether statements may be prepared on the server: not behind a pooler in transaction mode.
    prepares: bool = True
    #: Whether statements may go straight to the wire: not past cursors which are not Django's own.
    wired: bool = True


@dataclass(frozen=True)
class PoolStats:
    """A pool in numbers, called what psycopg_pool calls them; see `turbo_orm.pool_stats()`."""

    #: How many connections it keeps even if they are idle, and how many it may have.
    pool_min: int
    pool_max: int
    #: How many it has, with those that are being opened; how many of them are idle.
    pool_size: int
    pool_available: int
    #: How many are shared by all tasks (``MULTIPLEX``).
    pool_shared: int
    #: How many times a connection was asked for, and how many of these had to wait for it.
    requests_num: int
    requests_queued: int
    #: How many wait now.
    requests_waiting: int
    #: How long all waits that ended took together, in milliseconds.
    requests_wait_ms: int
    #: How many got none: the time-out, a full queue, no server, a cancellation.
    requests_errors: int
    #: How many times a connection was opened or tried to be, how long that took, how often it failed.
    connections_num: int
    connections_ms: int
    connections_errors: int
    #: How many the server, or a check, was found to have ended while they were idle.
    connections_lost: int
    #: How many were closed instead of being given back.
    returns_bad: int


#: Seconds between two looks at whether connections are ready.
_WARMING = 0.005

#: Seconds from one `Pool.evict()` to the next that is one.
_EVICTION_PAUSE = 10.0


class Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """An `AsyncConnectionPool` which reports a server that can't be reached at once.

    psycopg_pool keeps reconnecting in the background and lets its clients run into their
    timeout. As long as there is no live connection at all to wait for, ours get the server's
    own error, as they would from `connect()`.
    """

    def __init__(self, spec: PoolSpec, opened: Callable[[], Awaitable[None]] | None = None) -> None:
        options = dict(spec.options)
        #: Connections to hold ready once `fill()` is called. A pool that was opened by its
        #: first query starts empty, so that a short-lived loop opens only what it uses.
        self.warm_size: int = options.pop("min_size", 0)
        options.setdefault("name", f"turbo-{spec.key.alias}")
        options["max_size"] = max(options.get("max_size") or self.warm_size, 1)
        options["connection_class"] = options.get("connection_class") or TurboConnection
        # There is one attempt, and psycopg_pool's log is to say so.
        options.setdefault("reconnect_timeout", 0.0)
        #: Whether the wires of its connections prepare statements.
        self.prepares = spec.prepares
        self.wired = spec.wired
        #: Whether a pooler may execute each transaction in another server session; None until there was
        #: a connection to ask.
        self.shares_sessions: bool | None = None
        #: Of the requests for connections, those which are not in psycopg_pool's statistics yet.
        self.taken = 0
        #: Whether somebody cancelled the pool's workers: it could not open connections any more.
        self.deserted = False
        #: Shares some of its connections, where they are to be shared.
        self.multiplexer: Multiplexer | None = None
        self.waiters = Waiters(self)
        self._evicted_at = -_EVICTION_PAUSE
        self._when_opened = opened
        self._live: WeakSet[AsyncConnection[Any]] = WeakSet()
        super().__init__(
            kwargs=lambda: {**spec.connect(), "autocommit": True},
            min_size=0,
            open=False,
            configure=spec.configure,
            **options,
        )

    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        """Open the pool on the running loop."""
        await super().open(wait, timeout)
        self._sched._event.__class__ = _CancellableEvent
        for worker in self._workers:
            worker.add_done_callback(self._note_desertion)
        if self._when_opened is not None:
            await self._when_opened()

    async def fill(self) -> None:
        """Connect up to the pool's ``min_size``; wait until they are ready. See `leases.warm()`."""
        # resize() opens the difference to the former minimum: count what is open already.
        self._min_size = min(self._nconns, self.warm_size)
        await self.resize(self.warm_size, self.max_size)
        # Until they are there; an attempt that failed is no longer counted.
        while self._ready() < self.warm_size <= self._nconns and not self._closed:  # noqa: ASYNC110  nobody is told
            await asyncio.sleep(_WARMING)

    def _ready(self) -> int:
        # Those in use may be so for long, or for ever, as shared ones are.
        return len(self._pool) + len(self.lent())

    @classmethod
    async def worker(cls, q: Any) -> None:
        with suppress(_WorkerCancelled):
            await super().worker(q)

    def _note_desertion(self, worker: object) -> None:
        self.deserted = True

    async def close(self, timeout: float = 5.0) -> None:
        """Close the pool and its idle connections; those in use are closed when returned."""
        # asyncio.run() cancels every task, the pool's workers too, before it lets us close.
        # psycopg_pool would wait for them, be told they were cancelled, and stop there.
        self._workers = [worker for worker in self._workers if not worker.done()]
        if self._sched_runner is not None and self._sched_runner.done():
            self._sched_runner = None
        if self.multiplexer is not None:
            self.multiplexer.close()
        self.waiters.fail(PoolClosed(f"the pool {self.name!r} is closed"))
        await super().close(timeout)
        self.abandon()  # a worker cancelled between connecting and storing leaves a connection

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[Any]:
        """Lend a connection; see psycopg_pool."""
        conn: Any = await super().getconn(timeout)
        conn.lent = True
        return conn  # type: ignore[no-any-return]

    async def putconn(self, conn: Any) -> None:
        """Take a lent connection back; see psycopg_pool."""
        conn.lent = False
        await super().putconn(conn)

    def get_stats(self) -> dict[str, int]:
        """Return the numbers of the pool's use; see psycopg_pool."""
        self._count_taken()
        return super().get_stats()

    def pop_stats(self) -> dict[str, int]:
        """Return the numbers of the pool's use, and begin anew; see psycopg_pool."""
        self._count_taken()
        return super().pop_stats()

    def stats(self) -> PoolStats:
        """Return the numbers of the pool's use, those that are nothing yet too."""
        shared = 0 if self.multiplexer is None else len(self.multiplexer.kept())
        found = {**self.get_stats(), "pool_shared": shared}
        return PoolStats(**{each.name: found.get(each.name, 0) for each in fields(PoolStats)})

    def _count_taken(self) -> None:
        taken, self.taken = self.taken, 0
        self._stats[self._REQUESTS_NUM] += taken
        # In whole milliseconds: what is left of one must not be lost, there may be many.
        waited = int(1000 * self.waiters.waited)
        self.waiters.waited -= waited / 1000
        self._stats[self._REQUESTS_WAIT_MS] += waited

    def _get_measures(self) -> dict[str, int]:
        measures = super()._get_measures()
        # Those who have given up stay in the queues until their turn comes.
        theirs = sum(not (each.conn or each.error) for each in self._waiting)
        measures[self._REQUESTS_WAITING] = theirs + self.waiters.count()
        return measures

    def exhausted(self) -> bool:
        """Whether the only connections to wait for are those in use."""
        return not (
            self._pool
            or self._waiting
            or self._nconns < self._max_size
            or self._check is not None
            or self._closed
        )

    async def _add_to_pool(self, conn: AsyncConnection[Any]) -> None:
        await super()._add_to_pool(conn)
        # A new connection, or one that needed more attention than `put_idle()` has for it.
        while self.waiters.queue and self._pool:
            idle: Any = self._pool.popleft()
            idle._pool = self
            idle.lent = True
            if not self.waiters.serve(idle):
                idle._pool = None
                idle.lent = False
                self._pool.append(idle)

    def abandon(self) -> None:
        """Close the idle connections without awaiting; those in use are closed when returned."""
        self._closed = True
        for conn in self._live - set(self.lent()):
            close_now(conn)

    def close_lent(self) -> None:
        """Close the connections that are in use, of which nobody can make use any more."""
        for conn in self.lent():
            close_now(conn)

    def unprepare(self) -> None:
        """Have the wires of all connections prepare their statements anew."""
        for conn in self._live:
            wire: Wire | None = conn.__dict__.get("wire")
            if wire is not None:
                wire.prepared.drop_all()

    def evict(self) -> None:
        """Connect anew: close the idle connections now, those in use when they are returned.

        Not again within some seconds: an alias of a replica, say, is read only all the time.
        """
        now = monotonic()
        if now < self._evicted_at + _EVICTION_PAUSE:
            return
        logger.warning("Closing the connections of the pool %r: their server takes no writes", self.name)
        self._evicted_at = self._drained_at = now
        idle = [*self._pool]
        self._pool.clear()
        for conn in idle:
            close_now(conn)
            self.run_task(AddConnection(self))

    def lent(self) -> list[AsyncConnection[Any]]:
        """Return the connections that are in use."""
        # A mark on each: a set of them would cost more than the rest of lending.
        return [conn for conn in self._live if conn.__dict__.get("lent")]

    def starves(self) -> bool:
        """Whether somebody waits for a connection, and none is going to come."""
        return bool(self._waiting) and not self._growing and self._has_none_to_wait_for()

    def _has_none_to_wait_for(self) -> bool:
        """Whether none of the connections there are comes back by itself."""
        kept = self.multiplexer.kept() if self.multiplexer else ()
        return all(conn.closed or conn in kept for conn in self._live)

    async def _add_connection(self, attempt: Any, growing: bool = False) -> None:
        once: Any = _OneAttempt()
        await super()._add_connection(once, growing=growing)

    async def _connect(self, timeout: float | None = None) -> AsyncConnection[Any]:
        try:
            conn = await super()._connect(timeout)
            if self.shares_sessions is None:
                self.shares_sessions = not await _has_session_of_its_own(conn)
                self.prepares = self.prepares and not self.shares_sessions
        except asyncio.CancelledError:
            # Nobody cancels a worker but asyncio.run(), which ends the loop and waits for all
            # tasks. psycopg_pool would take it for a failed attempt and wait for the next task.
            raise _WorkerCancelled from None
        except Exception as exc:
            if not self._has_none_to_wait_for():
                if self.multiplexer is not None:
                    self.multiplexer.refused()
            elif self.multiplexer is None or not self.multiplexer.spare():
                while self._waiting:
                    await self._waiting.popleft().fail(exc)
                self.waiters.fail(exc)
            raise
        conn.__dict__.update(prepares=self.prepares, wired=self.wired)
        self._live.add(conn)
        return conn


async def _has_session_of_its_own(conn: AsyncConnection[Any]) -> bool:
    """Whether *conn* leads to the server itself, not to a pooler such as PgBouncer.

    A pooler invents the process id it announces, and may execute every transaction in another
    server session, which does not know what the last one has prepared.
    """
    try:
        cursor = await conn.execute("SELECT pg_backend_pid()", prepare=False)
        row = await cursor.fetchone()
    except BaseException:
        close_now(conn)
        raise
    return row is not None and row[0] == conn.info.backend_pid


class _CancellableEvent(AEvent):
    """An event whose waiter always notices its cancellation.

    `asyncio.wait_for()`, which psycopg_pool uses, loses one that comes together with the event
    on Python before 3.12; `asyncio.run()` then waits for the pool's scheduler for ever.
    """

    async def wait_timeout(self, timeout: float) -> bool:
        waiter = asyncio.ensure_future(self.wait())
        try:
            done, _ = await asyncio.wait({waiter}, timeout=timeout)
        finally:
            waiter.cancel()
        return bool(done)


class _WorkerCancelled(BaseException):
    """Ends a worker task; psycopg_pool catches `CancelledError` there."""


class _OneAttempt:
    """A back-off policy for psycopg_pool: never retry behind the back of the clients.

    The next query makes the next attempt, so a server that comes back is used at once.
    """

    delay = 0.0

    def time_to_give_up(self, now: float) -> bool:
        return True

    def update_delay(self, now: float) -> None:
        raise AssertionError("psycopg_pool retries a connection it was told to give up")
