"""The SQL a careful person writes by hand, for the two drivers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from devtools.bench.contestants.base import Conditions
from devtools.bench.schema import (
    AUTHOR_COLUMNS,
    BOOK_COLUMNS,
    DICT_COLUMNS,
    WRITTEN_COLUMNS,
    numbered_table,
    wide_columns,
    wide_table,
)

__all__ = ["EXERCISE", "SQL", "author_of", "numbered", "row", "shape", "tags_of", "wide", "with_percent"]

_BOOK = ", ".join(BOOK_COLUMNS)
_OF_BOTH = ", ".join([f"b.{name}" for name in BOOK_COLUMNS] + [f"a.{name}" for name in AUTHOR_COLUMNS])
_IN_PRINT = "WHERE in_print AND price > $1 ORDER BY id LIMIT 100"
_TYPES = ["bigint[]", "text[]", "text[]", "boolean[]", "numeric[]", "timestamptz[]", "integer[]", "jsonb[]"]
_ARRAYS = ", ".join(f"${number}::{name}" for number, name in enumerate(_TYPES, 1))
_INSERT = f"INSERT INTO wbook ({', '.join(WRITTEN_COLUMNS)})"

#: Placeholders are ``$1``, ``$2``; in order, so that they can become psycopg's.
SQL = {
    "get": f"SELECT {_BOOK} FROM book WHERE id = $1",
    "count": "SELECT count(*) FROM book WHERE author_id = $1 AND in_print",
    "exists": "SELECT 1 FROM book WHERE author_id = $1 AND price > $2 LIMIT 1",
    "update": "UPDATE wbook SET price = $1, pages = $2 WHERE id = $3",
    "create": f"{_INSERT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
    "author": f"SELECT {', '.join(AUTHOR_COLUMNS)} FROM author WHERE id = $1",
    "written": f"SELECT {_BOOK} FROM wbook WHERE id = $1",
    "reprice": "UPDATE wbook SET price = $1 WHERE id = $2",
    "dicts": f"SELECT {', '.join(DICT_COLUMNS)} FROM book {_IN_PRINT}",
    "objects": f"SELECT {_BOOK} FROM book {_IN_PRINT}",
    "related": f"SELECT {_OF_BOTH} FROM book b JOIN author a ON a.id = b.author_id "
    "WHERE b.in_print AND b.price > $1 ORDER BY b.id LIMIT 100",
    "from_pk": f"SELECT {_BOOK} FROM book WHERE id >= $1 ORDER BY id LIMIT 20",
    "tags": "SELECT bt.book_id, t.id, t.name FROM tag t JOIN book_tags bt ON bt.tag_id = t.id "
    "WHERE bt.book_id = ANY($1)",
    "annotated": f"SELECT {_BOOK}, CASE WHEN price > $1 THEN 1 ELSE 0 END, price - $2 FROM book "
    "WHERE id >= $3 AND author_id IN (SELECT id FROM author WHERE born >= $4) ORDER BY id LIMIT 20",
    "bulk": f"{_INSERT} SELECT * FROM unnest({_ARRAYS}) RETURNING id",
    "rows": f"SELECT {_BOOK} FROM book ORDER BY id LIMIT $1",
}

#: What a connection has done when its memory is measured.
EXERCISE: Sequence[tuple[str, tuple[Any, ...]]] = (
    ("get", (1,)),
    ("objects", (Decimal(10),)),
    ("count", (1,)),
)

_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def with_percent(sql: str) -> bytes:
    """The same text with psycopg's placeholders."""
    return re.sub(r"\$\d+", "%s", sql).encode()


def wide(width: int) -> str:
    return f"SELECT id, {', '.join(wide_columns(width))} FROM {wide_table(width)} ORDER BY id"


def numbered(number: int) -> str:
    return f"SELECT id, c1, c2, c3, c4 FROM {numbered_table(number)} WHERE id = $1"


def shape(conditions: Conditions) -> tuple[str, list[Any]]:
    """The text of a query for these conditions, and its parameters."""
    parts: list[str] = []
    parameters: list[Any] = []
    for number, (column, lookup, value) in enumerate(conditions, 1):
        if lookup in _OPERATORS:
            parts.append(f"{column} {_OPERATORS[lookup]} ${number}")
            parameters.append(value)
        else:
            parts.append(f"{column} LIKE ${number}")
            parameters.append(f"{value}%" if lookup == "startswith" else f"%{value}%")
    return f"SELECT {_BOOK} FROM book WHERE {' AND '.join(parts)} ORDER BY id LIMIT 10", parameters


def row(thing: Any, columns: Sequence[str]) -> tuple[Any, ...]:
    """A book is a row; in answers of `prefetched` a pair of it and its tags."""
    found = thing if isinstance(thing[0], int) else thing[0]
    return tuple(found)[: len(columns)]


def author_of(book: Any) -> Any:
    """The second half of a joined row."""
    return tuple(book)[len(BOOK_COLUMNS) :]


def tags_of(book: Any) -> list[str]:
    return [tag[2] for tag in book[1]]
