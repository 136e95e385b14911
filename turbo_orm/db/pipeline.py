"""Several commands in one round trip: preparing and executing, BEGIN and a statement, batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg._capabilities import capabilities
from psycopg.abc import Buffer
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from typing_extensions import Self

from turbo_orm.db.aborts import break_off
from turbo_orm.db.prepared import Key, is_refusal, is_stale, note_refusal
from turbo_orm.db.results import FAILED, connection_lost
from turbo_orm.db.statements import Statement

if TYPE_CHECKING:
    from turbo_orm.db.wire import BoundParams, Result, Wire

__all__ = [
    "Queue",
    "Statements",
    "close_prepared",
    "execute",
    "queue_after_begin",
    "queue_statement",
    "result_after_begin",
    "run_first",
    "run_many",
]

_GUARD = b"SAVEPOINT turbo_parse"
_END_OF_GUARD = b"RELEASE SAVEPOINT turbo_parse"

_CAN_CLOSE_PREPARED = capabilities.has_send_close_prepared()


async def run_first(wire: Wire, statement: Statement, params: Sequence[Any]) -> Result:
    """Execute a statement that is the first of a transaction, or not prepared yet.

    What the connection begins transactions with is sent before it where that is due. A stale
    prepared statement in that place is made anew.
    """
    begin = _begin_due(wire)
    if not wire.attached:
        wire.attach()
    try:
        return await _run_first(wire, statement, params, begin)
    except psycopg.Error as error:
        if begin is None or not is_stale(error):
            raise
    await execute(wire, b"ROLLBACK")
    return await _run_first(wire, statement, params, begin)


def _begin_due(wire: Wire) -> bytes | None:
    conn = wire.conn
    if conn._autocommit or wire.pgconn.transaction_status != TransactionStatus.IDLE:
        return None
    if conn._isolation_level is None is conn._read_only is conn._deferrable:
        return b"BEGIN"
    return conn._get_tx_start_command()


def queue_after_begin(
    wire: Wire, name: bytes, values: Sequence[Buffer | None] | None, formats: Sequence[int] | None
) -> None:
    """Queue the BEGIN that is due, and the statement prepared as *name*."""
    pgconn = wire.pgconn
    try:
        pgconn.enter_pipeline_mode()
        pgconn.send_query_params(_begin_due(wire) or b"BEGIN", None)
        pgconn.send_query_prepared(name, values, formats)
        pgconn.pipeline_sync()
    except BaseException as exc:
        break_off(wire, exc)
        raise
    wire.syncs_due += 1


def result_after_begin(wire: Wire, results: Sequence[PGresult]) -> PGresult:
    """Return the result of the statement of `queue_after_begin()` among the two *results*."""
    if len(results) == 2 and results[0].status not in FAILED:
        return results[1]
    if results:
        raise wire.error_of(results[0])
    raise connection_lost()


async def _run_first(wire: Wire, statement: Statement, params: Sequence[Any], begin: bytes | None) -> Result:
    in_transaction = wire.pgconn.transaction_status == TransactionStatus.INTRANS
    bound = wire.bind(statement, params)
    types = bound.key[1]
    known = bound.key in wire.prepared.names
    # A refusal would break the transaction; undone, the statement can be executed otherwise.
    guarded = in_transaction and not known and not statement.accepted(types)
    with Queue(wire) as queue:
        before = [text for text in (begin, _GUARD if guarded else None) if text is not None]
        for text in before:
            queue.command(text)
        preparing = queue.statement(bound)
        if guarded:
            queue.command(_END_OF_GUARD)
        queue.sync()
        queue.close_unneeded()
    results = await queue.results()
    for _, result in zip(before, results, strict=False):
        if result.status in FAILED:
            raise wire.error_of(result)
    if preparing is not None:
        result = next(results)
        if result.status in FAILED:
            error = wire.error_of(result, bound.key)
            await _take_refusal(wire, statement, error, begin, guarded)
            raise error
        wire.prepared.add(bound.key, preparing)
        statement.note_accepted(types)
    try:
        answer = wire.result_of(next(results), bound.key)
    except psycopg.Error as error:
        if preparing is None and not known:
            await _take_refusal(wire, statement, error, begin, guarded)
        raise
    statement.note_accepted(types)
    return answer


async def _take_refusal(
    wire: Wire, statement: Statement, error: psycopg.Error, begin: bytes | None, guarded: bool
) -> None:
    """If *error* is a refusal, note it, and let the connection be as it was before."""
    if note_refusal(statement, error):
        if guarded:
            await execute(wire, b"ROLLBACK TO SAVEPOINT turbo_parse; " + _END_OF_GUARD)
        elif begin is not None:
            await execute(wire, b"ROLLBACK")


async def execute(wire: Wire, command: bytes) -> None:
    """Execute SQL without parameters or rows, without preparing it."""
    wire.pgconn.send_query(command)
    result = await wire.fetch()
    if result.status in FAILED:
        raise wire.error_of(result)


class Queue:
    """Commands queued in libpq's pipeline mode; `results()` sends them and leaves the mode."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pgconn = wire.pgconn
        # Outside of transactions, an error breaks nothing.
        self._alone = wire.conn._autocommit and wire.pgconn.transaction_status == TransactionStatus.IDLE
        self._fresh: dict[Key, bytes] = {}
        #: How many commands there are before each synchronisation point.
        self._commands: list[int] = []
        self._count = 0

    def __enter__(self) -> Self:
        self._pgconn.enter_pipeline_mode()
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if exc is not None:
            break_off(self._wire, exc)

    def command(self, text: bytes) -> None:
        """Queue SQL without parameters."""
        self._pgconn.send_query_params(text, None)
        self._count += 1

    def statement(self, bound: BoundParams) -> bytes | None:
        """Queue a statement; return the name it is prepared under if that is queued before it."""
        name = queue_statement(self._wire, bound, self._fresh)
        self._count += 1 if name is None else 2
        return name

    def sync(self) -> None:
        """Queue the end of a transaction, or of a group within one."""
        self._pgconn.pipeline_sync()
        self._wire.syncs_due += 1
        self._commands.append(self._count)
        self._count = 0

    def close_unneeded(self) -> None:
        """Queue the closing of prepared statements nobody needs."""
        if not (_CAN_CLOSE_PREPARED or self._alone):
            return  # some may be unknown to the server, which is an error for SQL
        names, self._wire.prepared.unneeded = self._wire.prepared.unneeded, []
        for name in names:
            close_prepared(self._pgconn, name)
            self._count += 1
            self.sync()

    async def results(self) -> Iterator[PGresult]:
        """Send everything, and return what `Wire.collect()` does."""
        try:
            return iter(await self._wire.collect(self._commands))
        except BaseException:
            # The server may have prepared them all the same.
            self._wire.prepared.unneeded.extend(self._fresh.values())
            raise


