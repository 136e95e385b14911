"""JSON as the text that is sent: encoded once, without psycopg's wrapper and dumper in Python."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from psycopg.abc import Buffer, Dumper
from psycopg.adapt import AdaptersMap, PyFormat
from psycopg.adapt import Dumper as BaseDumper
from psycopg.postgres import adapters, types
from psycopg.pq import Format
from psycopg.types.json import Jsonb, JsonbDumper

__all__ = ["JSON_KINDS", "JsonText", "as_djangos", "json_dumper", "json_parts", "json_texts"]

#: Types that `JSONField` gives to the encoder as they are.
JSON_KINDS = frozenset({dict, list, str, int, float, bool})


class JsonText(str):
    """A parameter of the type ``jsonb``; ``value`` is what it is the text of."""

    __slots__ = ("value",)

    value: Any


def as_djangos(param: Any) -> Any:
    """Return what Django gives to a cursor in the place of *param*: itself, unless it is JSON."""
    return Jsonb(param.value, dumps=json.dumps) if param.__class__ is JsonText else param


def _dumper() -> type[Dumper]:
    # What psycopg's dumpers of strings have in common, in C where it is: all but a type.
    strings: Any = adapters.get_dumper_by_oid(types["text"].oid, Format.TEXT).__mro__[1]
    made: type[Dumper] = type("JsonTextDumper", (strings,), {"oid": types["jsonb"].oid})
    return made


_dumper_of_text = _dumper()


def json_dumper(known: AdaptersMap) -> type[Dumper]:
    """Return psycopg's kind of dumper for `JsonText`, which does as the one that is *known* for JSON."""
    theirs = known.get_dumper(Jsonb, PyFormat.AUTO)
    if theirs is JsonbDumper:
        return _dumper_of_text
    return type("JsonTextDumper", (_ThroughTheirs,), {"format": theirs.format, "theirs": theirs})


class _ThroughTheirs(BaseDumper):
    """Where a project has a dumper of its own for psycopg's wrapper."""

    theirs: type[Dumper]

    def __init__(self, cls: type, context: Any = None) -> None:
        super().__init__(cls, context)
        self._dumper = self.theirs(Jsonb, context)
        self.oid = self._dumper.oid

    def dump(self, obj: Any) -> Buffer | None:
        return self._dumper.dump(as_djangos(obj))


def _encoder() -> Callable[[Any, int], Sequence[str]]:
    encoder = json.JSONEncoder(check_circular=False)

    def in_one_part(value: Any, level: int) -> Sequence[str]:
        return (encoder.encode(value),)

    try:
        encode: Callable[[Any, int], Sequence[str]] = _in_c.c_make_encoder(
            None, encoder.default, _in_c.encode_basestring_ascii, None, ": ", ", ", False, False, True
        )
        same = "".join(encode(_SAMPLE, 0)) == encoder.encode(_SAMPLE)
    except (AttributeError, TypeError):  # not in C, or in another way than in any Python we know
        return in_one_part
    return encode if same else in_one_part


_in_c: Any = json.encoder
_SAMPLE: Any = {"a": [1, None, True, 0.5, "\u00e4"]}

#: ``json_parts(value, 0)`` are the parts of what `json.dumps()` returns, which makes a new encoder
#: for each value. Circular structures, which that looks for, end in a `RecursionError`: so nothing
#: is kept of a value, and threads can share the function.
json_parts = _encoder()

#: Stands between values that are encoded together. Nobody can know it, and have it in a value.
_BETWEEN = secrets.token_hex(8)
_SEPARATOR = f', "{_BETWEEN}", '


def json_texts(values: Sequence[Any]) -> list[str]:
    """Return what `json.dumps()` returns for each of *values*, in one call for all."""
    if len(values) < 2:
        return ["".join(json_parts(value, 0)) for value in values]
    items: list[Any] = [_BETWEEN] * (2 * len(values) - 1)
    items[::2] = values
    texts = "".join(json_parts(items, 0)).split(_SEPARATOR)
    texts[0] = texts[0][1:]
    texts[-1] = texts[-1][:-1]
    return texts
