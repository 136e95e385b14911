"""Statements of many tasks on a few connections: pipelined, each a transaction of its own.

Only for statements that leave nothing behind on their connection: reads in autocommit mode.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from turbo_orm.db.connections import TurboConnection, close_now
from turbo_orm.db.leases import abandon, discard, give_back, lease, put_idle, take_idle
from turbo_orm.db.pipeline import close_prepared
from turbo_orm.db.pools import Pool
from turbo_orm.db.prepared import Key, is_refusal, is_stale
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result, Wire, wire_of

__all__ = ["MultiplexOptions", "Multiplexer", "Take", "multiplexer_of"]

_FAILED = {ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED}
_PIPELINE_SYNC = int(ExecStatus.PIPELINE_SYNC)
_UNKNOWN_STATEMENT = b"26000"
_COPYING = {ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH}
_OK = int(ConnStatus.OK)

#: Seconds the server has to stop everything that was sent on one connection.
_STOP_TIMEOUT = 2.0
#: Seconds after which it is asked to stop the next statement.
_STOP_INTERVAL = 0.02

#: Leases a connection that is ready for statements.
Take = Callable[[], Awaitable[AsyncConnection[Any]]]


@dataclass(frozen=True)
class MultiplexOptions:
    """How many connections share the statements, and when one of them is too busy."""

    #: Connections to share; they are taken from the pool one by one, as they are needed, but for its
    #: last one.
    connections: int = 4
    #: Seconds without an answer after which, or after twice as many, later statements go elsewhere.
    slow_after: float = 0.02
    #: Statements under way on one connection at most.
    in_flight: int = 250
    #: Statements under way on each connection before one more is taken.
    grow_at: int = 4


@dataclass(slots=True, eq=False)
class _Pending:
    """A statement that was sent."""

    answer: asyncio.Future[list[PGresult]]
    key: Key
    #: What it is prepared as, if that was sent before it.
    name: bytes | None
    #: It uses what another one under way prepares.
    relies: bool
    results: list[PGresult]


class _Line(Wire):
    """A connection in pipeline mode, for as long as it lives."""

    __slots__ = ("_answered", "_flushing", "_forget", "_slow_after", "_watching", "fresh", "pending", "slow")

    def __init__(
        self,
        conn: TurboConnection,
        loop: asyncio.AbstractEventLoop,
        slow_after: float,
        forget: Callable[[_Line], None],
    ) -> None:
        super().__init__(conn, loop)
        self._forget = forget
        self.pending: deque[_Pending] = deque()
        #: Prepared in pipelines that were not answered yet.
        self.fresh: dict[Key, bytes] = {}
        #: The server has been silent for long.
        self.slow = False
        self._slow_after = slow_after
        self._answered = 0
        self._watching = False
        self._flushing = False

    def send(self, statement: Statement, params: Sequence[Any]) -> _Pending:
        """Queue a statement; all that is queued in one turn of the event loop leaves together."""
        if not self.attached:
            self.attach()
        key, values, formats = self.bind(statement, params)
        known = self.prepared.names.get(key)
        relies = known is None and key in self.fresh
        known = self.fresh[key] if relies else known
        name = None
        pgconn = self.pgconn
        try:
            if known is not None:
                pgconn.send_query_prepared(known, values, formats)
            elif self.conn.prepares and not statement.unnamed:
                name = self.fresh[key] = self.prepared.new_name()
                pgconn.send_prepare(name, statement.text, key[1])
                pgconn.send_query_prepared(name, values, formats)
            else:
                pgconn.send_query_params(statement.text, values, key[1], formats)
            pending = self._sent(key, name, relies)
            while self.prepared.unneeded:
                close_prepared(pgconn, self.prepared.unneeded.pop())
                self._sent(key, None, False).answer.cancel()
        except psycopg.Error as error:
            raise self._broken(error) from None
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return pending

    def _sent(self, key: Key, name: bytes | None, relies: bool) -> _Pending:
        self.pgconn.pipeline_sync()
        if not self._watching:
            self._watching = True
            self._loop.call_later(self._slow_after, self._watch, self._answered)
        pending = _Pending(self._loop.create_future(), key, name, relies, [])
        self.pending.append(pending)
        return pending

    def _watch(self, answered: int) -> None:
        if not self.pending:
            self._watching = False
            return
        if answered == self._answered:
            # Maybe it is the event loop that was busy: what has arrived is read before this.
            self._loop.call_soon(self._note_slow, answered)
        self._loop.call_later(self._slow_after, self._watch, self._answered)

    def _note_slow(self, answered: int) -> None:
        if self.pending and answered == self._answered:
            self.slow = True
            self.stop_if_unwanted()

    def stop_if_unwanted(self) -> None:
        """Have the server stop if nobody waits any more for what may take for ever."""
        if self.slow and all(each.answer.done() for each in self.pending):
            self._forget(self)

    def _flush(self) -> None:
        try:
            if self.pgconn.flush():
                # libpq reads while it waits to write; what it has read must not lie there.
                self._loop.add_writer(self.socket, self._flush_again)
                return
        except psycopg.Error as error:
            self.lose(error)
        self._flushing = False

    def _flush_again(self) -> None:
        self._loop.remove_writer(self.socket)
        self.readable()
        if self.socket >= 0:
            self._flush()

    def readable(self) -> None:
        """Hand out what has arrived."""
        if not self.pending:
            self.detach()
            if self.pgconn.status != _OK:
                self.release()
            return
        try:
            self.pgconn.consume_input()
        except psycopg.Error as error:
            self._lose_unread(error)
            return
        try:
            self._hand_out()
        except psycopg.Error as error:
            self.lose(error)

    def _hand_out(self) -> None:
        pgconn, pending = self.pgconn, self.pending
        while pending and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                if pgconn.status != _OK:
                    raise psycopg.OperationalError("the connection is lost")
            elif result.status == _PIPELINE_SYNC:
                self._answered += 1
                self.slow = False
                self._finish(pending.popleft())
            elif result.status in _COPYING:
                raise psycopg.ProgrammingError("COPY can't be executed here: use copy() of a cursor.")
            else:
                pending[0].results.append(result)
        if (notification := pgconn.notifies()) is not None:
            self._pass_on(notification)

    def _finish(self, done: _Pending) -> None:
        key, name = done.key, done.name
        if name is not None:
            self.fresh.pop(key, None)
            if done.results and done.results[0].status not in _FAILED:
                self.prepared.add(key, name)
                key[0].note_accepted(key[1])
        if not done.answer.done():
            done.answer.set_result(done.results)

    def _broken(self, error: psycopg.Error) -> psycopg.Error:
        """Close the connection, which did not take a statement as a whole; return why."""
        if self.pgconn.status != _OK:
            # psycopg takes whatever fails for a wrong mode.
            error = psycopg.OperationalError(self.pgconn.get_error_message())
        self._lose_unread(error)
        return error

    def _lose_unread(self, error: psycopg.Error) -> None:
        """Do what `lose()` does, after looking at what has arrived: the server may have said why."""
        with suppress(psycopg.Error):
            self._hand_out()
        self.lose(error)

    def lose(self, error: psycopg.Error) -> None:
        """Fail what is under way with *error*, and close the connection."""
        lost, self.pending = self.pending, deque()
        close_now(self.conn)
        results = lost[0].results if lost else []
        while results and not results[-1].error_field(DiagnosticField.SQLSTATE):
            results.pop()  # libpq's
        for index, each in enumerate(lost):
            if each.answer.done():
                continue
            if index == 0 and results:
                each.answer.set_result(results)  # the server said why it hangs up
            else:
                # One exception for each: tracebacks grow where they are raised.
                each.answer.set_exception(type(error)(*error.args))

    def release(self) -> None:
        """Leave the socket for good."""
        super().release()
        if self.pending:
            self.lose(psycopg.OperationalError("the connection is closed"))

    def answer(self, pending: _Pending) -> Result:
        """Load what came back for *pending*, or raise it."""
        results = pending.answer.result()
        if pending.name is not None and results and results[0].status in _FAILED:
            error = self.error_of(results[0], pending.key)
            pending.key[0].refused = pending.key[0].refused or is_refusal(error)
            raise error
        last = results[-1]
        if pending.relies and last.error_field(DiagnosticField.SQLSTATE) == _UNKNOWN_STATEMENT:
            raise error_from_result(last)  # the server refused the other one
        return self.result_of(last, pending.key)


class Multiplexer:
    """Shares some connections of *pool* among all tasks; see `multiplexer_of()`."""

    def __init__(
        self,
        pool: Pool,
        loop: asyncio.AbstractEventLoop,
        options: MultiplexOptions,
        take: Take | None = None,
    ) -> None:
        self.options = options
        self._take = take or self._lease
        self._pool = pool
        self._loop = loop
        # They stay with us: without another connection nothing else could be executed any more.
        self._lines_max = min(options.connections, pool.max_size - 1)
        self._lines: list[_Line] = []
        self._opening: set[asyncio.Future[None]] = set()
        self._stopping: dict[asyncio.Task[None], _Line] = {}

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
                line = await self._open()
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

    def _pick(self) -> _Line | None:
        """Return the line with the least to do; None if all are busy and there may be more."""
        best: _Line | None = None
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

    async def _lease(self) -> AsyncConnection[Any]:
        return take_idle(self._pool) or await lease(self._pool)

    async def _open(self) -> _Line:
        opening: asyncio.Future[None] = self._loop.create_future()
        self._opening.add(opening)
        try:
            conn: Any = await self._take()
        finally:
            self._opening.discard(opening)
            opening.set_result(None)
        former: Wire | None = conn.wire
        line = conn.wire = _Line(conn, self._loop, self.options.slow_after, self._forget)
        if former is not None:
            former.release()
            line.prepared = former.prepared
        line.pgconn.enter_pipeline_mode()
        line.attach()
        self._lines.append(line)
        return line

    def _forget(self, line: _Line) -> None:
        if line in self._lines:
            self._lines.remove(line)
            if line.pending and self._loop.is_running():
                task = self._loop.create_task(self._stop(line))
                self._stopping[task] = line
                task.add_done_callback(self._stopping.pop)
                task.add_done_callback(lambda _: close_now(line.conn))  # it may be cancelled
            else:
                abandon(line.conn, self._pool, self._loop)

    async def _stop(self, line: _Line) -> None:
        """Have the server stop one after the other what *line* has sent, and close it."""
        conn, until = line.conn, self._loop.time() + _STOP_TIMEOUT
        with suppress(psycopg.Error):
            while line.pending and self._loop.time() < until:
                await conn.cancel_safe(timeout=_STOP_TIMEOUT)
                await asyncio.sleep(_STOP_INTERVAL)
        await discard(conn, self._pool)

    async def _run_alone(self, statement: Statement, params: Sequence[Any]) -> Result:
        pool = self._pool
        conn = await self._take()
        try:
            wire = wire_of(conn)
            assert wire is not None
            return await wire.run(statement, params)
        finally:
            if not put_idle(conn, pool):
                await give_back(conn, pool)

    def close(self) -> None:
        """Close the shared connections; what is under way fails."""
        lines, self._lines = self._lines, []
        for line in (*lines, *self._stopping.values()):
            close_now(line.conn)


def multiplexer_of(
    pool: Pool,
    loop: asyncio.AbstractEventLoop,
    options: MultiplexOptions | None = None,
    take: Take | None = None,
) -> Multiplexer:
    """Return *pool*'s multiplexer, which is made with *options* when it is first asked for.

    *take* leases its connections; by default they are *pool*'s as they come.
    """
    found: Multiplexer | None = pool.multiplexer
    if found is None:
        found = pool.multiplexer = Multiplexer(pool, loop, options or MultiplexOptions(), take)
    return found
