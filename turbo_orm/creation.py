"""`create()` and `save()`: on the plans of their statements where they have some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import DatabaseError, router, transaction
from django.db.models import Model
from django.db.models.query import ModelIterable

from turbo_orm.bridge.refusals import refusals
from turbo_orm.bridge.run import run_sync
from turbo_orm.conf import get_config
from turbo_orm.plans import running
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.construction import new_object
from turbo_orm.plans.inserts import insert_plan
from turbo_orm.plans.mode import PlannedQuerySet, is_replaced
from turbo_orm.plans.row_updates import PlannedWrite, planned_update
from turbo_orm.plans.state import DEFAULT_FETCH_MODE
from turbo_orm.plans.verify_writes import verify_insert, verify_update

__all__ = ["create", "save"]


_new_write: Callable[[type[PlannedWrite], tuple[Any, ...]], PlannedWrite] = tuple.__new__


async def create(queryset: PlannedQuerySet, /, **kwargs: Any) -> Any:
    """Return what ``queryset.create(**kwargs)`` does."""
    internals: Any = queryset
    made = None
    if (
        "create" in queryset._plannable_terminals
        and internals._iterable_class is ModelIterable
        and not is_replaced(queryset, "create")
    ):
        refused = refusals.count
        made = new_object(queryset.model, kwargs)
        if refusals.count != refused:
            made = None
    if made is None:
        return await run_sync(queryset.create, **kwargs)
    alias = queryset._alias_to_write()
    if not await _insert(made, alias, force_insert=True):
        await run_sync(made.save, force_insert=True, using=alias)
    if DEFAULT_FETCH_MODE is not None:
        made._state.fetch_mode = internals._fetch_mode
    return made


async def save(instance: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Do what ``instance.save(*args, **kwargs)`` does."""
    how = None if args else _how(kwargs)
    if how is None or not await _save(instance, *how):
        await run_sync(instance.save, *args, **kwargs)


#: force_insert, force_update, using, update_fields
_How = tuple[bool, bool, "str | None", "frozenset[str] | None"]

_SIMPLY: _How = (False, False, None, None)


def _how(kwargs: Mapping[str, Any]) -> _How | None:
    """Return what *kwargs* say to `save()`; None for what is left to it: mistakes, parents, nothing."""
    if not kwargs:
        return _SIMPLY
    if not _KWARGS.issuperset(kwargs):
        return None
    names = kwargs.get("update_fields")
    if names is not None:
        if not names or type(names) not in (list, tuple, set, frozenset):
            return None
        names = frozenset(names)
    insert, update = kwargs.get("force_insert", False), kwargs.get("force_update", False)
    if type(insert) is not bool or type(update) is not bool or (insert and (update or names)):
        return None
    return insert, update, kwargs.get("using"), names


_KWARGS = frozenset({"force_insert", "force_update", "using", "update_fields"})


async def _save(
    instance: Any, force_insert: bool, force_update: bool, using: str | None, names: frozenset[str] | None
) -> bool:
    """Save by plans; False, without having done anything, if `save()` must do it."""
    alias = using or router.db_for_write(type(instance), instance=instance)
    forced = force_update or names is not None
    if force_insert or (instance._state.adding and not forced):
        if await _insert(instance, alias, force_insert=force_insert):
            return True
        if force_insert:
            return False
    config = get_config()
    connection = compiling_connection(alias) if config.plans else None
    refused = refusals.count
    update = None if connection is None else planned_update(instance, alias, names, connection)
    if update is None or refusals.count != refused:
        return False
    if config.verify_plans:
        verify_update(instance, update, names)
    if (await running.run(update)).rowcount:
        state = instance._state
        state.db = alias
        state.adding = False
    elif forced:
        await run_sync(
            _refuse, instance, alias, "Forced update" if force_update else "Save with update_fields"
        )
    elif not await _insert(instance, alias, force_insert=True):
        await run_sync(instance.save, force_insert=True, using=alias)
    return True


def _refuse(instance: Any, alias: str, what: str) -> None:
    # As Django does, which has an error of its own for it since 6.0.
    error: type[Exception] = getattr(instance, "NotUpdated", DatabaseError)
    with transaction.mark_for_rollback_on_error(using=alias):
        raise error(f"{what} did not affect any rows.")


async def _insert(instance: Any, alias: str, *, force_insert: bool) -> bool:
    """Insert by a plan; False, without having done anything, if `save()` must do it."""
    config = get_config()
    connection = compiling_connection(alias) if config.plans else None
    if connection is None:
        return False
    refused = refusals.count
    plan = insert_plan(instance, alias, connection, force_insert=force_insert)
    if plan is None:
        return False
    try:
        params = plan.params(instance)
    except Exception:  # save() raises it again, or does what plans can't
        return False
    if refusals.count != refused:
        return False
    insert = _new_write(PlannedWrite, (alias, plan.statement, params, True, True))
    if config.verify_plans:
        verify_insert(instance, insert, alias, force_insert=force_insert)
    rows = (await running.run(insert)).rows
    plan.finish(instance, rows[0] if rows else None, alias)
    return True
