"""How the wire turns values into parameters and columns into values: as the connection does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timezone
from math import isfinite
from typing import Any, ClassVar

from psycopg import AsyncConnection
from psycopg.abc import Dumper, Loader
from psycopg.adapt import AdaptersMap, PyFormat, RecursiveDumper
from psycopg.adapt import Dumper as BaseDumper
from psycopg.dbapi20 import BinaryBinaryDumper
from psycopg.postgres import adapters, types
from psycopg.pq import Escaping, Format
from psycopg.pq.abc import PGconn
from psycopg.types.hstore import BaseHstoreBinaryDumper
from psycopg.types.numeric import Int2, Int4, Int8

from turbo_orm.db.arrays import array_dumper
from turbo_orm.db.json_text import JsonText, json_dumper

__all__ = ["BinaryDumper", "FloatDumper", "IntegerDumper", "WireContext", "is_psycopgs", "session_settings"]

_NUMERIC = types["numeric"].oid
_TIMESTAMPTZ = types["timestamptz"].oid


def session_settings(pgconn: PGconn) -> tuple[bytes | None, ...]:
    """Return the settings of the session that adapters read once, when they are created."""
    status = pgconn.parameter_status
    return status(b"TimeZone"), status(b"DateStyle"), status(b"IntervalStyle"), status(b"client_encoding")


def is_psycopgs(loader: type[Loader] | None, name: str) -> bool:
    """Whether *loader* is psycopg's of that *name*, in Python or in C, not one of a project."""
    return (
        loader is not None
        and loader.__name__ == name
        and loader.__module__.partition(".")[0] in ("psycopg", "psycopg_binary", "psycopg_c")
    )


class IntegerDumper(BaseDumper):
    """Integers in the types that PostgreSQL gives to literals, which Django's cursors send.

    psycopg makes a smallint of a small one: another arithmetic where the column is one too,
    and one more prepared statement for the same SQL.
    """

    def __init__(self, cls: type, context: Any = None) -> None:
        super().__init__(cls, context)
        psycopgs: Any = adapters.get_dumper(int, PyFormat.from_pq(self.format))
        self._psycopgs = psycopgs(cls, context)
        # What the dumper of a value is kept by is asked for each parameter: in C, if it may be.
        # Smallints have a key of their own then, for a dumper of the same kind as that of others.
        self.get_key = self._psycopgs.get_key  # type: ignore[method-assign]

    def dump(self, obj: Any) -> bytes:
        """Nothing: each value has the dumper of its size, see `upgrade()`."""
        raise NotImplementedError

    def upgrade(self, obj: int, format: PyFormat) -> Any:  # noqa: A002  psycopg's name
        """Return the dumper of *obj*, see psycopg."""
        return self._psycopgs.upgrade(_NO_SMALLINT if -32768 <= obj <= 32767 else obj, format)


class _BinaryIntegerDumper(IntegerDumper):
    format = Format.BINARY


_NO_SMALLINT = 65536

#: In binary, psycopg cuts off what these can't hold; the server complains of the text.
_FIXED_INTEGERS = frozenset({Int2, Int4, Int8})

#: By psycopg's.
_INTEGER_DUMPERS: dict[Any, type[Dumper]] = {
    adapters.get_dumper(int, PyFormat.TEXT): IntegerDumper,
    adapters.get_dumper(int, PyFormat.BINARY): _BinaryIntegerDumper,
}


class FloatDumper(BaseDumper):
    """Floats in the type that PostgreSQL gives to literals, which Django's cursors send: ``numeric``.

    To compare or calculate with, in what is no ``double precision``, it is another number: psycopg's
    would be rounded, or round the column. Infinity and NaN are no literals.
    """

    oid = _NUMERIC

    def dump(self, obj: float) -> bytes:
        """Return the shortest text of *obj* that is no other float's, see psycopg."""
        return _float_text(obj).encode()

    def get_key(self, obj: float, format: PyFormat) -> Any:  # noqa: A002  psycopg's name
        """Return what the dumper of *obj* is kept by, see psycopg."""
        return self.cls if isfinite(obj) else (self.cls, float)

    def upgrade(self, obj: float, format: PyFormat) -> Any:  # noqa: A002  psycopg's name
        """Return psycopg's dumper, of what is no number."""
        return adapters.get_dumper(float, format)(self.cls)