def queue_statement(wire: Wire, bound: BoundParams, fresh: dict[Key, bytes]) -> bytes | None:
    """Queue a statement in pipeline mode; return the name it is prepared under if that is queued before it.

    *fresh* are the names of those of which the server has not said yet that it has prepared them.
    """
    key, values, formats = bound
    statement, types = key
    pgconn, names = wire.pgconn, wire.prepared.names
    known = names.get(key)
    if known is not None:
        names.move_to_end(key)
    else:
        known = fresh.get(key)
    if known is not None:
        pgconn.send_query_prepared(known, values, formats)
    elif wire.conn.prepares and not statement.unnamed:
        name = fresh[key] = wire.prepared.new_name()
        pgconn.send_prepare(name, statement.text, types)
        pgconn.send_query_prepared(name, values, formats)
        return name
    else:
        pgconn.send_query_params(statement.text, values, types, formats)
    return None


def close_prepared(pgconn: PGconn, name: bytes) -> None:
    """Queue the closing of the prepared statement *name* in pipeline mode."""
    if _CAN_CLOSE_PREPARED:
        pgconn.send_close_prepared(name)
    else:
        pgconn.send_query_params(b"DEALLOCATE " + name, None)


#: Statements with their parameters.
Statements = Sequence[tuple[Statement, Sequence[Any]]]


