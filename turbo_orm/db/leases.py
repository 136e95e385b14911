"""Take an async connection out of a pool, and give it back clean or not at all."""

from __future__ import annotations

import asyncio
import logging
import select
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg_pool.pool_async import AddConnection

from turbo_orm.db.background import keep_until_done
from turbo_orm.db.connections import READY, TurboConnection, close_now
from turbo_orm.db.pools import Pool
from turbo_orm.db.uncancellable import uncancellable

if TYPE_CHECKING:
    from turbo_orm.db.wire import Wire

__all__ = [
    "abandon",
    "discard",
    "give_back",
    "give_up",
    "lease",
    "put_back",
    "put_idle",
    "put_idle_again",
    "take_idle",
    "take_wire",
    "warm",
]

logger = logging.getLogger(__name__)

_IDLE = int(TransactionStatus.IDLE)

#: Seconds to wait for the server to take note of a cancellation request.
_CANCEL_TIMEOUT = 2.0


async def lease(pool: Pool) -> AsyncConnection[Any]:
    """Return a connection of *pool*, waiting for one up to the pool's time-out (seconds).

    Raises `psycopg_pool.PoolTimeout`, `TooManyRequests` or the server's own error when there
    is no connection to be had.
    """
    if not pool._opened:
        await pool.open()
    if pool.exhausted():
        return await _wait_for_idle(pool)
    while True:
        conn = await (pool.getconn() if pool._pool and pool._check is None else _getconn_in_task(pool))
        if not _hung_up(conn):
            return conn
        _lose(conn, pool)
        pool.taken -= 1  # the request goes on


async def warm(pool: Pool) -> None:
    """Open *pool* and connect up to its ``min_size``; wait until they are ready.

    Raises the server's error when it can't be reached.
    """
    await pool.open()
    if pool.warm_size:
        await give_back(await lease(pool), pool)
        await pool.fill()


def take_idle(pool: Pool) -> AsyncConnection[Any] | None:
    """Return an idle connection of *pool*, the one used last; None if `lease()` must be asked.

    That is so if there is none, if others wait for one already, or if the pool checks them.
    """
    idle = pool._pool
    if not idle or pool._waiting or pool._check is not None or pool._closed:
        return None
    while idle:
        conn: Any = idle.pop()
        if len(idle) < pool._nconns_min:
            pool._nconns_min = len(idle)
        wire = conn.__dict__.get("wire")
        if (wire is not None and wire.listening) or not _hung_up(conn):
            pool.taken += 1
            conn._pool = pool
            conn.lent = True
            return conn  # type: ignore[no-any-return]
        _lose(conn, pool)
    return None


def _lose(conn: Any, pool: Pool) -> None:
    """Close *conn*, whose session the server ended while it lay idle; the pool opens another."""
    close_now(conn)
    conn.lent = False
    pool._stats["connections_lost"] += 1
    pool.run_task(AddConnection(pool))


def take_wire(pool: Pool, ready: object) -> Wire | None:
    """Do what `take_idle()` does, sooner; return the wire of the connection, which is marked as *ready*.

    None, and nothing is taken, if the one used last is not, or if nobody listens to its socket. For
    pools that check no connections. (In a pool that is closed no connection has a wire.)
    """
    idle = pool._pool
    if not idle or pool._waiting:
        return None
    conn: Any = idle[-1]
    state = conn.__dict__
    wire: Wire | None = state.get("wire")
    if wire is None or not wire.attached or state.get(READY) != ready:
        return None
    idle.pop()
    left = len(idle)
    if left < pool._nconns_min:
        pool._nconns_min = left
    pool.taken += 1
    conn._pool = pool
    conn.lent = True
    return wire


def put_idle(conn: Any, pool: Pool) -> bool:
    """Put *conn* back into *pool* for its next user; False if it must be given to `give_back()`.

    That is so if somebody waits for it, if it is not idle, or if it or the pool is at its end.
    """
    if (
        (pool._waiting and not pool.waiters.have_their_turn())
        or pool._closed
        or pool._reset is not None
        or pool._pool_full_event is not None
        or conn._pool is not pool
        or conn._pipeline is not None
        or conn.pgconn.transaction_status != _IDLE
        or conn._expire_at <= monotonic()
        or conn._created_at <= pool._drained_at
    ):
        return False
    # What _renew() does, inline.
    conn._autocommit = True
    conn._isolation_level = conn._read_only = conn._deferrable = None
    conn._begin_statement = b""
    if pool.waiters.queue and pool.waiters.serve(conn):
        return True
    conn._pool = None
    conn.lent = False
    pool._pool.append(conn)
    return True


def put_idle_again(conn: Any, pool: Pool) -> bool:
    """Do what `put_idle()` does, sooner, with a connection that only the wire used since `take_idle()`.

    And in autocommit mode: it is as it was, but for what the server and the other tasks did to it.
    """
    if (
        pool._waiting
        or pool.waiters.queue
        or pool._closed
        or pool._reset is not None
        or pool._pool_full_event is not None
        or conn.pgconn.transaction_status != _IDLE
        or conn._expire_at <= monotonic()
        or conn._created_at <= pool._drained_at
    ):
        return put_idle(conn, pool)
    conn._pool = None
    conn.lent = False
    pool._pool.append(conn)
    return True


