"""Columns of values as PostgreSQL arrays, the way they are sent: one parameter for many rows.

psycopg looks at each item of a list three times, in Python; here a column is one call for all.
The wire sends an `Array` as it is. The values have been checked: these functions raise for
others, or produce nonsense.
"""

from __future__ import annotations

import datetime as dt
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any
from uuid import UUID

from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

__all__ = ["ENCODERS", "Array", "Encode", "OtherEncoding", "array_dumper"]


class Array:
    """An encoded array. Its subclasses are one per PostgreSQL type."""

    __slots__ = ("data",)

    oid = 0
    format = Format.TEXT

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Array) and other.data == self.data

    def __hash__(self) -> int:
        return hash(self.data)


class OtherEncoding(Exception):
    """An array has texts in UTF-8, and the session takes them in another encoding. Nothing was sent."""


#: Values, and whether None is among them.
Encode = Callable[[Sequence[Any], bool], Array]

_LENGTHS = [struct.pack("!i", length) for length in range(1024)]
_NULL = struct.pack("!i", -1)
_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)
_EPOCH_DAY = dt.date(2000, 1, 1).toordinal()


def array_dumper(cls: type) -> type[Dumper] | None:
    """Return psycopg's kind of dumper for *cls*, a subclass of `Array`; None for other classes."""
    return _DUMPERS.get(cls)


class _ArrayDumper(Dumper):
    def dump(self, obj: Any) -> Buffer:
        data: bytes = obj.data
        return data

    def get_key(self, obj: Any, format: PyFormat) -> type:  # noqa: A002  psycopg's name
        return self.cls


class _TextArrayDumper(_ArrayDumper):
    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        # Of all other types the arrays are the same in each client encoding. What is sent in has been
        # reported by the server; a session that gets another one gets other dumpers.
        conn = self.connection
        self._is_utf8 = conn is not None and conn.pgconn.parameter_status(b"client_encoding") == b"UTF8"

    def dump(self, obj: Any) -> Buffer:
        if not self._is_utf8:
            raise OtherEncoding
        return super().dump(obj)


_DUMPERS: dict[type, type[Dumper]] = {}


def _array(
    name: str,
    oid: int,
    format: Format,  # noqa: A002  psycopg's name
    dumper: type[_ArrayDumper] = _ArrayDumper,
) -> type[Array]:
    kind = type(name, (Array,), {"__slots__": (), "oid": oid, "format": format})
    _DUMPERS[kind] = type(f"{name}Dumper", (dumper,), {"oid": oid, "format": format})
    return kind


def _written(name: str, oid: int, write: Callable[[Sequence[Any], bool], str]) -> Encode:
    """Return what encodes an array as text, for types whose texts need no quotes in it."""
    kind = _array(name, oid, Format.TEXT)
    return lambda values, has_null: kind(f"{{{write(values, has_null)}}}".encode())


def _integers(name: str, oid: int, element: int, code: str) -> Encode:
    packed = _packed(name, oid, element, code, _same)
    written = _written(f"{name}OfTexts", oid, _literals)

    def encode(values: Sequence[Any], has_null: bool) -> Array:
        try:
            return packed(values, has_null)
        except (OverflowError, struct.error):  # too large: for the server to say
            return written(values, has_null)

    return encode


def _packed(
    name: str, oid: int, element: int, code: str, numbers: Callable[[Sequence[Any]], Sequence[int]]
) -> Encode:
    """Return what encodes an array of types of four or eight bytes, in binary.

    *numbers* makes of the values what `struct` packs with *code*. What that returns raises `OverflowError`
    or `struct.error` for numbers that are too large.
    """
    kind = _array(name, oid, Format.BINARY)
    size = struct.calcsize(f"!{code}")
    words = size // 4
    length = array("i", struct.pack("!i", size))
    pack = struct.Struct(f"!i{code}").pack

    def encode(values: Sequence[Any], has_null: bool) -> Array:
        count = len(values)
        head = struct.pack("!5i", 1, has_null, element, count, 1)
        if has_null:
            given = [value for value in values if value is not None]
            packed = map(pack, repeat(size), numbers(given))
            return kind(head + b"".join([_NULL if value is None else next(packed) for value in values]))
        # A format of so many items would be parsed, and kept, for each count.
        items = array(code, numbers(values))
        if sys.byteorder == "little":
            items.byteswap()
        swapped = array("i", items.tobytes())
        whole = array("i", bytes(4 * (1 + words) * count))
        whole[:: 1 + words] = length * count
        for word in range(words):
            whole[1 + word :: 1 + words] = swapped[word::words]
        return kind(head + whole.tobytes())

    return encode


