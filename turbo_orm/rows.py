"""From the rows of a planned query to what its queryset yields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import prefetch_related_objects
from django.db.models.query import ModelIterable

from turbo_orm.bridge.run import run_sync
from turbo_orm.db.wire import Result
from turbo_orm.loading import Peers
from turbo_orm.plans import running
from turbo_orm.plans.cursors import chunks_from_cursor
from turbo_orm.plans.loaders import assign_known_related
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.plan import Bound
from turbo_orm.plans.state import DEFAULT_FETCH_MODE

__all__ = ["fetch_in_bridge", "load_now", "load_one", "objects", "stream_in_bridge"]

#: Rows fetched at once where nobody says how many; Django's.
_CHUNK_SIZE = 2000


async def objects(queryset: PlannedQuerySet, bound: Bound, result: Result) -> list[Any]:
    """Return what *queryset* yields for the rows of *result*, wherever its loader has to run."""
    loader, rows = bound.plan.loader, result.rows
    assert loader is not None
    assert rows is not None
    if loader.calls_user_code:
        return await run_sync(_load, queryset, bound, rows)
    return _load(queryset, bound, rows)


def load_now(queryset: PlannedQuerySet, bound: Bound, result: Result) -> list[Any] | None:
    """Return what *queryset* yields for the rows of *result* if that takes no waiting, else None.

    To be waited for are prefetches, and loaders which run code of the project.
    """
    loader: Any = bound.plan.loader
    rows: Any = result.rows
    if loader.calls_user_code or queryset._prefetch_related_lookups:
        return None
    return _load(queryset, bound, rows)


def load_one(queryset: PlannedQuerySet, bound: Bound, result: Result) -> Any:
    """Return the object *queryset* yields for the only row of *result*; None where `load_now()` must."""
    rows: Any = result.rows
    mode = queryset._fetch_mode
    if len(rows) != 1 or mode is not DEFAULT_FETCH_MODE or queryset._prefetch_related_lookups:
        return None
    plan: Any = bound.plan
    load = plan.loader.made_one or plan.loader.one
    if load is None or queryset._known_related_objects:
        return None
    return load(rows[0], plan.alias, mode)


def fetch_in_bridge(queryset: PlannedQuerySet, bound: Bound) -> list[Any]:
    """Return what *queryset* yields to sync code in the bridge, by the statement *bound*."""
    result = running.run_in_bridge(bound)
    assert result.rows is not None
    return _load(queryset, bound, result.rows)


def stream_in_bridge(
    queryset: PlannedQuerySet, bound: Bound, from_cursor: bool, chunk_size: int | None
) -> Iterator[Any] | None:
    """Return what ``iterator(chunk_size)`` does for sync code in the bridge; None if only Django can.

    *from_cursor* says that rows may stay on the server until they are needed. The objects of one
    chunk are peers of each other.
    """
    statement = bound.statement
    if (
        statement.locks
        or statement.known is not None
        or getattr(queryset._fetch_mode, "track_peers", False)  # of all chunks
    ):
        return None
    return _stream(queryset, bound, from_cursor, chunk_size)


def _stream(
    queryset: PlannedQuerySet, bound: Bound, from_cursor: bool, chunk_size: int | None
) -> Iterator[Any]:
    size = chunk_size or _CHUNK_SIZE
    lookups = queryset._prefetch_related_lookups if chunk_size is not None else ()
    for rows in chunks_from_cursor(bound, size) if from_cursor else _chunks(bound, size):
        found = _load(queryset, bound, rows)
        if lookups:
            prefetch_related_objects(found, *lookups)
        yield from found


def _chunks(bound: Bound, size: int) -> Iterator[list[tuple[Any, ...]]]:
    rows = running.run_in_bridge(bound).rows or []
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _load(queryset: PlannedQuerySet, bound: Bound, rows: list[tuple[Any, ...]]) -> list[Any]:
    loader = bound.plan.loader
    assert loader is not None
    peers = Peers() if len(rows) > 1 and queryset._iterable_class is ModelIterable else None
    found = loader(rows, bound.alias, queryset._fetch_mode, peers)
    if queryset._known_related_objects and issubclass(queryset._iterable_class, ModelIterable):
        assign_known_related(found, queryset._known_related_objects)
    return found
