"""The terminals of querysets, async and in the bridge: on a plan where there is one, else Django's own.

An async one without a plan runs Django's sync method in the bridge, where what that executes may have
a plan again. `plans.running` executes the planned statements.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from turbo_orm import answers
from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.bridge.run import run_sync
from turbo_orm.db.wire import Result
from turbo_orm.plans import running
from turbo_orm.plans.mode import PlannedQuerySet, is_replaced
from turbo_orm.plans.plan import Bound
from turbo_orm.plans.state import djangos
from turbo_orm.prefetching import aprefetch_related_objects, fetch_with_prefetches, prefetch_for
from turbo_orm.prefetching.apart import evaluated_apart
from turbo_orm.rows import load_now, load_one, objects

__all__ = [
    "aget_packed",
    "aggregate_in_bridge",
    "aggregate_verb",
    "aprefetch_related_objects",
    "call",
    "complete",
    "delete",
    "delete_in_bridge",
    "fetch",
    "get_verb",
    "outermost_verb",
    "raw_delete_in_bridge",
    "reading_in_bridge",
    "run_sync",
    "terminal_in_bridge",
    "terminal_verb",
    "update_in_bridge",
    "update_verb",
]


async def call(owner: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """Run the sync method *name* of *owner* (a queryset, manager or instance) as one operation.

    The method is looked up on *owner*, so what a subclass overrides is honoured.
    """
    return await run_sync(getattr(owner, name), *args, **kwargs)


def get_verb(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the async method that runs ``get()``, on its plan where there is one.

    It looks like *like*, Django's method of that name.
    """

    @wraps(like)
    async def verb(self: PlannedQuerySet, *args: Any, **kwargs: Any) -> Any:
        return await aget_packed(self, args, kwargs)

    return verb


