"""Statements of many tasks on a few connections: pipelined, each a transaction of its own.

Only for statements that leave nothing behind on their connection: reads in autocommit mode.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection

from turbo_orm.conf import MultiplexOptions
from turbo_orm.db.connections import close_now
from turbo_orm.db.leases import abandon, discard, give_up, put_back
from turbo_orm.db.lines import Line
from turbo_orm.db.pools import Pool
from turbo_orm.db.prepared import is_stale
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result, Wire, wire_of

__all__ = ["Multiplexer", "Take"]

#: Seconds after which the server is asked to stop the next statement of those sent on one connection.
_STOP_INTERVAL = 0.02

#: Seconds for which, after the server has refused the pool a connection, no more are shared than were then.
_SCARCITY = 10.0

logger = logging.getLogger(__name__)

#: Leases a connection that is ready for statements.
Take = Callable[[], Awaitable[AsyncConnection[Any]]]


class Multiplexer:
    """Shares some connections of *pool* among all tasks, which *take* leases."""

    def __init__(
        self,
        pool: Pool,
        loop: asyncio.AbstractEventLoop,
        options: MultiplexOptions,
        take: Take,
    ) -> None:
        self.options = options
        self._take = take
        self._pool = pool
        self._loop = loop
        self._lines_max = 0
        #: Ends the time for which no more are shared.
        self._scarcity: asyncio.TimerHandle | None = None
        self._share_all()
        self._lines: list[Line] = []
        self._opening: set[asyncio.Future[None]] = set()
        self._ending: dict[asyncio.Task[None], Line] = {}

    async def run(self, statement: Statement, params: Sequence[Any]) -> Result:
        """Execute *statement* in autocommit mode and return everything it returned.

        A cancelled task does not wait for the answer; the server may be executing its statement
        still. Raises psycopg's errors.
        """
        try:
            return await self._run(statement, params)
        except psycopg.Error as error:
            if not is_stale(error):
                raise
        # The other connections may be in the same state; a wire gets over it by itself.
        return await self._run_alone(statement, params)

    async def _run(self, statement: Statement, params: Sequence[Any]) -> Result:
        line = self._pick()
        while line is None:
            if len(self._lines) + len(self._opening) < self._lines_max:
                line = await self._open() or self._pick()
            elif self._opening and not self._pool.exhausted():
                await asyncio.wait(self._opening, return_when=asyncio.FIRST_COMPLETED)
                line = self._pick()
            else:
                return await self._run_alone(statement, params)
        try:
            pending = line.send(statement, params)
        except psycopg.Error as error:
            if line.conn.closed:
                line.lose(error)
                self._forget(line)
            raise
        answer = pending.answer
        try:
            await answer
        except psycopg.Error:
            self._forget(line)
            raise
        except BaseException:
            if not self._loop.is_closed():
                if not answer.cancel() and not answer.cancelled():
                    answer.exception()  # it came together with the interruption, and is nobody's
                line.stop_if_unwanted()
            raise
        return line.answer(pending)

    def _pick(self) -> Line | None:
        """Return the line with the least to do; None if all are busy and there may be more."""
        best: Line | None = None
        least = self.options.in_flight
        for line in self._lines:
            waiting = len(line.pending)
            if waiting < least and not line.slow:
                best, least = line, waiting
        if best is None:
            return None
        if not least and (best.conn.closed or not best.attached or best.conn._expire_at <= monotonic()):
            self._forget(best)
            return self._pick()
        if (
            least >= self.options.grow_at
            and len(self._lines) + len(self._opening) < self._lines_max
            and not self._pool.exhausted()
        ):
            return None
        return best

    async def _open(self) -> Line | None:
        """Share one connection more; return None if that would be too many by now."""
        opening: asyncio.Future[None] = self._loop.create_future()
        self._opening.add(opening)
        try:
            conn: Any = await self._take_until(opening)
        finally:
            self._opening.discard(opening)
            if not opening.done():
                opening.set_result(None)
        if conn is None:
            return None
        if len(self._lines) >= self._lines_max:
            await put_back(conn, self._pool)
            return None
        former: Wire | None = conn.wire
        line = conn.wire = Line(conn, self._loop, self.options.slow_after, self._forget)
        if former is not None:
            former.release()
            line.prepared = former.prepared
        line.pgconn.enter_pipeline_mode()
        line.attach()
        self._lines.append(line)
        if self._pool.starves():  # since the server refused one more, this is what was waited for
            self.spare()
        return line

    async def _take_until(self, refused: asyncio.Future[None]) -> AsyncConnection[Any] | None:
        """Take a connection; None if that is *refused* first."""
        taking = asyncio.ensure_future(self._take())
        try:
            either: tuple[asyncio.Future[Any], ...] = (taking, refused)
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                return taking.result()
        except BaseException:
            give_up(taking, self._pool)
            raise
        give_up(taking, self._pool)
        return None

    def _forget(self, line: Line) -> None:
        if line in self._lines:
            self._lines.remove(line)
            if line.pending and self._loop.is_running():
                self._end(line, self._close(line))
            else:
                abandon(line.conn, self._pool, self._loop)

    def _end(self, line: Line, ending: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(ending)
        self._ending[task] = line
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        conn = self._ending.pop(task).conn
        if task.cancelled():
            close_now(conn)
        elif (error := task.exception()) is not None:
            logger.warning("Closing %r, which can't be shared any more: %r", conn, error)
            abandon(conn, self._pool, self._loop)

    def _share_all(self) -> None:
        # They stay with us: without another connection nothing else could be executed any more.
        self._lines_max = min(self.options.connections, self._pool.max_size - 1)

    def refused(self) -> None:
        """For a while share no more connections than are shared: the server has no more for the pool.

        Whoever waits for another one to share is sent to those.
        """
        self._lines_max = len(self._lines)
        if self._scarcity is not None:
            self._scarcity.cancel()
        self._scarcity = self._loop.call_later(_SCARCITY, self._share_all)
        while self._lines and self._opening:
            self._opening.pop().set_result(None)

    def kept(self) -> list[AsyncConnection[Any]]:
        """Return the connections that do not come back to the pool by themselves."""
        return [line.conn for line in self._lines]

    def spare(self) -> bool:
        """Give one connection to who waits for one, and for a while share no more than are left.

        For when the server has no more for the pool. Returns False if there is none to give.
        """
        living = [line for line in self._lines if not line.conn.closed]
        if not living:
            return False
        line = min(living, key=lambda line: (line.slow, len(line.pending)))
        self._lines.remove(line)
        self.refused()
        self._end(line, self._hand_back(line))
        return True

    async def _hand_back(self, line: Line) -> None:
        """Make *line*'s connection an ordinary one when all answers that are waited for are there."""
        if line.pending:
            await asyncio.wait([each.answer for each in line.pending])
        await self._stop(line)
        conn: Any = line.conn
        if conn.closed:
            await discard(conn, self._pool)
            return
        line.release()
        line.pgconn.exit_pipeline_mode()
        wire = conn.wire = Wire(conn, self._loop)
        wire.prepared = line.prepared
        await put_back(conn, self._pool)

    async def _close(self, line: Line) -> None:
        await self._stop(line)
        await discard(line.conn, self._pool)

    async def _stop(self, line: Line) -> None:
        """Have the server stop one after the other what *line* has sent, or close the connection."""

        async def ended(seconds: float) -> None:
            await asyncio.sleep(seconds)
            if line.pending:
                raise TimeoutError

        if line.pending:
            await line.conn.stop(ended, _STOP_INTERVAL)

    async def _run_alone(self, statement: Statement, params: Sequence[Any]) -> Result:
        conn = await self._take()
        try:
            wire = wire_of(conn)
            assert wire is not None
            return await wire.run(statement, params)
        finally:
            await put_back(conn, self._pool)

    def close(self) -> None:
        """Close the shared connections; what is under way fails."""
        lines, self._lines = self._lines, []
        for line in (*lines, *self._ending.values()):
            close_now(line.conn)
