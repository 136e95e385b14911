"""What turbo_orm set out to reach, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devtools.bench.contestants import OURS, REFERENCE
from devtools.bench.operations import OPERATIONS
from devtools.bench.results import Figure, Results, figure

__all__ = ["TARGETS", "Reached", "Target", "reached"]

_DJANGO = "django"


@dataclass(frozen=True)
class Target:
    """CPU of an operation: at most so much of raw psycopg's, and so many times less than Django's."""

    of_psycopg: float | None
    less_than_django: float


TARGETS = {
    "get": Target(0.40, 12),
    "count": Target(0.40, 14),
    "exists": Target(0.40, 14),
    "update": Target(0.40, 12),
    "create": Target(0.50, 8),
    "block": Target(0.40, 8),
    "dicts": Target(0.55, 5),
    "objects": Target(0.70, 4.7),
    "related": Target(0.85, 5),
    "prefetched": Target(0.70, 9),
    "bulk": Target(0.80, 3.5),
    "build": Target(None, 35),
}
_BUILD_MICROSECONDS = 8.0
_MEMORY_KIB = 90.0
_MEMORY_LESS = 2.0
_THROUGHPUT = 2.0
_THROUGHPUT_OF_REQUESTS = 10.0
_READS = ("get", "count", "exists", "dicts", "objects", "related", "prefetched")
_SEEN_ONCE = 1.10


@dataclass(frozen=True)
class Reached:
    """A target beside what was measured."""

    what: str
    target: str
    measured: Figure
    met: bool


def reached(results: Results) -> Iterator[Reached]:
    """Yield every target for which this run has a figure."""
    for operation in OPERATIONS:
        target = TARGETS.get(operation.name)
        if target is None:
            continue
        if target.of_psycopg is not None:
            ratio = results.ratio(OURS, REFERENCE, operation.name)
            yield from _at_most(f"{operation.title}: x raw psycopg", target.of_psycopg, ratio)
        less = results.ratio(_DJANGO, OURS, operation.name, tasks=_tasks(operation.local))
        yield from _at_least(f"{operation.title}: less than Django", target.less_than_django, less)
    own = results.cpu(OURS, "build", tasks=1)
    yield from _at_most("building query and SQL: us", _BUILD_MICROSECONDS, own)
    yield from _memory(results)
    for operation in OPERATIONS:
        if operation.name in _READS:
            ratio = results.ratio(OURS, "asyncpg", operation.name)
            yield from _at_most(f"{operation.title}: x raw asyncpg", 1.0, ratio)
    for operation in OPERATIONS:
        if operation.local:
            continue
        least = _THROUGHPUT_OF_REQUESTS if operation.name == "request" else _THROUGHPUT
        rate = results.rates(OURS, _DJANGO, operation.name, tasks=100)
        yield from _at_least(f"{operation.title}: throughput of Django's at 100 tasks", least, rate)
    once = results.ratio(OURS, "turbo_no_plans", "uses", tasks=1, size=1)
    yield from _at_most("a query shape seen once: x plans off", _SEEN_ONCE, once)


def _tasks(local: bool) -> int:
    return 1 if local else 16


def _memory(results: Results) -> Iterator[Reached]:
    ours = results.memory.get(OURS, [])
    yield from _at_most("memory for each connection in use: KiB", _MEMORY_KIB, figure(ours))
    pairs = zip(results.memory.get(_DJANGO, []), ours, strict=False)
    yield from _at_least(
        "memory: less than Django", _MEMORY_LESS, figure(one / other for one, other in pairs)
    )


def _at_most(what: str, target: float, measured: Figure | None) -> Iterator[Reached]:
    if measured is not None:
        yield Reached(what, f"<= {target:g}", measured, measured.value <= target)


def _at_least(what: str, target: float, measured: Figure | None) -> Iterator[Reached]:
    if measured is not None:
        yield Reached(what, f">= {target:g}", measured, measured.value >= target)