# Not repr(): classes of the project have their own.
_float_text = float.__repr__

#: By psycopg's.
_FLOAT_DUMPERS: dict[Any, type[Dumper]] = {
    adapters.get_dumper(float, PyFormat.TEXT): FloatDumper,
    adapters.get_dumper(float, PyFormat.BINARY): FloatDumper,
}


class BinaryDumper(BinaryBinaryDumper):
    """Bytes that Django marked as such, which psycopg hands to libpq unseen, whatever they are.

    libpq is asked when statements before this one may be on their way to it: too late for an error
    of this value alone.
    """

    def dump(self, obj: Any) -> Any:
        """Return the bytes in *obj*; raise what Django's cursors do for what is none."""
        value: Any = super().dump(obj)
        return value if type(value) is bytes else _bytes_of(value)


def _bytes_of(value: Any) -> bytes:
    try:
        view = memoryview(value)
    except TypeError:
        view = None
    if view is None or not view.c_contiguous:
        Escaping().escape_bytea(value)  # as for the literal they send
        return bytes(value)  # which it takes where psycopg is in Python
    # There psycopg takes the number of items for that of bytes.
    return view.tobytes()


class WireContext:
    """What a `Transformer` adapts by: a connection and its adapters, but for a few of them.

    Integers are dumped by `IntegerDumper`, floats by `FloatDumper`, bytes by `BinaryDumper`. Django's
    loader of ``timestamptz`` calls psycopg's and replaces the time zone of what it returns, in Python.
    Where it would replace UTC by UTC, psycopg's own does the same in C.
    """

    __slots__ = ("connection",)

    #: Dumpers in the place of psycopg's.
    dumpers: ClassVar[Mapping[Any, type[Dumper]]] = {
        **_INTEGER_DUMPERS,
        **_FLOAT_DUMPERS,
        BinaryBinaryDumper: BinaryDumper,
    }

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self.connection = connection

    @property
    def adapters(self) -> WireContext:
        """Itself: it answers for the connection's adapters."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection.adapters, name)

    def get_dumper(self, cls: type, format: PyFormat) -> type[Dumper]:  # noqa: A002  psycopg's name
        """Return the class of dumper for a Python class, see psycopg; some values are encoded already."""
        if cls is JsonText:
            return json_dumper(self.connection.adapters)
        if cls in _FIXED_INTEGERS:
            format = PyFormat.TEXT  # noqa: A001  the parameter's
        found: Any = array_dumper(cls) or self.connection.adapters.get_dumper(cls, format)
        if issubclass(found, BaseHstoreBinaryDumper):  # has other errors for what is no hstore
            found = self.connection.adapters.get_dumper(cls, PyFormat.TEXT)
        if issubclass(found, RecursiveDumper):
            found = self._with_items(found)
        made: type[Dumper] = self.dumpers.get(found, found)
        return made

    def _with_items(self, found: Any) -> Any:
        items = _ItemsContext(self.connection)
        return lambda cls, context: found(cls, items)

    def get_loader(self, oid: int, format: Format) -> type[Loader] | None:  # noqa: A002  psycopg's name
        """Return the class of loader for a PostgreSQL type, see psycopg."""
        known: AdaptersMap = self.connection.adapters
        found: Any = known.get_loader(oid, format)
        if (
            oid == _TIMESTAMPTZ
            and getattr(found, "timezone", None) is timezone.utc
            and found.__module__ == "django.db.backends.postgresql.psycopg_any"
            and self.connection.pgconn.parameter_status(b"TimeZone") == b"UTC"
        ):
            original = getattr(found(oid, self), "orig_loader", None)
            if original is not None:
                return type(original)
            # Before Django 6.0 its loader is a subclass of psycopg's.
            psycopgs = adapters.get_loader(oid, format)
            return psycopgs if is_psycopgs(psycopgs, "TimestamptzLoader") else found
        return found  # type: ignore[no-any-return]


class _ItemsContext(WireContext):
    """What the items of lists, ranges and the like are adapted by.

    Their literals are one text, in the type that psycopg finds: floats are floats in them.
    """

    __slots__ = ()

    dumpers = _INTEGER_DUMPERS

    def _with_items(self, found: Any) -> Any:
        return found
