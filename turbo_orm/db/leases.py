"""Take an async connection out of a pool, and give it back clean or not at all."""

from __future__ import annotations

import asyncio
import select
import sys
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import ConnStatus, TransactionStatus

from turbo_orm.db._uncancellable import uncancellable
from turbo_orm.db.pools import Pool

__all__ = ["discard", "give_back", "lease"]

#: `asyncio.wait_for()`, with which psycopg_pool waits for a connection, lets a cancellation be
#: lost that comes together with the connection: https://github.com/python/cpython/issues/86296
_LOSES_CANCELLATION = sys.version_info < (3, 12)

#: Seconds to wait for the server to take note of a cancellation request.
_CANCEL_TIMEOUT = 2.0


async def lease(pool: Pool) -> AsyncConnection[Any]:
    """Return a connection of *pool*, waiting for one up to the pool's time-out (seconds).

    Raises `psycopg_pool.PoolTimeout`, `TooManyRequests` or the server's own error when there
    is no connection to be had.
    """
    if not pool._opened:
        await pool.open()
    while True:
        conn = await (_getconn_in_task(pool) if _LOSES_CANCELLATION and not pool._pool else pool.getconn())
        if not _hung_up(conn):
            return conn
        # The server ended this session while it lay idle; the pool discards it.
        conn.pgconn.finish()
        await uncancellable(pool.putconn(conn))


async def _getconn_in_task(pool: Pool) -> AsyncConnection[Any]:
    task = asyncio.ensure_future(pool.getconn())
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await uncancellable(_take_back(task, pool))
        raise
    return task.result()


async def _take_back(task: asyncio.Task[AsyncConnection[Any]], pool: Pool) -> None:
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None:
        await pool.putconn(task.result())


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
        pgconn.finish()
    else:
        # What `set_autocommit()` and its siblings would do, without their round trips
        # through the event loop: no statement is due on an idle connection.
        conn._autocommit = True
        conn._isolation_level = conn._read_only = conn._deferrable = None
        conn._begin_statement = b""
    if pool is not None:
        await uncancellable(pool.putconn(conn))


async def discard(conn: AsyncConnection[Any], pool: Pool | None) -> None:
    """Close *conn*, stopping first what the server still executes for it."""
    if conn.pgconn.transaction_status == TransactionStatus.ACTIVE:
        # Without this the server would go on until it next writes to the closed socket.
        with suppress(psycopg.Error):
            await conn.cancel_safe(timeout=_CANCEL_TIMEOUT)
    conn.pgconn.finish()
    if pool is not None:
        await pool.putconn(conn)


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
