"""Bring a connection back to order, or close it, when what used it is interrupted or fails."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg import generators, waiting
from psycopg._capabilities import capabilities
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGcancelConn

from turbo_orm.db.background import keep_until_done
from turbo_orm.db.connections import close_now
from turbo_orm.db.results import CONNECTION_OK, COPYING, PIPELINE_SYNC, connection_lost, copy_refused
from turbo_orm.db.uncancellable import uncancellable

if TYPE_CHECKING:
    from turbo_orm.db.channel import Channel

__all__ = ["abort", "break_off"]

_ACTIVE = int(TransactionStatus.ACTIVE)
_NO_PIPELINE = int(PipelineStatus.OFF)

#: Seconds before each request of those which nobody waits for: the first may come before the statement does.
_REQUESTS_AFTER = (0.0, 0.5)
#: Seconds that one of them has.
_REQUEST_TIMEOUT = 5.0


async def abort(channel: Channel, exc: BaseException) -> None:
    """Bring *channel*'s connection back to order after *exc* came while it was in use, or close it."""
    conn, pgconn, loop = channel.conn, channel.pgconn, channel.loop
    if not isinstance(exc, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
        # The connection is lost; or this coroutine is destroyed, and can await nothing any more.
        channel.stop_waiting()
        if pgconn.transaction_status == _ACTIVE and loop.is_running() and capabilities.has_cancel_safe():
            # The server would go on until it next writes to the closed socket.
            requests = [pgconn.cancel_conn() for _ in _REQUESTS_AFTER]
            keep_until_done(loop.create_task(_request_to_stop(requests)))
        close_now(conn)
        return
    if pgconn.transaction_status == _ACTIVE:
        await conn.stop(lambda seconds: _drain(channel, loop.time() + seconds))
    channel.stop_waiting()


async def _request_to_stop(requests: list[PGcancelConn]) -> None:
    for after, request in zip(_REQUESTS_AFTER, requests, strict=True):
        await asyncio.sleep(after)
        with suppress(psycopg.Error):  # there is nobody to tell
            request.start()
            asking = generators.cancel(request)
            await uncancellable(waiting.wait_conn_async(asking, interval=0.1, timeout=_REQUEST_TIMEOUT))


def break_off(channel: Channel, error: BaseException) -> None:
    """Close *channel*'s connection, where only some of the commands to be sent together could be queued.

    If that is because it is lost, raises what libpq says of it: psycopg's *error* speaks of a wrong mode.
    """
    pgconn = channel.pgconn
    lost = isinstance(error, psycopg.Error) and pgconn.status != CONNECTION_OK
    message = pgconn.get_error_message() if lost else ""
    close_now(channel.conn)
    if lost:
        raise psycopg.OperationalError(message) from None


async def _drain(channel: Channel, deadline: float) -> None:
    pgconn = channel.pgconn
    if pgconn.flush():
        await channel.send_rest(deadline)
    pipelined = pgconn.pipeline_status != _NO_PIPELINE
    while channel.syncs_due or not pipelined:
        await channel.ready(deadline)
        result = pgconn.get_result()
        if result is None:
            # The end of one command's results.
            if not pipelined:
                return
            if pgconn.status != CONNECTION_OK:
                raise connection_lost()
        elif result.status == PIPELINE_SYNC:
            channel.syncs_due -= 1
        elif result.status in COPYING:
            raise copy_refused()  # there would be no end
    pgconn.exit_pipeline_mode()