async def _wait_for_idle(pool: Pool) -> AsyncConnection[Any]:
    waiter = pool.waiters.add()
    try:
        return await waiter
    except BaseException as exc:
        pool._stats["requests_errors"] += 1
        if not waiter.cancel() and not waiter.cancelled() and waiter.exception() is None:
            # It came together with the interruption.
            if isinstance(exc, asyncio.CancelledError):
                await put_back(waiter.result(), pool)
            else:
                _put_away(pool, waiter)
        raise
    finally:
        pool.waiters.waited += monotonic() - waiter.since


def _renew(conn: AsyncConnection[Any]) -> None:
    # What `set_autocommit()` and its siblings would do, without their round trips through the
    # event loop: no statement is due on an idle connection.
    conn._autocommit = True
    conn._isolation_level = conn._read_only = conn._deferrable = None
    conn._begin_statement = b""


async def _getconn_in_task(pool: Pool) -> AsyncConnection[Any]:
    """Do what ``getconn()`` does, and lose no connection if this coroutine is interrupted meanwhile.

    psycopg_pool goes on to serve who was destroyed as it waited. And before Python 3.12 its
    `asyncio.wait_for()` lets a cancellation be lost that comes together with the connection:
    https://github.com/python/cpython/issues/86296
    """
    task = asyncio.ensure_future(pool.getconn())
    try:
        await asyncio.wait({task})
    except GeneratorExit:
        give_up(task, pool)
        raise
    except asyncio.CancelledError:
        task.cancel()
        await uncancellable(_take_back(task, pool))
        raise
    return task.result()


async def _take_back(task: asyncio.Task[AsyncConnection[Any]], pool: Pool) -> None:
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None:
        await pool.putconn(task.result())


def give_up(task: asyncio.Task[AsyncConnection[Any]], pool: Pool) -> None:
    """Cancel *task*, which leases a connection of *pool*; if it has one by then, it goes back."""
    if not task.get_loop().is_closed():
        task.add_done_callback(partial(_put_away, pool))
        task.cancel()


def _put_away(pool: Pool, taken: asyncio.Future[AsyncConnection[Any]]) -> None:
    if taken.cancelled() or taken.exception() is not None:
        return
    conn = taken.result()
    if not put_idle(conn, pool):
        abandon(conn, pool, taken.get_loop())


async def put_back(conn: AsyncConnection[Any], pool: Pool) -> None:
    """Do what `give_back()` does, without going through the pool where `put_idle()` is enough."""
    if not put_idle(conn, pool):
        await give_back(conn, pool)


async def give_back(conn: AsyncConnection[Any], pool: Pool | None, *, soiled: bool = False) -> None:
    """Return *conn* to *pool* so that its next user finds it as new.

    A connection in a transaction or a pipeline, or one the caller calls *soiled* (it left a
    server-side cursor open, say), is closed instead, and the pool replaces it. Without a pool
    the connection is closed. Can't be interrupted by a cancellation.
    """
    pgconn = conn.pgconn
    if (
        soiled
        or pool is None
        or conn._pipeline is not None
        or pgconn.transaction_status != TransactionStatus.IDLE
    ):
        if pgconn.transaction_status == TransactionStatus.INTRANS:
            # No error led here, and none tells that what was written is lost.
            logger.warning("Closing %r, which was left in a transaction: that is rolled back", conn)
        close_now(conn)
    else:
        _renew(conn)
    if pool is not None:
        await uncancellable(pool.putconn(conn))


async def discard(conn: AsyncConnection[Any], pool: Pool | None) -> None:
    """Close *conn*, stopping first what the server still executes for it."""
    if conn.pgconn.transaction_status == TransactionStatus.ACTIVE:
        # Without this the server would go on until it next writes to the closed socket.
        if isinstance(conn, TurboConnection) and conn.pgconn.is_busy():  # and in no COPY
            await conn.stop_unread()
        else:
            with suppress(psycopg.Error):
                await conn.cancel_safe(timeout=_CANCEL_TIMEOUT)
    close_now(conn)
    if pool is not None:
        await pool.putconn(conn)


def abandon(conn: AsyncConnection[Any], pool: Pool | None, loop: asyncio.AbstractEventLoop) -> None:
    """Close *conn* without awaiting: the loop does it when it has time, or at the loop's end."""
    if not loop.is_running() or (pool is not None and pool._closed):
        close_now(conn)
        return
    conn.lent = False  # type: ignore[attr-defined]  # nobody gives it back to a pool that closes
    task = loop.create_task(discard(conn, pool))
    keep_until_done(task)
    # asyncio.run() cancels all tasks, maybe before they begin.
    task.add_done_callback(lambda _: close_now(conn))


def _hung_up(conn: AsyncConnection[Any]) -> bool:
    """Whether the server closed *conn* while it was idle: its socket is at end of file.

    Notices and notifications make a socket readable too, and are read on the way.
    """
    pgconn = conn.pgconn
    try:
        while _readable(pgconn.socket):
            pgconn.consume_input()
            if pgconn.status != ConnStatus.OK:
                return True
    except (psycopg.Error, OSError):
        return True
    return False


if hasattr(select, "poll"):

    def _readable(fd: int) -> bool:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(0))

else:  # Windows

    def _readable(fd: int) -> bool:
        return bool(select.select([fd], [], [], 0)[0])
