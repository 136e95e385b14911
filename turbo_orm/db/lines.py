"""One connection whose statements are many tasks': all that are under way are in one pipeline."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

from turbo_orm.db.connections import TurboConnection, close_now
from turbo_orm.db.pipeline import close_prepared, queue_statement
from turbo_orm.db.prepared import Key, note_refusal
from turbo_orm.db.results import CONNECTION_OK, COPYING, FAILED, PIPELINE_SYNC, connection_lost, copy_refused
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result, Wire

__all__ = ["Line", "Pending"]

_UNKNOWN_STATEMENT = b"26000"


@dataclass(slots=True, eq=False)
class Pending:
    """A statement that was sent."""

    answer: asyncio.Future[list[PGresult]]
    key: Key
    #: What it is prepared as, if that was sent before it.
    name: bytes | None
    #: It uses what another one under way prepares.
    relies: bool
    results: list[PGresult]


class Line(Wire):
    """A connection in pipeline mode, for as long as it lives."""

    __slots__ = ("_answered", "_flushing", "_forget", "_slow_after", "_watching", "fresh", "pending", "slow")

    def __init__(
        self,
        conn: TurboConnection,
        loop: asyncio.AbstractEventLoop,
        slow_after: float,
        forget: Callable[[Line], None],
    ) -> None:
        super().__init__(conn, loop)
        self._forget = forget
        self.pending: deque[Pending] = deque()
        #: Prepared in pipelines that were not answered yet.
        self.fresh: dict[Key, bytes] = {}
        #: The server has been silent for long.
        self.slow = False
        self._slow_after = slow_after
        self._answered = 0
        self._watching = False
        self._flushing = False

    def send(self, statement: Statement, params: Sequence[Any]) -> Pending:
        """Queue a statement; all that is queued in one turn of the event loop leaves together."""
        if not self.attached:
            self.attach()
        bound = self.bind(statement, params)
        key = bound.key
        relies = key in self.fresh
        try:
            pending = self._sent(key, queue_statement(self, bound, self.fresh), relies)
            while self.prepared.unneeded:
                close_prepared(self.pgconn, self.prepared.unneeded.pop())
                self._sent(key, None, False).answer.cancel()
        except psycopg.Error as error:
            raise self._broken(error) from None
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)
        return pending

    def _sent(self, key: Key, name: bytes | None, relies: bool) -> Pending:
        self.pgconn.pipeline_sync()
        if not self._watching:
            self._watching = True
            self.loop.call_later(self._slow_after, self._watch, self._answered)
        pending = Pending(self.loop.create_future(), key, name, relies, [])
        self.pending.append(pending)
        return pending

    def _watch(self, answered: int) -> None:
        if not self.pending:
            self._watching = False
            return
        if answered == self._answered:
            # Maybe it is the event loop that was busy: what has arrived is read before this.
            self.loop.call_soon(self._note_slow, answered)
        self.loop.call_later(self._slow_after, self._watch, self._answered)

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
                self.loop.add_writer(self.socket, self._flush_again)
                return
        except psycopg.Error as error:
            self.lose(error)
        self._flushing = False

    def _flush_again(self) -> None:
        self.loop.remove_writer(self.socket)
        self.readable()
        if self.socket >= 0:
            self._flush()

    def readable(self) -> None:
        """Hand out what has arrived."""
        if not self.pending:
            self.detach()
            if self.pgconn.status != CONNECTION_OK:
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
                if pgconn.status != CONNECTION_OK:
                    raise connection_lost()
            elif result.status == PIPELINE_SYNC:
                self._answered += 1
                self.slow = False
                self._finish(pending.popleft())
            elif result.status in COPYING:
                raise copy_refused()
            else:
                pending[0].results.append(result)
        if (notification := pgconn.notifies()) is not None:
            self._pass_on(notification)

    def _finish(self, done: Pending) -> None:
        key, name = done.key, done.name
        if name is not None:
            self.fresh.pop(key, None)
            if done.results and done.results[0].status not in FAILED:
                self.prepared.add(key, name)
                key[0].note_accepted(key[1])
        if not done.answer.done():
            done.answer.set_result(done.results)

    def _broken(self, error: psycopg.Error) -> psycopg.Error:
        """Close the connection, which did not take a statement as a whole; return why."""
        if self.pgconn.status != CONNECTION_OK:
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
        if self.pending and not self.loop.is_closed():
            self.lose(psycopg.OperationalError("the connection is closed"))

    def answer(self, pending: Pending) -> Result:
        """Load what came back for *pending*, or raise it."""
        results = pending.answer.result()
        if pending.name is not None and results and results[0].status in FAILED:
            error = self.error_of(results[0], pending.key)
            note_refusal(pending.key[0], error)
            raise error
        last = results[-1]
        if pending.relies and last.error_field(DiagnosticField.SQLSTATE) == _UNKNOWN_STATEMENT:
            raise error_from_result(last)  # the server refused the other one
        return self.result_of(last, pending.key)
