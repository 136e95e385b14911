"""`cursor()`: SQL by hand through Django's own cursor wrappers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal, TypeAlias, overload
from weakref import WeakSet

from django.db import DEFAULT_DB_ALIAS, connections

from turbo_orm.bridge.held import Held
from turbo_orm.sql.copy import CopyOut, Rows, copy_in

__all__ = ["AsyncCursor", "cursor"]

Params: TypeAlias = "Sequence[Any] | Mapping[str, Any] | None"


def cursor(using: str | None = None) -> AbstractAsyncContextManager[AsyncCursor, None]:
    """Open a cursor on the database *using* for the length of an ``async with`` block.

    Inside `atomic()` it works on the block's connection, in its transaction. Outside it has a
    connection of its own until the end, in autocommit mode.
    """
    return _Cursor(using or DEFAULT_DB_ALIAS)


class _Cursor(AbstractAsyncContextManager["AsyncCursor", None]):
    """A class, not a generator: see `turbo_orm.bridge.iterators`."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    async def __aenter__(self) -> AsyncCursor:
        self._held = held = Held("cursor()")
        try:
            self._opened = await held.run(_open, self._alias)
        except BaseException as exc:
            await held.__aexit__(type(exc), None, None)
            raise
        self._cursor = AsyncCursor(held, self._opened)
        return self._cursor

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is not GeneratorExit:  # else nothing can be awaited
                await self._cursor._end_copies()
        except BaseException as error:
            exc_type = type(error)
            raise
        finally:
            self._opened.close()
            await self._held.__aexit__(exc_type, None, None)


def _open(alias: str) -> Any:
    return connections[alias].cursor()


class AsyncCursor:
    """Django's cursor with methods to await; `execute_wrapper()` and ``connection.queries`` work.

    Errors are Django's (``django.db.utils.Error`` and below).
    https://docs.djangoproject.com/en/stable/topics/db/sql/#executing-custom-sql-directly
    """

    def __init__(self, held: Held, opened: Any) -> None:
        self._held = held
        self._fetching = opened
        self._connection = opened.db
        self._driver_cursor = opened.cursor
        self._copies: WeakSet[CopyOut[Any]] = WeakSet()

    def __repr__(self) -> str:
        state = "closed" if self._driver_cursor.closed else "open"
        return f"<AsyncCursor {state} on {self._connection.alias!r}>"

    @property
    def description(self) -> Any:
        """The columns of the result as PEP 249 has them, or None if there is no result."""
        return self._driver_cursor.description

    @property
    def rowcount(self) -> int:
        """How many rows the last statement returned or changed; -1 if there is no such number."""
        count: int = self._driver_cursor.rowcount
        return count

    async def execute(self, sql: str, params: Params = None) -> AsyncCursor:
        """Execute *sql*, and return this cursor, so that a fetch can follow."""
        await self._held.run(lambda: self._wrapped().execute(sql, params))
        return self

    async def executemany(self, sql: str, param_list: Iterable[Any]) -> AsyncCursor:
        """Execute *sql* with each of *param_list*, and return this cursor."""
        await self._held.run(lambda: self._wrapped().executemany(sql, param_list))
        return self

    async def callproc(self, name: str, params: Sequence[Any] | None = None) -> AsyncCursor:
        """Call the function *name* of the database, and return this cursor."""
        await self._held.run(lambda: self._wrapped().callproc(name, params))
        return self

    def _wrapped(self) -> Any:
        # Anew each time: logging may have been switched on or off since.
        return self._connection._prepare_cursor(self._driver_cursor)

    # The rows have arrived with the result: fetching them waits for nothing.

    async def fetchone(self) -> Any:
        """Return the next row, or None."""
        return self._fetching.fetchone()

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next *size* rows (default: one), fewer at the end."""
        return list(self._fetching.fetchmany() if size is None else self._fetching.fetchmany(size))

    async def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        return list(self._fetching.fetchall())

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (row := self._fetching.fetchone()) is not None:
            yield row

    async def copy_in(
        self,
        sql: str,
        rows: Rows,
        params: Params = None,
        *,
        types: Sequence[int | str] | None = None,
    ) -> int:
        """Send *rows* to the ``COPY ... FROM STDIN`` statement *sql*; return their number.

        *rows* is an iterable or an async iterable of sequences of values, or of blocks of bytes
        or text in the statement's format. *types* are the columns' types, by name or OID; the
        binary format needs them. If *rows* raises, nothing is copied.

        Inside `atomic()` other queries of the block wait until the COPY ends; *rows* may not
        query on the block's connection itself.
        """
        return await copy_in(self._held, self._connection, self._driver_cursor, sql, rows, params, types)

    @overload
    def copy_out(
        self, sql: str, params: Params = None, *, types: Sequence[int | str] | None = None
    ) -> CopyOut[tuple[Any, ...]]: ...
    @overload
    def copy_out(self, sql: str, params: Params = None, *, raw: Literal[True]) -> CopyOut[bytes]: ...
    def copy_out(
        self,
        sql: str,
        params: Params = None,
        *,
        types: Sequence[int | str] | None = None,
        raw: bool = False,
    ) -> CopyOut[Any]:
        """Yield what the ``COPY ... TO STDOUT`` statement *sql* sends.

        That is a tuple per row: of Python values if *types* names the columns' types, else of
        strings. With *raw* it is blocks of bytes in the statement's format, which may be any.
        Leaving the loop early stops the server.

        Inside `atomic()` other queries of the block wait until the COPY ends; the body of the
        loop may not query on the block's connection itself.
        """
        rows: CopyOut[Any] = CopyOut(
            self._held, self._connection, self._driver_cursor, sql, params, types, raw
        )
        self._copies.add(rows)
        return rows

    async def _end_copies(self) -> None:
        # One that was left early but is still referenced has the connection's turn.
        for rows in list(self._copies):
            await rows.aclose()
