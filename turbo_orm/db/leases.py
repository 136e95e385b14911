"""Take an async connection out of a pool, and give it back clean or not at all."""

from __future__ import annotations

import select
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from turbo_orm.db._uncancellable import uncancellable
from turbo_orm.db.pools import Pool

__all__ = ["give_back", "lease"]


async def lease(pool: Pool) -> AsyncConnection[Any]:
    """Return a connection of *pool*, waiting for one up to the pool's time-out (seconds).

    Raises `psycopg_pool.PoolTimeout`, `TooManyRequests` or the server's own error when there
    is no connection to be had.
    """
    if not pool._opened:
        await pool.open()
    while True:
        conn = await pool.getconn()
        if not _hung_up(conn):
            return conn
        # The server ended this session while it lay idle; the pool discards it.
        conn.pgconn.finish()
        await uncancellable(pool.putconn(conn))


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


def _hung_up(conn: AsyncConnection[Any]) -> bool:
    """Whether the server closed *conn* while it was idle: a readable socket at end of file."""
    pgconn = conn.pgconn
    try:
        readable = _poll(pgconn.socket)
        if readable:
            pgconn.consume_input()
            return pgconn.status != 0
    except Exception:  # psycopg.OperationalError, or OSError from the socket
        return True
    return False


if hasattr(select, "poll"):

    def _poll(fd: int) -> bool:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(0))

else:  # Windows

    def _poll(fd: int) -> bool:
        return bool(select.select([fd], [], [], 0)[0])
