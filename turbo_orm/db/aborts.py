"""What becomes of a connection whose use is interrupted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from turbo_orm.db.connections import close_now
from turbo_orm.db.results import CONNECTION_OK, COPYING, PIPELINE_SYNC, connection_lost, copy_refused

if TYPE_CHECKING:
    from turbo_orm.db.channel import Channel

__all__ = ["abort", "break_off"]

_ACTIVE = int(TransactionStatus.ACTIVE)
_NO_PIPELINE = int(PipelineStatus.OFF)


async def abort(channel: Channel, exc: BaseException) -> None:
    """Bring *channel*'s connection back to order after *exc* came while it was in use, or close it."""
    conn, pgconn, loop = channel.conn, channel.pgconn, channel.loop
    if not isinstance(exc, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
        # It is lost; or nothing can be awaited any more. Who waited does not.
        channel.stop_waiting()
        close_now(conn)
        return
    if pgconn.transaction_status == _ACTIVE:
        await conn.stop(lambda seconds: _drain(channel, loop.time() + seconds))
    channel.stop_waiting()


def break_off(channel: Channel, error: BaseException) -> None:
    """Close *channel*'s connection, which did not take commands as a whole.

    Raises what libpq says of it, if it is lost: psycopg takes whatever fails for a wrong mode.
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
