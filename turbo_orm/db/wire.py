"""One statement at a time on one connection, on psycopg's `PGconn` instead of its cursor.

A cursor's work is spread over generators, a waiting function that registers the socket with the
event loop for each statement, and a conversion of each text. Here the socket stays registered,
texts are converted once, and every statement is prepared from its first use on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import Buffer
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from turbo_orm.db import pipeline
from turbo_orm.db.aborts import abort
from turbo_orm.db.adaptation import WireContext, session_settings
from turbo_orm.db.channel import Channel, _Future
from turbo_orm.db.connections import TurboConnection, close_now
from turbo_orm.db.failover import note_error
from turbo_orm.db.late import MIN_ROWS, LateLoading
from turbo_orm.db.prepared import Key, Prepared, is_stale, is_unknown
from turbo_orm.db.results import (
    COMMAND_OK,
    CONNECTION_OK,
    EMPTY_QUERY,
    FATAL_ERROR,
    PIPELINE_ABORTED,
    TUPLES_OK,
)
from turbo_orm.db.statements import Statement

__all__ = ["BoundParams", "Result", "Wire", "wire_of"]

_IDLE = int(TransactionStatus.IDLE)

logger = logging.getLogger(__name__)


class Result(NamedTuple):
    """What a statement returned."""

    #: None if it was no query.
    rows: list[tuple[Any, ...]] | None
    #: How many rows it returned or changed; -1 if the server does not say.
    rowcount: int


_new_result: Callable[[type[Result], tuple[Any, ...]], Result] = tuple.__new__


class BoundParams(NamedTuple):
    """A statement's parameters as they are sent."""

    key: Key
    values: Sequence[Buffer | None] | None
    formats: Sequence[int] | None


