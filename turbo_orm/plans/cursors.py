"""Rows of planned queries from server-side cursors, for sync code in the bridge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections
from django.db.models.sql import compiler
from psycopg import ServerCursor

from turbo_orm.conf import get_config
from turbo_orm.db.statements import Statement, fetching
from turbo_orm.plans import running
from turbo_orm.plans.plan import Bound

__all__ = ["chunks_from_cursor"]


def chunks_from_cursor(bound: Bound, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of *bound*, *size* at a time, from the cursor that Django has for it."""
    connection: Any = connections[bound.alias]
    cursor = connection.chunked_cursor()
    try:
        fetch = _declare(cursor, bound, size)
        if fetch is None:
            cursor.execute(*bound.as_sql())
    except BaseException:
        cursor.close()
        raise
    declared: Any = _Declared(cursor, bound.alias, fetch)
    # Django's, which closes the cursor in the end.
    chunks: Any = compiler.cursor_iter(declared, connection.features.empty_fetchmany_value, None, size)
    try:
        for rows in chunks:
            yield rows
            if len(rows) < size:
                # Without asking for more: what ended the session is told as that would have been.
                with connection.wrap_database_errors:
                    chunks.close()
                return
    finally:
        chunks.close()


class _Declared:
    """A server-side cursor, as `cursor_iter()` uses it."""

    def __init__(self, cursor: Any, alias: str, fetch: Statement | None) -> None:
        self.close = cursor.close
        self._cursor = cursor
        self._alias = alias
        self._fetch = fetch

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """Fetch the next rows, on the wire if they can be fetched there by the statement of that *size*."""
        cursor, alias, fetch = self._cursor, self._alias, self._fetch
        if fetch is not None:
            declared = cursor.cursor
            # Unless the connection is another by now, where nothing of it is known.
            if connections[alias].connection is declared.connection:
                result = running.run_on_wire_in_bridge(alias, fetch, ())
                if result is not None and result.rows is not None:
                    return result.rows
            declared._described = False  # psycopg is to ask for its columns
        rows: list[tuple[Any, ...]] = cursor.fetchmany(size)
        return rows


def _declare(cursor: Any, bound: Bound, size: int) -> Statement | None:
    """Do what executing *bound* with *cursor* does on the wire; return what fetches *size* rows there.

    None, and nothing is done, where only the cursor can: somebody is to see the statement, say.
    """
    inner, declared = bound.statement, cursor.cursor
    if not isinstance(declared, ServerCursor) or inner.refused or not get_config().wire:
        return None
    hold = " WITH HOLD" if declared.withhold else ""
    declaring = inner.after(f'DECLARE "{declared.name}" NO SCROLL CURSOR{hold} FOR ')
    result = running.run_on_wire_in_bridge(bound.alias, declaring, bound.params)
    inner.refused = declaring.refused
    if result is None:
        return None
    declared._described = True  # it is there, to be closed
    return fetching(declared.name, size, inner.late)
