"""COPY in and out, many rows to a step, never left half done on a connection."""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias, TypeVar

from django.db import transaction
from django.db.backends.utils import CursorDebugWrapper

from turbo_orm.bridge.held import Held, Turn
from turbo_orm.bridge.iterators import ChunkIterator
from turbo_orm.bridge.observers import Observation, observation_of

__all__ = ["CopyOut", "Rows", "copy_in"]

T = TypeVar("T")

Block: TypeAlias = "bytes | bytearray | memoryview | str"
Rows: TypeAlias = (
    "Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]] | Iterable[Block] | AsyncIterable[Block]"
)

logger = logging.getLogger("turbo_orm")

_BLOCKS = (bytes, bytearray, memoryview, str)

#: Rows to a step. A step costs microseconds; a large one keeps other tasks waiting.
_BATCH = 500
#: A block of so many bytes counts as one row.
_BYTES_OF_A_ROW = 128


class _Copy:
    """psycopg's `Copy`, with its beginning and end as functions to run in the bridge."""

    def __init__(self, connection: Any, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor
        self._stack = ExitStack()
        self.driver_copy: Any = None

    def begin(self, sql: str, params: Any, types: Sequence[int | str] | None) -> None:
        self._connection.validate_no_broken_transaction()
        with ExitStack() as stack:
            if self._connection.in_atomic_block:
                # Breaking off fails the statement, which costs a transaction without a savepoint.
                stack.enter_context(transaction.atomic(self._connection.alias))
            stack.enter_context(self._connection.wrap_database_errors)
            logging_cursor = self._connection._prepare_cursor(self._cursor)
            if isinstance(logging_cursor, CursorDebugWrapper):
                stack.enter_context(logging_cursor.debug_sql(sql, params))
            seen = stack.enter_context(observation_of(self._connection.alias, sql, params))
            if seen is not None:
                stack.callback(self._note_rows, seen)
            self.driver_copy = stack.enter_context(self._cursor.copy(sql, params))
            if types is not None:
                self.driver_copy.set_types(types)
            self._stack = stack.pop_all()

    def _note_rows(self, seen: Observation) -> None:
        seen.rowcount = self._cursor.rowcount

    def end(self, exc: BaseException | None = None) -> None:
        """Finish, or break off because of *exc*, which becomes Django's if it is the driver's."""
        if exc is None:
            self._stack.__exit__(None, None, None)
        else:
            self._stack.__exit__(type(exc), exc, exc.__traceback__)


async def copy_in(
    held: Held,
    connection: Any,
    cursor: Any,
    sql: str,
    rows: Rows,
    params: Any,
    types: Sequence[int | str] | None,
) -> int:
    """Send *rows* to the COPY statement *sql*; return how many the server took."""
    copy = _Copy(connection, cursor)
    held.keep(copy)
    batches = _Batches(rows)
    async with Turn(held) as turn:
        try:
            await turn.run(copy.begin, sql, params, types)
            while batch := await batches.next():
                await turn.run(_write, copy.driver_copy, batch)
                await turn.pause()
        except GeneratorExit:
            turn.abort()
            raise
        except BaseException as exc:
            await _break_off(held, turn, copy, exc)
            raise
        await turn.run(copy.end)
    count: int = cursor.rowcount
    return count


class _Batches:
    """Rows in lists of a size that is worth a step.

    Not a generator: see `turbo_orm.bridge.iterators`.
    """

    def __init__(self, rows: Rows) -> None:
        self._async: AsyncIterator[Any] | None = None
        self._sync: Iterator[Any] = iter(())
        if isinstance(rows, AsyncIterable):
            self._async = rows.__aiter__()
        else:
            self._sync = iter([rows] if isinstance(rows, _BLOCKS) else rows)

    async def next(self) -> list[Any]:
        """Return the next batch; the one after the last is empty."""
        batch: list[Any] = []
        weight = 0
        while weight < _BATCH:
            try:
                row = next(self._sync) if self._async is None else await self._async.__anext__()
            except (StopIteration, StopAsyncIteration):
                self._async, self._sync = None, iter(())
                break
            batch.append(row)
            weight += _weight(row)
        return batch


def _weight(row: Any) -> int:
    return 1 + len(row) // _BYTES_OF_A_ROW if isinstance(row, _BLOCKS) else 1


def _write(driver_copy: Any, batch: list[Any]) -> None:
    for row in batch:
        if isinstance(row, _BLOCKS):
            driver_copy.write(row)
        else:
            driver_copy.write_row(row)


class CopyOut(ChunkIterator[T]):
    """The rows or blocks of one ``COPY ... TO STDOUT``; it starts when the first is asked for."""

    __slots__ = ("_begin_copy", "_begun", "_copy", "_held", "_raw", "_turn")

    def __init__(
        self,
        held: Held,
        connection: Any,
        cursor: Any,
        sql: str,
        params: Any,
        types: Sequence[int | str] | None,
        raw: bool,
    ) -> None:
        super().__init__()
        self._held = held
        self._turn = Turn(held)
        self._copy = copy = _Copy(connection, cursor)
        self._begin_copy = partial(copy.begin, sql, params, types)
        self._begun = False
        self._raw = raw

    async def fetch_chunk(self) -> tuple[list[Any], bool]:
        turn, copy, raw = self._turn, self._copy, self._raw
        begun, self._begun = self._begun, True
        if not begun:
            self._held.keep(copy)
            await turn.__aenter__()
        try:
            if begun:
                await turn.pause()
            else:
                await turn.run(self._begin_copy)
            batch = await turn.run(_read, copy.driver_copy, raw)
        except BaseException as exc:
            await self.close_early(exc)
            raise
        if batch:
            return [b"".join(batch)] if raw else batch, True
        try:
            await turn.run(copy.end)
        finally:
            await turn.__aexit__()
        return [], False

    async def close_early(self, exc: BaseException) -> None:
        try:
            await _break_off(self._held, self._turn, self._copy, exc)
        finally:
            await self._turn.__aexit__()

    def __del__(self) -> None:
        # The loop is about to close this, in a task of its own.
        self._turn.disown()
        super().__del__()


async def _break_off(held: Held, turn: Turn, copy: _Copy, exc: BaseException) -> None:
    if held.ended:
        return
    try:
        await turn.run(copy.end, exc)
    except Exception:
        if isinstance(exc, Exception):
            raise  # most often exc itself, as Django's class
        logger.warning("A COPY could not be ended properly after %s", type(exc).__name__, exc_info=True)


def _read(driver_copy: Any, raw: bool) -> list[Any]:
    batch: list[Any] = driver_copy.connection.wait(_ready(driver_copy, raw))
    return batch


def _ready(driver_copy: Any, raw: bool) -> Generator[Any, Any, list[Any]]:
    # psycopg's read() and read_row() wait row by row, and each wait would be a switch.
    batch: list[Any] = []
    while len(batch) < _BATCH:
        if raw:
            block = yield from driver_copy._read_gen()
            row = bytes(block) or None
        else:
            row = yield from driver_copy._read_row_gen()
        if row is None:
            break
        batch.append(row)
    return batch
