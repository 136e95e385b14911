"""Columns that are loaded as texts, for the generated row loaders to make values of.

psycopg's loaders of ``numeric`` and ``timestamptz`` are in C, and slower than Python's constructors
called with the text, for what they do around them. Where rows are many, the wire hands out texts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context
from typing import Any

from psycopg.abc import Loader
from psycopg.adapt import Transformer
from psycopg.postgres import adapters, types
from psycopg.pq import Format
from psycopg.pq.abc import PGresult
from psycopg.types.string import TextLoader

from turbo_orm.db.adaptation import WireContext, is_psycopgs

__all__ = ["FROM_TEXT", "MIN_ROWS", "NUMERIC", "TIMESTAMPTZ", "LateContext", "LateLoading", "check_datetimes"]

#: Of fewer rows it is not worth it.
MIN_ROWS = 10

_from_iso: Callable[[str], dt.datetime] = dt.datetime.fromisoformat

#: PostgreSQL's text of datetimes in UTC, and what they are.
_DATETIMES = {
    "2020-01-02 03:04:05+00": dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc),
    "0001-01-02 03:04:05.5+00": dt.datetime(1, 1, 2, 3, 4, 5, 500_000, tzinfo=dt.timezone.utc),
    "9999-12-31 23:59:59.000001+00": dt.datetime(9999, 12, 31, 23, 59, 59, 1, tzinfo=dt.timezone.utc),
}


def _reads_datetimes() -> bool:
    """Whether Python reads them, which it does since 3.11."""
    try:
        return all(_from_iso(text) == value for text, value in _DATETIMES.items())
    except ValueError:
        return False


NUMERIC, TIMESTAMPTZ = types["numeric"].oid, types["timestamptz"].oid

#: Makes of a text what `Decimal` does, in a quarter less time: it takes one argument, and no keywords.
_exactly = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX).create_decimal

#: What makes a value of the text of one, by the oid of the type. `ValueError` is for `check_datetimes()`.
FROM_TEXT: dict[int, Callable[[str], Any]] = {
    NUMERIC: _exactly,
    **({TIMESTAMPTZ: _from_iso} if _reads_datetimes() else {}),
}


def check_datetimes(rows: Sequence[tuple[Any, ...]], late: Mapping[int, int]) -> None:
    """Raise psycopg's error for the first text that Python has no `datetime` for.

    *late* are the oids of the types of the columns that may be texts, by their positions.
    """
    positions = [position for position, oid in late.items() if oid == TIMESTAMPTZ]
    kind: Any = adapters.get_loader(TIMESTAMPTZ, Format.TEXT)
    load = kind(TIMESTAMPTZ, None).load
    for row in rows:
        for position in positions:
            text = row[position]
            if type(text) is str:
                try:
                    _from_iso(text)
                except ValueError:
                    load(text.encode())


#: The names of psycopg's loaders, which are in Python or in C.
_LOADERS = {NUMERIC: "NumericLoader", TIMESTAMPTZ: "TimestamptzLoader"}


_text_loader = adapters.get_loader(types["text"].oid, Format.TEXT)
#: psycopg's, in C where psycopg is.
_TEXT_LOADER = _text_loader if is_psycopgs(_text_loader, "TextLoader") else TextLoader


class LateContext(WireContext):
    """Has texts in place of values, where psycopg's own loaders would make these."""

    __slots__ = ("late",)

    #: The oids of types of which texts are left, as far as they were asked for.
    late: set[int]

    def get_loader(self, oid: int, format: Format) -> type[Loader] | None:  # noqa: A002  psycopg's name
        found = super().get_loader(oid, format)
        if (
            oid in FROM_TEXT
            and format == Format.TEXT
            and is_psycopgs(found, _LOADERS[oid])
            and (oid != TIMESTAMPTZ or self._writes_datetimes_in_utc())
        ):
            self.late.add(oid)
            return _TEXT_LOADER
        return found

    def _writes_datetimes_in_utc(self) -> bool:
        status = self.connection.pgconn.parameter_status
        return status(b"TimeZone") == b"UTC" and (status(b"DateStyle") or b"").startswith(b"ISO")


class LateLoading:
    """Loads the results of one connection, with the adapters and settings it has now."""

    __slots__ = ("_empty", "_late", "_tx")

    def __init__(self, conn: Any, empty: PGresult) -> None:
        """*empty* is a result without rows, to let go of others."""
        texts = LateContext(conn)
        texts.late = self._late = set[int]()
        context: Any = texts
        self._tx = Transformer(context)
        self._empty = empty

    def load(self, result: PGresult, count: int, expected: Mapping[int, int]) -> list[tuple[Any, ...]] | None:
        """Return the *count* rows of *result*, with texts in some columns.

        *expected* are the oids of their types by their positions; None if there would be others.
        """
        tx, late, oid_of = self._tx, self._late, result.ftype
        tx.set_pgresult(result)
        try:
            for position in range(result.nfields):
                oid = oid_of(position)
                if oid in late and expected.get(position) != oid:
                    return None
            return tx.load_rows(0, count, tuple)
        finally:
            tx.set_pgresult(self._empty, set_loaders=False)
