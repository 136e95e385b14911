"""What Django's terminals make of the rows of their query."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import MultipleObjectsReturned
from django.db.models.query import MAX_GET_RESULTS

from turbo_orm.db.wire import Result
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.plan import Bound
from turbo_orm.prefetching import aprefetch_related_objects
from turbo_orm.rows import objects

__all__ = ["ANSWERS"]


async def _complete(queryset: PlannedQuerySet, bound: Bound, result: Result) -> list[Any]:
    found = await objects(queryset, bound, result)
    lookups = queryset._prefetch_related_lookups
    if lookups and found:
        await aprefetch_related_objects(found, *lookups)
    return found


async def _get(queryset: PlannedQuerySet, bound: Bound, result: Result) -> Any:
    found = await _complete(queryset, bound, result)
    if len(found) == 1:
        return found[0]
    model: Any = queryset.model
    name = model._meta.object_name
    if not found:
        raise model.DoesNotExist(f"{name} matching query does not exist.")
    count = len(found) if len(found) < MAX_GET_RESULTS else f"more than {MAX_GET_RESULTS - 1}"
    multiple: type[MultipleObjectsReturned] = model.MultipleObjectsReturned
    raise multiple(f"get() returned more than one {name} -- it returned {count}!")


async def _first(queryset: PlannedQuerySet, bound: Bound, result: Result) -> Any:
    found = await _complete(queryset, bound, result)
    return found[0] if found else None


async def _count(queryset: PlannedQuerySet, bound: Bound, result: Result) -> int:
    assert result.rows is not None
    return int(result.rows[0][0])


async def _exists(queryset: PlannedQuerySet, bound: Bound, result: Result) -> bool:
    return bool(result.rows)


#: From the terminal to what makes its answer.
ANSWERS = {"get": _get, "first": _first, "last": _first, "count": _count, "exists": _exists}