async def run_many(wire: Wire, statements: Statements) -> list[Result | Exception]:
    """Execute several statements in one round trip, see `Wire.run_many()`."""
    if not wire.attached:
        wire.attach()
    begin = _begin_due(wire)
    if begin is not None:
        return await _run_many_first(wire, statements, begin)
    if wire.pgconn.transaction_status == TransactionStatus.INTRANS:
        bounds = [_bound(wire, *each) for each in statements]
        if not all(_is_accepted(bound) for bound in bounds):
            return await _run_each(wire, statements)
    answers = await _run_many(wire, statements, None)
    if wire.pgconn.transaction_status != TransactionStatus.IDLE:
        return answers
    for index, answer in enumerate(answers):
        if _is_stale(answer):
            answers[index : index + 1] = await _run_many(wire, statements[index : index + 1], None)
    return answers


async def _run_many_first(wire: Wire, statements: Statements, begin: bytes) -> list[Result | Exception]:
    # As the first thing in a transaction, which can begin again without losing anything.
    answers = await _run_many(wire, statements, begin)
    if any(map(_is_stale, answers)):
        await execute(wire, b"ROLLBACK")
        return await _run_many(wire, statements, begin)
    if any(map(_is_refused, statements, answers)):
        await execute(wire, b"ROLLBACK")
        return await _run_each(wire, statements)
    return answers


def _is_accepted(bound: BoundParams | Exception) -> bool:
    if isinstance(bound, Exception):
        return True  # it is not sent, and keeps nothing from the others
    statement, types = bound.key
    return statement.accepted(types)


def _is_stale(answer: Result | Exception) -> bool:
    return isinstance(answer, psycopg.Error) and is_stale(answer)


def _is_refused(sent: tuple[Statement, Sequence[Any]], answer: Result | Exception) -> bool:
    return sent[0].refused and isinstance(answer, psycopg.Error) and is_refusal(answer)


async def _run_each(wire: Wire, statements: Statements) -> list[Result | Exception]:
    # In a transaction, where one refused statement would take the others with it.
    answers: list[Result | Exception] = []
    for statement, params in statements:
        try:
            answers.append(await wire.run_alone(statement, params))
        except Exception as error:
            answers.append(error)
    return answers


async def _run_many(wire: Wire, statements: Statements, begin: bytes | None) -> list[Result | Exception]:
    bounds = [_bound(wire, *each) for each in statements]
    names: list[bytes | None] = []
    with Queue(wire) as queue:
        if begin is not None:
            queue.command(begin)
        for bound in bounds:
            if isinstance(bound, Exception):
                names.append(None)
            else:
                names.append(queue.statement(bound))
                if begin is None:
                    queue.sync()
        # Without the BEGIN, none of them: each would be a transaction of its own.
        queue.sync()
        queue.close_unneeded()
    results = await queue.results()
    if begin is not None and (result := next(results)).status in FAILED:
        raise wire.error_of(result)
    answers: list[Result | Exception] = []
    for bound, name in zip(bounds, names, strict=True):
        try:
            answers.append(bound if isinstance(bound, Exception) else _answer(wire, bound, name, results))
        except Exception as error:
            answers.append(error)
    return answers


def _bound(wire: Wire, statement: Statement, params: Sequence[Any]) -> BoundParams | Exception:
    try:
        return wire.bind(statement, params)
    except Exception as error:  # a value psycopg can't adapt
        return error


def _answer(wire: Wire, bound: BoundParams, name: bytes | None, results: Iterator[PGresult]) -> Result:
    statement, types = bound.key
    if name is not None:
        preparing = next(results, None)
        executing = next(results, None)
        if preparing is None:
            raise connection_lost()
        if preparing.status in FAILED:
            error = wire.error_of(preparing, bound.key)
            note_refusal(statement, error)
            raise error
        wire.prepared.add(bound.key, name)
    else:
        executing = next(results, None)
    if executing is None:
        raise connection_lost()
    known = bound.key in wire.prepared.names
    try:
        answer = wire.result_of(executing, bound.key)
    except psycopg.Error as error:
        if not known:
            note_refusal(statement, error)
        raise
    statement.note_accepted(types)
    return answer
