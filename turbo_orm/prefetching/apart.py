"""One queryset that several tasks evaluate at once: each evaluates a copy of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.models.query import RawQuerySet

__all__ = ["evaluated_apart"]


@contextmanager
def evaluated_apart(queryset: Any, rows: list[Any] | None) -> Iterator[Any]:
    """Yield what is to be evaluated in the place of *queryset*, which gets what comes of it.

    *rows* are its rows, if they are known. Before a queryset says that its prefetches are done, these
    have to be those of the rows it has, and whoever derives another from it needs its lookups. It keeps
    what the first task comes to; nobody waits, for the first may itself wait for another's connection.
    """
    before = {**vars(queryset)}
    kind = type(queryset)
    apart: Any = object.__new__(kind)
    vars(apart).update(before)
    apart._result_cache = rows
    if issubclass(kind, RawQuerySet):
        apart.query = queryset.query.clone(queryset.query.using)  # which has the cursor
    try:
        yield apart
    finally:
        if queryset._result_cache is None or (apart._prefetch_done and not queryset._prefetch_done):
            vars(queryset).update(
                {name: value for name, value in vars(apart).items() if before.get(name) is not value}
            )