def _prefixed(name: str, oid: int, element: int, prefix: bytes = b"") -> Encode:
    """Return what encodes an array of texts, in binary; *prefix* comes before each, counted in its length."""
    kind = _array(name, oid, Format.BINARY, _TextArrayDumper)
    longer = len(prefix)
    lengths = [length + prefix for length in _LENGTHS[longer:]]
    few = len(lengths)
    # For ASCII: a character for each byte, all encoded at once.
    length_of = [length.decode("latin-1") for length in lengths].__getitem__

    def encode(values: Sequence[Any], has_null: bool) -> Array:
        count = len(values)
        head = struct.pack("!5i", 1, has_null, element, count, 1)
        if not has_null and "".join(values).isascii():
            characters = [""] * (2 * count)
            with suppress(IndexError):  # one is long
                characters[::2] = map(length_of, map(len, values))
                characters[1::2] = values
                return kind(head + "".join(characters).encode("latin-1"))
        parts: list[bytes] = [b""] * (2 * count)
        if has_null:
            texts = [None if value is None else prefix + value.encode() for value in values]
            parts[::2] = [_NULL if text is None else _length(len(text)) for text in texts]
            parts[1::2] = [b"" if text is None else text for text in texts]
        else:
            encoded = [value.encode() for value in values]
            parts[::2] = [
                lengths[length] if (length := len(text)) < few else _length(length + longer) + prefix
                for text in encoded
            ]
            parts[1::2] = encoded
        return kind(head + b"".join(parts))

    return encode


def _length(length: int) -> bytes:
    return struct.pack("!i", length)


def _literals(values: Sequence[Any], has_null: bool) -> str:
    # The text of a list of numbers or booleans is that of an array, but for None.
    text = repr(values)[1:-1]
    return text.replace("None", "NULL") if has_null else text


def _strings(values: Sequence[Any], has_null: bool) -> str:
    if has_null:
        return ",".join(["NULL" if value is None else str(value) for value in values])
    return ",".join(map(str, values))


def _hexadecimal(values: Sequence[UUID | None], has_null: bool) -> str:
    return ",".join(["NULL" if value is None else value.hex for value in values])


def _same(numbers: Sequence[int]) -> Sequence[int]:
    return numbers


def _days(days: Sequence[dt.date]) -> list[int]:
    return [day.toordinal() - _EPOCH_DAY for day in days]


def _microseconds(values: Sequence[dt.datetime]) -> list[int]:
    return [
        (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        for since in [value - _EPOCH for value in values]
    ]


#: By the name of the PostgreSQL type: what makes an array of a list of values. Integers,
#: booleans and floats are of exactly these types; times and datetimes in UTC or with
#: another offset are aware or not as the type is; texts, and those of ``jsonb``, are strings.
ENCODERS: dict[str, Encode] = {
    "boolean": _written("BooleanArray", 1000, _literals),
    "smallint": _written("SmallintArray", 1005, _literals),
    "integer": _integers("IntegerArray", 1007, 23, "i"),
    "bigint": _integers("BigintArray", 1016, 20, "q"),
    "double precision": _written("DoubleArray", 1022, _literals),
    "numeric": _written("NumericArray", 1231, _strings),
    "uuid": _written("UuidArray", 2951, _hexadecimal),
    "time": _written("TimeArray", 1183, _strings),
    "date": _packed("DateArray", 1182, 1082, "i", _days),
    "timestamp with time zone": _packed("TimestamptzArray", 1185, 1184, "q", _microseconds),
    "text": _prefixed("TextArray", 1009, 25),
    "varchar": _prefixed("VarcharArray", 1015, 1043),
    "jsonb": _prefixed("JsonbArray", 3807, 3802, b"\x01"),
}
