"""What Django's terminals make of what their query yields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import MultipleObjectsReturned
from django.db.models import QuerySet
from django.db.models.query import MAX_GET_RESULTS

__all__ = ["ANSWERS", "get"]


def get(queryset: QuerySet[Any, Any], found: Sequence[Any]) -> Any:
    """Return the one object of *found*. Raises ``DoesNotExist`` and ``MultipleObjectsReturned``."""
    if len(found) == 1:
        return found[0]
    model: Any = queryset.model
    name = model._meta.object_name
    if not found:
        raise model.DoesNotExist(f"{name} matching query does not exist.")
    count = len(found) if len(found) < MAX_GET_RESULTS else f"more than {MAX_GET_RESULTS - 1}"
    multiple: type[MultipleObjectsReturned] = model.MultipleObjectsReturned
    raise multiple(f"get() returned more than one {name} -- it returned {count}!")


def _first(found: Sequence[Any]) -> Any:
    return found[0] if found else None


def _count(rows: Sequence[tuple[Any, ...]]) -> int:
    return int(rows[0][0])


#: From the terminal to what makes its answer, of objects or of rows.
ANSWERS: dict[str, Callable[[Any], Any]] = {
    "first": _first,
    "last": _first,
    "count": _count,
    "exists": bool,
}
