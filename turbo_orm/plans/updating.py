"""Run `bulk_update()` on the plans of its statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet

from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.bridge.handler import in_transaction
from turbo_orm.bridge.refusals import refusals
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.straight import goes_straight
from turbo_orm.conf import get_config
from turbo_orm.plans.bulk_updates import bulk_update_plan, fields_to_update
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.inserts import inserts_of
from turbo_orm.plans.mode import PlannedQuerySet, is_replaced
from turbo_orm.plans.planned import has_all_rows
from turbo_orm.plans.row_updates import PlannedWrite
from turbo_orm.plans.running import run, run_in_bridge
from turbo_orm.plans.state import djangos
from turbo_orm.plans.verify_writes import verify_bulk_update

__all__ = ["abulk_update", "bulk_update_in_bridge"]


_djangos: Any = QuerySet.bulk_update


def bulk_update_in_bridge(like: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that is *like*, Django's ``bulk_update()``, and has plans in the bridge."""

    @wraps(like)
    def bulk_update(self: PlannedQuerySet, objs: Any, fields: Any, batch_size: int | None = None) -> Any:
        if current_bridge() is not None and _is_simple(self, fields, batch_size):
            objs = tuple(objs)
            writes = _writes(self, objs, fields, batch_size)
            if writes is not None:
                return _execute(writes)
        return djangos(self, "bulk_update")(objs, fields, batch_size)

    return bulk_update


async def abulk_update(queryset: PlannedQuerySet, /, *args: Any, **kwargs: Any) -> Any:
    """Return what ``queryset.bulk_update(*args, **kwargs)`` does."""
    # And may take other arguments.
    if "bulk_update" not in queryset._plannable_terminals or is_replaced(queryset, "bulk_update"):
        return await run_sync(queryset.bulk_update, *args, **kwargs)
    return await _abulk_update(queryset, *args, **kwargs)


async def _abulk_update(
    queryset: PlannedQuerySet, objs: Any, fields: Any, batch_size: int | None = None
) -> Any:
    if not isinstance(objs, list | tuple) or not _is_simple(queryset, fields, batch_size):
        return await run_sync(queryset.bulk_update, objs, fields, batch_size)
    writes = _writes(queryset, objs, fields, batch_size)
    if writes is None:  # not for the second time in the bridge: that would be a second use of the shape
        return await run_sync(_djangos, queryset, objs, fields, batch_size)
    alias = writes[0].alias
    # Of one statement nobody sees whether there is a block around it, unless it is watched.
    if len(writes) == 1 and (in_transaction(alias) or goes_straight(alias)):
        return (await run(writes[0])).rowcount
    return await run_sync(_execute, writes)


def _execute(writes: Sequence[PlannedWrite]) -> int:
    """Execute *writes* in one transaction, as Django does; return how many rows they have changed."""
    alias = writes[0].alias
    changed = 0
    with transaction.atomic(using=alias, savepoint=False):
        for write in writes:
            with transaction.mark_for_rollback_on_error(using=alias):
                changed += run_in_bridge(write).rowcount
    return changed


def _is_simple(queryset: PlannedQuerySet, fields: Any, batch_size: Any) -> bool:
    """Whether `bulk_update()` is Django's, of all rows, and takes what it is given besides objects."""
    planned = queryset._planned
    return (
        planned is not None
        and has_all_rows(planned)
        and "bulk_update" in queryset._plannable_terminals
        and bool(fields)
        and type(fields) in (list, tuple, set, frozenset)
        and (batch_size is None or (type(batch_size) is int and batch_size > 0))
        and get_config().plans
    )


#: What `bulk_update()` calls of an object.
_HOOKS = [
    (name, getattr(Model, name))
    for name in ("_prepare_related_fields_for_save", "_get_pk_val", "_is_pk_set", "pk", "__getattribute__")
    if hasattr(Model, name)
]


def _writes(
    queryset: PlannedQuerySet, objs: Sequence[Any], names: Any, batch_size: int | None
) -> list[PlannedWrite] | None:
    """Return a statement per batch; None if only Django's `bulk_update()` can do it, or refuses to.

    Raises what that raises for related objects that are not saved.
    """
    model: Any = queryset.model
    fields = _fields(model, objs, names)
    if fields is None:
        return None
    _prepare_related(model, objs, fields)
    alias = queryset._alias_to_write()
    connection = compiling_connection(alias)
    if connection is None:
        return None
    key = model._meta.pk
    size = connection.ops.bulk_batch_size([key, key, *fields], objs)
    if batch_size is not None:
        size = min(batch_size, size)
    batches = [objs[start : start + size] for start in range(0, len(objs), size)]
    refused = refusals.count
    try:
        plan = bulk_update_plan(model, fields, alias, connection)
        writes = None if plan is None else [plan.write(batch) for batch in batches]
    except Exception:  # Django raises it again, or knows better
        return None
    if refusals.count != refused:
        return None
    if writes is not None and get_config().verify_plans:
        for batch, write in zip(batches, writes, strict=True):
            verify_bulk_update(model, batch, fields, write)
    return writes


def _fields(model: Any, objs: Sequence[Any], names: Any) -> tuple[Any, ...] | None:
    """Return the fields *names* stand for; None if they, or *objs*, are not what there are plans for."""
    meta = model._meta
    if (
        set(map(type, objs)) != {model}
        or len(getattr(meta, "pk_fields", (meta.pk,))) != 1
        or any(getattr(model, name) is not own for name, own in _HOOKS)
        or None in [obj.__dict__.get(meta.pk.attname) for obj in objs]
    ):
        return None
    try:
        return fields_to_update(model, tuple(names))
    except TypeError:  # one is no name
        return None


def _prepare_related(model: type[Model], objs: Sequence[Any], fields: Sequence[Any]) -> None:
    """Do what Django does to the related objects of *objs* first, where there is something to do."""
    if not any(field.is_relation for field in fields):
        return
    are_saved = inserts_of(model).are_saved
    for obj in objs:
        attributes = obj.__dict__
        # An instance has it once a foreign key was set.
        cache = attributes["_state"].__dict__.get("fields_cache")
        if cache and not are_saved(cache, attributes):
            obj._prepare_related_fields_for_save(operation_name="bulk_update", fields=fields)