class Wire(Channel):
    """Statements on one `TurboConnection`; see `wire_of()`.

    It takes the connection's lock for each statement, as cursors do, and like them it begins a
    transaction first where the connection is not in autocommit mode. Errors are psycopg's. A
    statement interrupted by a cancellation is cancelled on the server too, and either the
    connection is ready for the next one then, or it is closed; what has become of the statement
    and of the transaction it was in is as unknown as after any interruption.
    """

    __slots__ = ("_changes", "_empty", "_late", "_local", "_settings", "_tx", "prepared")

    def __init__(self, conn: TurboConnection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(conn, loop)
        self.prepared = Prepared()
        # To let go of the last result, and its rows with it.
        self._empty = self.pgconn.make_empty_result(TUPLES_OK)
        self._late: LateLoading | None = None
        #: Somebody else has used the connection in its transaction: some settings may end with that.
        self._local = False
        self._renew_adapters()

    def __repr__(self) -> str:
        return f"<Wire {'attached' if self.attached else 'detached'} {self.conn!r}>"

    async def run(self, statement: Statement, params: Sequence[Any]) -> Result:
        """Execute *statement* and return everything it returned."""
        lock: Any = self.conn.lock
        if lock._locked or lock._waiters:
            await lock.acquire()
        else:
            lock._locked = True  # what acquire() does to a free lock, without a coroutine
        try:
            return await self.run_alone(statement, params)
        finally:
            lock._locked = False  # and release()
            if lock._waiters:
                lock._wake_up_first()

    async def run_alone(self, statement: Statement, params: Sequence[Any], *, again: bool = False) -> Result:
        """Do what `run()` does, for who holds the connection's lock, or is the only one who could.

        *again* says that it was done before, and failed by how the statement was prepared.
        """
        begun = False
        try:
            key = self._start(statement, params)
            if key is None:
                return await pipeline.run_first(self, statement, params)
            pgconn = self.pgconn
            if self.syncs_due:
                begun = True
                result = pipeline.result_after_begin(self, await self.fetch_after_begin())
            elif pgconn.flush():
                result = await self.fetch()
            else:
                # What fetch() does, inline.
                try:
                    waiter: asyncio.Future[None] = _Future(loop=self.loop)
                    self._waiter = waiter
                    await waiter
                    first, end = pgconn.get_result(), None
                    if first is None or pgconn.is_busy() or (end := pgconn.get_result()) is not None:
                        first = await self._read_end(first, end)
                    result = first
                except BaseException as exc:
                    await abort(self, exc)
                    raise
                if (notification := pgconn.notifies()) is not None:
                    self._pass_on(notification)
            return self.result_of(result, key)
        except psycopg.Error as error:
            if not self._may_repeat(error, begun=begun) or again:
                raise
        if begun:
            await pipeline.execute(self, b"ROLLBACK")
        return await self.run_alone(statement, params, again=True)

    async def command(self, text: bytes) -> None:
        """Execute SQL without parameters or rows, as ``COMMIT``, without preparing it."""
        lock: Any = self.conn.lock
        if lock._locked or lock._waiters:
            await lock.acquire()
        else:
            lock._locked = True
        try:
            if not self.attached:
                self.attach()
            self.pgconn.send_query(text)
            result = await self.fetch()
            if self._local and self.pgconn.status == CONNECTION_OK:
                self._follow_settings()
            if result.status == FATAL_ERROR:
                raise self.error_of(result)
        finally:
            lock._locked = False
            if lock._waiters:
                lock._wake_up_first()

    async def run_many(self, statements: pipeline.Statements) -> list[Result | Exception]:
        """Execute several statements in one round trip; errors stand in the place of results.

        Outside a transaction, each of them is one of its own.
        """
        async with self.conn.lock:
            return await pipeline.run_many(self, statements)

    def _may_repeat(self, error: psycopg.Error, *, begun: bool) -> bool:
        """Whether *error* was due to how the statement was prepared; close a connection that is lost.

        *begun* says that the statement was sent with the BEGIN of its transaction.
        """
        if self.pgconn.status != CONNECTION_OK:
            close_now(self.conn)
        return is_stale(error) and (begun or self.pgconn.transaction_status == _IDLE)

    def _start(self, statement: Statement, params: Sequence[Any]) -> Key | None:
        """Queue *statement*, after a BEGIN where one is due; None if something else must come first.

        With the BEGIN there is a synchronisation point to wait for.
        """
        conn, pgconn = self.conn, self.pgconn
        if not self.attached:
            self.attach()
        # What bind() does, inline.
        adapters: Any = conn._adapters
        if adapters.changes != self._changes:
            self._renew_adapters()
        key: Key
        values: Sequence[Buffer | None] | None
        if params:
            tx = self._tx
            values = tx.dump_sequence(params, statement.automatic)
            key = statement, tx.types
            formats = tx.formats
        else:
            values = formats = None
            key = statement, None
        begins = not conn._autocommit and pgconn.transaction_status == _IDLE
        names = self.prepared.names
        name = names.get(key)
        if name is not None:
            names.move_to_end(key)
            if begins:
                pipeline.queue_after_begin(self, name, values, formats)
            else:
                pgconn.send_query_prepared(name, values, formats)
        elif begins or (conn.prepares and not statement.unnamed) or not statement.accepted(key[1]):
            return None
        else:
            pgconn.send_query_params(statement.text, values, key[1], formats)
        return key

    def bind(self, statement: Statement, params: Sequence[Any]) -> BoundParams:
        """Dump *params* as the connection's cursors would."""
        adapters: Any = self.conn._adapters
        if adapters.changes != self._changes:
            self._renew_adapters()
        if not params:
            return BoundParams((statement, None), None, None)
        tx = self._tx
        values = tx.dump_sequence(params, statement.automatic)
        return BoundParams((statement, tx.types), values, tx.formats)

    def result_of(self, result: PGresult, key: Key) -> Result:
        """Load the rows of *result*, or raise the error it is."""
        status = result.status
        if status == TUPLES_OK:
            count = result.ntuples
            if count >= MIN_ROWS and (late := key[0].late):
                if self._late is None:
                    self._late = LateLoading(self.conn, self._empty)
                texts = self._late.load(result, count, late)
                if texts is not None:
                    return _new_result(Result, (texts, count))
            tx = self._tx
            tx.set_pgresult(result)
            try:
                rows = tx.load_rows(0, count, tuple)
            finally:
                tx.set_pgresult(self._empty, set_loaders=False)
            return _new_result(Result, (rows, count))
        if status == COMMAND_OK:
            changed = result.command_tuples
            return _new_result(Result, (None, -1 if changed is None else changed))
        if status == EMPTY_QUERY:
            return Result(None, -1)
        raise self.error_of(result, key)

    def error_of(self, result: PGresult, key: Key | None = None) -> psycopg.Error:
        """Return the error that *result* is; note what it means for a statement prepared as *key*."""
        status = result.status
        if status == FATAL_ERROR:
            error: psycopg.Error = error_from_result(result, encoding=self.pgconn._encoding)
            note_error(self.conn, error)
            if is_unknown(error):
                self._note_other_session()
            elif key is not None and is_stale(error):
                pool: Any = getattr(self.conn, "_pool", None)
                if pool is None:
                    self.prepared.drop_all()
                else:
                    # A table was altered, and in a transaction each of its statements would fail once on each
                    # connection.
                    pool.unprepare()
            return error
        if status == PIPELINE_ABORTED:  # the server skipped it after an error, and says this of the next ones
            return psycopg.errors.InFailedSqlTransaction(
                "current transaction is aborted, commands ignored until end of transaction block"
            )
        return psycopg.InternalError(f"Unexpected result of a statement: {ExecStatus(status).name}.")

    def _note_other_session(self) -> None:
        """Draw conclusions from prepared statements that vanished."""
        self.prepared.forget_all()
        self.prepared.losses += 1
        if self.prepared.losses >= _LOSSES_MAX:
            pool: Any = getattr(self.conn, "_pool", None)
            for each in (self.conn, pool):
                if each is not None and getattr(each, "prepares", False):
                    each.prepares = False
            logger.warning(
                "Prepared statements of %r keep vanishing, as they do behind a pooler in transaction "
                "mode; statements are not prepared there from now on. Set prepare_threshold to None "
                "in the OPTIONS of the database to have it so from the beginning.",
                self.conn,
            )

    def _renew_adapters(self) -> None:
        adapters: Any = self.conn.adapters
        self._changes: int = adapters.changes
        self._settings = session_settings(self.pgconn)
        context: Any = WireContext(self.conn)
        self._tx = Transformer(context)
        self._late = None

    def attach(self) -> None:
        """Register the socket with the event loop, after psycopg has used it."""
        super().attach()
        self._follow_settings()

    def _follow_settings(self) -> None:
        """Adapt as it is set in the session, where that has changed."""
        self._local = self.pgconn.transaction_status != _IDLE
        if session_settings(self.pgconn) != self._settings:
            self._renew_adapters()


#: Times that prepared statements of a connection may vanish, before none are prepared.
_LOSSES_MAX = 3


def wire_of(conn: AsyncConnection[Any], loop: asyncio.AbstractEventLoop | None = None) -> Wire | None:
    """Return the wire of *conn*, which it keeps; None if only psycopg's cursors can use it.

    So it is with connections which are not from our pools, or from one that is not ``wired``, in
    psycopg's pipeline mode, with a client encoding other than UTF-8, and on Windows' proactor event loop.
    *loop* is to be given where the event loop is hidden, in the bridge.
    """
    if not isinstance(conn, TurboConnection) or conn._pipeline is not None:
        return None
    wire = conn.wire
    if wire is None and not conn.closed:
        loop = loop or asyncio.get_running_loop()
        if conn.wired and _has_readers(loop) and conn.pgconn._encoding == "utf-8":
            wire = conn.wire = Wire(conn, loop)
    return wire


def _has_readers(loop: asyncio.AbstractEventLoop) -> bool:
    return getattr(type(loop), "add_reader", None) is not asyncio.AbstractEventLoop.add_reader
