"""What every contestant is asked to do, with which arguments."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from devtools.bench.schema import MODELS, ROWS_EACH_MODEL, WIDTHS, Sizes
from devtools.bench.verbs import VERBS

__all__ = ["GROWING", "OPERATIONS", "Growing", "Operation", "shape_of_number"]

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Operation:
    """One method of a contestant, and the arguments of its *number*-th call."""

    #: Also the name of the contestant's method.
    name: str
    #: What tables and charts call it.
    title: str
    #: From the number of the call (and, for growing work, its size) to the arguments.
    arguments: Callable[..., Arguments]
    #: Whether it writes to the tables.
    writes: bool = False
    #: Whether it is a plain function which needs no database.
    local: bool = False


def _spread(number: int, size: int) -> int:
    """A number from 1 to *size*; neighbours lie far apart."""
    return 1 + number * 7919 % size


def _price(number: int) -> Decimal:
    return Decimal(_spread(number, 4000)) / 100  # every second row costs more than 50


@lru_cache(maxsize=1)
def _thousand() -> list[dict[str, Any]]:
    return [_row(number) for number in range(1000)]


def _row(number: int) -> dict[str, Any]:
    """The values of a new row of ``wbook``."""
    return {
        "author_id": _spread(number, Sizes.authors),
        "title": f"New book {number}",
        "description": "A new book, as good as any other. " * 4,
        "in_print": number % 2 == 0,
        "price": Decimal(number % 9000 + 100) / 100,
        "created_at": dt.datetime(2026, 1, 1, 12, 30, 0, number % 10**6, tzinfo=dt.timezone.utc),
        "pages": None if number % 10 == 0 else number % 900,
        "meta": {"edition": number % 7},
    }


OPERATIONS = (
    Operation("get", "get one row by pk", lambda n: (_spread(n, Sizes.books),)),
    Operation("count", "count", lambda n: (_spread(n, Sizes.authors),)),
    Operation("exists", "exists", lambda n: (_spread(n, Sizes.authors), _price(n) + 40)),
    Operation(
        "update", "update by filter", lambda n: (_spread(n, Sizes.written), _price(n), n % 900), writes=True
    ),
    Operation("create", "create one row", lambda n: (_row(n),), writes=True),
    Operation(
        "block",
        "block of 2 reads + 1 write",
        lambda n: (_spread(n, Sizes.authors), _spread(n, Sizes.written), _price(n)),
        writes=True,
    ),
    Operation("dicts", "100 rows as dicts", lambda n: (_price(n),)),
    Operation("objects", "100 model objects", lambda n: (_price(n),)),
    Operation("related", "100 model objects with select_related", lambda n: (_price(n),)),
    Operation("prefetched", "20 objects + m2m prefetch", lambda n: (_spread(n, Sizes.books - 20),)),
    Operation(
        "annotated",
        "20 objects, annotated, of a subquery",
        lambda n: (_spread(n, Sizes.books - 400), _price(n), 1900 + n % 50),
    ),
    Operation("bulk", "bulk create of 1,000, right pks", lambda n: (_thousand(),), writes=True),
    Operation(
        "build", "building the query and its SQL again, no database", lambda n: (_price(n),), local=True
    ),
    Operation("request", "get, one query per request", lambda n: (_spread(n, Sizes.books),)),
)


@dataclass(frozen=True)
class Growing:
    """An operation whose cost is looked at as its size grows."""

    operation: Operation
    sizes: tuple[int, ...]
    #: Tasks at once; 0: as many as the size says.
    tasks: int
    #: What the sizes are, where they are no sizes but different things.
    labels: tuple[str, ...] = ()

    def label(self, size: int) -> str:
        """What a size is called in tables."""
        return self.labels[size] if self.labels else f"{size:,}"


#: By name; in `Sample.operation` too.
GROWING = {
    "rows": Growing(Operation("rows", "rows", lambda n, size: (size,)), (1, 10, 100, 1_000, 10_000), 4),
    "columns": Growing(Operation("wide", "columns, 100 rows", lambda n, size: (size,)), WIDTHS, 4),
    "models": Growing(
        Operation(
            "numbered", "models in use, get", lambda n, size: (n * 7919 % size, 1 + n % ROWS_EACH_MODEL)
        ),
        (1, 10, 100, MODELS),
        16,
    ),
    "tasks": Growing(
        Operation("get", "tasks at once, get", lambda n, size: (_spread(n, Sizes.books),)),
        (1, 10, 100, 1_000),
        0,
    ),
    "uses": Growing(
        Operation("shape", "uses of a query shape", lambda n, size: (shape_of_number(n),)), (1, 2, 3, 10), 1
    ),
    "verbs": Growing(
        Operation("verb", "other methods", lambda n, size: (size, n), writes=True),
        tuple(range(len(VERBS))),
        16,
        tuple(verb.title for verb in VERBS),
    ),
}

_CONDITIONS = (
    ("author_id", "gte", 1), ("author_id", "lte", Sizes.authors), ("pages", "gte", 1), ("pages", "lt", 2000),
    ("title", "startswith", "The"), ("title", "contains", "book"), ("description", "gte", ""),
    ("price", "gt", Decimal("0.5")), ("price", "lte", Decimal(100)), ("id", "gt", 0), ("id", "lt", 10**7),
)  # fmt: skip


def shape_of_number(number: int) -> tuple[tuple[str, str, Any], ...]:
    """The *number*-th of 957 query shapes: ``(column, lookup, value)``, all true of books that have pages."""
    return _shapes()[number]


@lru_cache(maxsize=1)
def _shapes() -> list[tuple[tuple[str, str, Any], ...]]:
    from itertools import combinations

    return [chosen for size in (3, 4, 5) for chosen in combinations(_CONDITIONS, size)]
