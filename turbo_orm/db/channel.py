"""A connection's socket in the event loop, and the results that come out of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate
from typing import Any

import psycopg
from psycopg.pq.abc import PGresult

from turbo_orm.db.aborts import abort
from turbo_orm.db.connections import TurboConnection, close_now
from turbo_orm.db.results import (
    COMMAND_OK,
    CONNECTION_OK,
    COPYING,
    FATAL_ERROR,
    PIPELINE_SYNC,
    TUPLES_OK,
    connection_lost,
    copy_refused,
)
from turbo_orm.db.watchdog import look_after

__all__ = ["Channel"]

#: What the commands of `Channel.fetch_after_begin()` end with if all is well.
_BEGIN_AND_STATEMENT = (frozenset({COMMAND_OK}), frozenset({COMMAND_OK, TUPLES_OK}))

_Future = asyncio.Future


class Channel:
    """Sends what libpq has queued and reads what comes back, one user at a time.

    The socket stays registered with the event loop between statements.
    """

    __slots__ = (
        "__weakref__",
        "_cursor_waiter",
        "_sending",
        "_waiter",
        "attached",
        "conn",
        "listening",
        "loop",
        "pgconn",
        "socket",
        "syncs_due",
    )

    def __init__(self, conn: TurboConnection, loop: asyncio.AbstractEventLoop) -> None:
        self.conn = conn
        self.pgconn = conn.pgconn
        #: The socket is registered with the event loop, and nothing has arrived since the last
        #: statement: an idle connection is alive.
        self.listening = False
        #: `listening`, and only the wire has used the connection since it was registered: the settings of
        #: its session are what they were.
        self.attached = False
        #: How many synchronisation points have been sent and not been answered (pipeline mode).
        self.syncs_due = 0
        self.loop = loop
        #: As the event loop knows it, -1 while it does not.
        self.socket = -1
        self._waiter: asyncio.Future[None] | None = None
        #: Waits for the socket, and reads it itself; see `cursors.serve()`.
        self._cursor_waiter: asyncio.Future[None] | None = None
        self._sending = False
        look_after(self, loop)

    # -- registration -------------------------------------------------------------------------

    def attach(self) -> None:
        """Register the socket with the event loop, after psycopg has used it."""
        self.conn._check_connection_ok()
        if not self.listening:
            self._register()
        self.attached = True

    def _register(self) -> None:
        if self.socket < 0:
            # libpq closes its socket whenever the connection breaks. Event loops take that ill
            # of one they watch, and of the next one that gets its number: they get our own.
            try:
                self.socket = _duplicate(self.pgconn.socket)
            except OSError as exc:  # no more of them allowed
                raise psycopg.OperationalError(f"The socket can't be duplicated: {exc}.") from exc
        reader: Callable[[], object] = self.readable
        if hasattr(self.loop, "_nest_patched"):
            # By nest_asyncio: the task that goes on in the reader may run the loop, and a callback of the
            # loop can't be called again while it runs.
            reader = partial(self.loop.call_soon, reader)
        self.loop.add_reader(self.socket, reader)
        self.listening = True

    def detach(self) -> None:
        """Leave the socket to psycopg, until the next statement."""
        self.attached = False
        if self.listening:
            self.listening = False
            if not self.loop.is_closed():
                self.loop.remove_reader(self.socket)

    def release(self) -> None:
        """Leave the socket for good: the connection is about to be closed, or is."""
        self.detach()
        socket, self.socket = self.socket, -1
        if socket >= 0:
            _close(socket)
        for waiter in (self._waiter, self._cursor_waiter):
            # Nobody could be woken in a loop that is closed.
            if waiter is not None and not waiter.done() and not self.loop.is_closed():
                waiter.set_exception(psycopg.OperationalError("the connection is closed"))
        self._waiter = self._cursor_waiter = None

    def __del__(self) -> None:
        if self.socket >= 0:
            _close(self.socket)

    def stop_waiting(self) -> None:
        """Let what arrives wake nobody."""
        self._waiter = None

    def readable(self) -> None:
        """Read what has arrived, and wake whoever waits for it."""
        waiter = self._waiter
        if waiter is None:
            waiter, self._cursor_waiter = self._cursor_waiter, None
            if waiter is not None:
                _wake(waiter)
                return
            # Nobody waits: the server hangs up, or sends a notice or notification, or the rest of
            # a result that is about to be read. Whoever uses the connection next will read it.
            self.detach()
            if self.pgconn.status != CONNECTION_OK:
                self.release()  # somebody closed it
            return
        pgconn = self.pgconn
        try:
            pgconn.consume_input()
            if pgconn.is_busy() or self._sending:
                return
        except Exception as failure:
            self.detach()
            self._waiter = None
            if not waiter.done():
                waiter.set_exception(failure)
            return
        self._waiter = None
        _wake(waiter)

    # -- results ------------------------------------------------------------------------------

    async def fetch(self) -> PGresult:
        """Send the one statement there is, and return its result, which may be an error."""
        pgconn = self.pgconn
        try:
            if pgconn.flush():
                await self.send_rest()
                await self.ready()
            else:
                # What _wait() does, without a coroutine for it.
                waiter: asyncio.Future[None] = _Future(loop=self.loop)
                self._waiter = waiter
                await waiter
            result = pgconn.get_result()
            # Mostly its end has come with it. (COPY has none: its result would be there again.)
            end = None
            if result is None or pgconn.is_busy() or (end := pgconn.get_result()) is not None:
                result = await self._read_end(result, end)
        except BaseException as exc:
            await abort(self, exc)
            raise
        if (notification := pgconn.notifies()) is not None:
            self._pass_on(notification)
        return result

    async def _read_end(self, result: PGresult | None, following: PGresult | None) -> PGresult:
        """Return what *result* is in the end: its transaction may fail when it is over."""
        pgconn = self.pgconn
        if result is None:
            raise connection_lost()
        if result.status in COPYING:
            raise copy_refused()  # there would be no end
        try:
            while True:
                if following is not None and following.status == FATAL_ERROR:
                    result = following
                if pgconn.is_busy():
                    await self.ready()
                following = pgconn.get_result()
                if following is None:
                    return result
        except psycopg.OperationalError:
            # The server says why it hangs up, and does.
            if result.status != FATAL_ERROR:
                raise
            close_now(self.conn)
            return result

    async def fetch_after_begin(self) -> list[PGresult]:
        """Do what ``collect((2,))`` does, in fewer steps where everything arrives at once and is well."""
        pgconn = self.pgconn
        results: list[PGresult] = []
        try:
            if not pgconn.flush():
                waiter: asyncio.Future[None] = _Future(loop=self.loop)
                self._waiter = waiter
                await waiter
                for expected in _BEGIN_AND_STATEMENT:
                    result = pgconn.get_result()
                    if result is None:
                        break
                    results.append(result)
                    if result.status not in expected or pgconn.get_result() is not None or pgconn.is_busy():
                        break
                else:
                    result = pgconn.get_result()
                    if result is not None and result.status == PIPELINE_SYNC:
                        self.syncs_due -= 1
                        pgconn.exit_pipeline_mode()
                        if (notification := pgconn.notifies()) is not None:
                            self._pass_on(notification)
                        return results
                    if result is not None:
                        results[-1] = result
        except BaseException as exc:
            await abort(self, exc)
            raise
        return await self.collect((2,), results)

    async def collect(  # noqa: C901 - one call for each result is enough
        self, commands: Iterable[int], results: list[PGresult] | None = None
    ) -> list[PGresult]:
        """Send what is queued in pipeline mode, and return one result for each command.

        *commands* is how many there are before each synchronisation point; of the first ones, the
        *results* may be there already. Where a transaction fails as it ends there, that is the result
        of its last command. The connection is in normal mode afterwards; or closed, if there are less
        results.
        """
        pgconn = self.pgconn
        results = [] if results is None else results
        ends = accumulate(commands)
        end = next(ends, 0)
        try:
            if pgconn.flush():
                await self.send_rest()
            while self.syncs_due:
                if pgconn.is_busy():
                    await self._wait(None)
                    continue
                result = pgconn.get_result()
                if result is None:
                    if pgconn.status != CONNECTION_OK:
                        raise connection_lost()
                    continue
                status = result.status
                if status == PIPELINE_SYNC:
                    self.syncs_due -= 1
                    end = next(ends, 0)
                elif status in COPYING:
                    raise copy_refused()
                elif results and len(results) == end:
                    results[-1] = result
                else:
                    results.append(result)
            pgconn.exit_pipeline_mode()
        except psycopg.OperationalError:
            close_now(self.conn)
            # The server may have said why it hangs up.
            if not any(result.status == FATAL_ERROR for result in results):
                raise
            return results
        except BaseException as exc:
            await abort(self, exc)
            raise
        if (notification := pgconn.notifies()) is not None:
            self._pass_on(notification)
        return results

    def _pass_on(self, notification: Any) -> None:
        pgconn = self.pgconn
        while notification is not None:
            if pgconn.notify_handler is not None:
                pgconn.notify_handler(notification)
            notification = pgconn.notifies()

    async def ready(self, deadline: float | None = None) -> None:
        """Wait until the next result can be had without waiting.

        Raises `TimeoutError` at *deadline* (the event loop's time).
        """
        while self.pgconn.is_busy():
            await self._wait(deadline)

    async def send_rest(self, deadline: float | None = None) -> None:
        """Wait until all is sent that did not fit into the socket, reading what arrives meanwhile.

        Otherwise both sides could be waiting for the other one to read.
        """
        self._sending = True
        try:
            while self.pgconn.flush():
                if self.socket < 0:
                    self._register()
                self.loop.add_writer(self.socket, self._writable)
                try:
                    await self._wait(deadline)
                finally:
                    if self.socket >= 0:
                        self.loop.remove_writer(self.socket)
        finally:
            self._sending = False

    def _writable(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self, deadline: float | None) -> None:
        if not self.listening:
            self._register()
            self.attached = True
        self._waiter = waiter = self.loop.create_future()
        if deadline is None:
            await waiter
            return
        try:
            await asyncio.wait({waiter}, timeout=max(0.0, deadline - self.loop.time()))
        except BaseException:
            waiter.cancel()
            raise
        if not waiter.done():
            waiter.cancel()
            raise TimeoutError
        waiter.result()


def _wake(waiter: asyncio.Future[None]) -> None:
    """Have the task that waits for *waiter* go on at once, not in the event loop's next turn.

    For callbacks of the event loop, in which no task runs.
    """
    if waiter.done():
        return
    callbacks = waiter._callbacks
    if callbacks is None or len(callbacks) != 1:
        waiter.set_result(None)
        return
    ((wake_up, context),) = callbacks
    waiter.remove_done_callback(wake_up)
    waiter.set_result(None)
    context.run(wake_up, waiter)


if sys.platform == "win32":  # where sockets have numbers of their own kind, and selectors bear it

    def _duplicate(fd: int) -> int:
        return fd

    def _close(fd: int) -> None:
        """Nothing: it is libpq's."""

else:
    _duplicate, _close = os.dup, os.close