async def aget_packed(self: PlannedQuerySet, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``get(*args, **kwargs)`` of a queryset, on its plan where there is one."""
    if is_replaced(self, "get"):
        return await run_sync(self.get, *args, **kwargs)
    queryset, bound = self._bound_get(args, kwargs)
    if bound is None:
        if queryset is not self:
            return await run_sync(queryset.get)
        return await run_sync(self.get, *args, **kwargs)
    result = await running.run(bound)
    if (only := load_one(queryset, bound, result)) is not None:
        return only
    rows = load_now(queryset, bound, result)
    return answers.get(queryset, await complete(queryset, bound, result) if rows is None else rows)


def terminal_verb(name: str, like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the async method that runs the terminal *name*, on its plan where there is one.

    It looks like *like*, Django's method of that name.
    """
    answer = answers.ANSWERS[name]

    @wraps(like)
    async def verb(self: PlannedQuerySet) -> Any:
        bound = None if is_replaced(self, name) else self._bound(name)
        if bound is None:
            return await run_sync(getattr(self, name))
        result = await running.run(bound)
        if bound.plan.loader is None:
            return answer(result.rows)
        if (only := load_one(self, bound, result)) is not None:
            return only
        rows = load_now(self, bound, result)
        return answer(await complete(self, bound, result) if rows is None else rows)

    return verb


async def complete(queryset: PlannedQuerySet, bound: Bound, result: Result) -> list[Any]:
    """Return the objects of *queryset* for *result*, prefetches and all; see `load_now()`."""
    found = await objects(queryset, bound, result)
    lookups = queryset._prefetch_related_lookups
    if lookups and found:
        await aprefetch_related_objects(found, *lookups)
    return found


def outermost_verb(name: str, like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the async method that runs *name*, ``earliest()`` or ``latest()``, on a plan where there is one.

    It looks like *like*, Django's method of that name.
    """

    @wraps(like)
    async def verb(self: PlannedQuerySet, *fields: Any) -> Any:
        queryset = None if is_replaced(self, name) else self._outermost(name, fields)
        if queryset is None:
            return await run_sync(getattr(self, name), *fields)
        return answers.get(self, await fetch(queryset))

    return verb


def reading_in_bridge(name: str, like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that is *like*, Django's *name*, which only looks at the query of its queryset.

    In the bridge, what it executes has plans.
    """

    @wraps(like)
    def method(self: PlannedQuerySet, *args: Any, **kwargs: Any) -> Any:
        readable = self._readable() if current_bridge() is not None else self
        return djangos(readable, name)(*args, **kwargs)

    return method


def terminal_in_bridge(name: str, like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that is *like*, Django's terminal *name*, and has plans in the bridge."""
    answer = answers.ANSWERS[name]

    @wraps(like)
    def terminal(self: PlannedQuerySet) -> Any:
        if self._result_cache is None and self._planned is not None and current_bridge() is not None:
            bound = self._bound(name)
            if bound is not None:
                return answer(running.run_in_bridge(bound).rows)
            return _of_a_copy(self, name)()
        return djangos(self, name)()

    return terminal


def _of_a_copy(queryset: PlannedQuerySet, name: str) -> Callable[..., Any]:
    """Return Django's terminal *name* of what *queryset* is, so that it stays in plan mode itself.

    A program may keep it, and use it again.
    """
    return djangos(queryset if queryset._result_cache is not None else queryset._ordinary(), name)


def update_in_bridge(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that is *like*, Django's ``update()``, and has plans in the bridge."""

    @wraps(like)
    def update(self: PlannedQuerySet, **kwargs: Any) -> Any:
        if self._planned is not None and current_bridge() is not None:
            bound = self._bound_update(kwargs)
            if bound is not None:
                with transaction.mark_for_rollback_on_error(using=bound.alias):
                    count = running.run_in_bridge(bound).rowcount
            else:
                self._for_write = True
                count = _of_a_copy(self, "update")(**kwargs)
            self._result_cache = None
            return count
        return djangos(self, "update")(**kwargs)

    return update


def aggregate_in_bridge(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that is *like*, Django's ``aggregate()``, and has plans in the bridge."""

    @wraps(like)
    def aggregate(self: PlannedQuerySet, *args: Any, **kwargs: Any) -> Any:
        if self._planned is not None and current_bridge() is not None:
            bound = self._bound_aggregate(args, kwargs)
            if bound is not None and (loader := bound.plan.loader) is not None:
                return loader(running.run_in_bridge(bound).rows or (), bound.alias)[0]
            return _of_a_copy(self, "aggregate")(*args, **kwargs)
        return djangos(self, "aggregate")(*args, **kwargs)

    return aggregate


def delete_in_bridge(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that is *like*, Django's ``delete()``, and has plans in the bridge."""

    @wraps(like)
    def delete(self: PlannedQuerySet) -> Any:
        if self._planned is not None and current_bridge() is not None:
            bound = self._bound_delete()
            if bound is not None:
                with transaction.mark_for_rollback_on_error(using=bound.alias):
                    count = running.run_in_bridge(bound).rowcount
                return _deleted(self, count)
        return djangos(self, "delete")()

    return delete


def raw_delete_in_bridge(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that is *like*, Django's ``_raw_delete()``, and has plans in the bridge."""

    @wraps(like)
    def raw_delete(self: PlannedQuerySet, using: str) -> Any:
        if self._planned is not None and current_bridge() is not None:
            bound = self._bound_raw_delete(using)
            if bound is not None:
                return running.run_in_bridge(bound).rowcount
        return djangos(self, "_raw_delete")(using)

    return raw_delete


def _deleted(queryset: PlannedQuerySet, count: int) -> tuple[int, dict[str, int]]:
    """Return what ``delete()`` of *queryset* does if *count* of its rows went, and nothing with them."""
    queryset._result_cache = None
    return count, {queryset.model._meta.label: count} if count else {}


def update_verb(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the async method that runs ``update()``, on its plan where there is one.

    It looks like *like*, Django's method of that name.
    """

    @wraps(like)
    async def verb(self: PlannedQuerySet, **kwargs: Any) -> Any:
        bound = None if is_replaced(self, "update") else self._bound_update(kwargs)
        if bound is None:
            return await run_sync(self.update, **kwargs)
        result = await running.run(bound)
        self._result_cache = None
        return result.rowcount

    return verb


def aggregate_verb(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the async method that runs ``aggregate()``, on its plan where there is one.

    It looks like *like*, Django's method of that name.
    """

    @wraps(like)
    async def verb(self: PlannedQuerySet, *args: Any, **kwargs: Any) -> Any:
        bound = None if is_replaced(self, "aggregate") else self._bound_aggregate(args, kwargs)
        if bound is None:
            return await run_sync(self.aggregate, *args, **kwargs)
        loader, rows = bound.plan.loader, (await running.run(bound)).rows
        assert loader is not None
        assert rows is not None
        if loader.calls_user_code:
            return (await run_sync(loader, rows, bound.alias))[0]
        return loader(rows, bound.alias)[0]

    return verb


async def delete(queryset: PlannedQuerySet) -> tuple[int, dict[str, int]]:
    """Run ``delete()`` of *queryset*; return how many rows went, in all and by model."""
    bound = None if is_replaced(queryset, "delete") else queryset._bound_delete()
    if bound is None:
        return await run_sync(queryset.delete)
    return _deleted(queryset, (await running.run(bound)).rowcount)


async def fetch(queryset: QuerySet[Any, Any] | RawQuerySet[Any]) -> list[Any]:
    """Return the rows of *queryset*, filling its result cache as ``list()`` does."""
    internals: Any = queryset
    found = internals._result_cache
    # Django REST framework replaces it in a view's `queryset`, which all requests share.
    if found is None and isinstance(queryset, PlannedQuerySet) and not is_replaced(queryset, "_fetch_all"):
        bound = queryset._bound("list")
        if bound is not None:
            found = await objects(queryset, bound, await running.run(bound))
    if found is None:
        with evaluated_apart(internals, None) as apart:
            await fetch_with_prefetches(apart)
    elif internals._prefetch_related_lookups and not internals._prefetch_done:
        await prefetch_for(internals, found)
    elif internals._result_cache is None:  # else another task was sooner
        internals._result_cache = found
    rows: Any = internals._result_cache
    return rows  # type: ignore[no-any-return]
