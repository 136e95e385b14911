"""`create()` and `save()` of new objects: on the plan of their INSERT where they have one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import router
from django.db.models import Model
from django.db.models.query import ModelIterable

from turbo_orm.bridge.run import run_sync
from turbo_orm.conf import get_config
from turbo_orm.db.statements import Statement
from turbo_orm.plans import running
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.construction import new_object
from turbo_orm.plans.inserts import insert_plan
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.verify_inserts import verify_insert

__all__ = ["create", "save"]


class _Insert(NamedTuple):
    alias: str
    statement: Statement
    params: tuple[Any, ...]
    writes: bool = True

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        return self.statement.sql, self.params


async def create(queryset: PlannedQuerySet, kwargs: Mapping[str, Any]) -> Any:
    """Return what ``queryset.create(**kwargs)`` does."""
    internals: Any = queryset
    made = None
    if "create" in queryset._plannable_terminals and internals._iterable_class is ModelIterable:
        made = new_object(queryset.model, kwargs)
    if made is None:
        return await run_sync(queryset.create, **kwargs)
    internals._for_write = True
    alias = queryset.db
    if not await _insert(made, alias, force_insert=True):
        await run_sync(made.save, force_insert=True, using=alias)
    if "_fetch_mode" in internals.__dict__:
        made._state.fetch_mode = internals._fetch_mode
    return made


async def save(instance: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Do what ``instance.save(*args, **kwargs)`` does."""
    if not args and not kwargs and instance._state.adding:
        alias = router.db_for_write(type(instance), instance=instance)
        if await _insert(instance, alias, force_insert=False):
            return
    await run_sync(instance.save, *args, **kwargs)


async def _insert(instance: Any, alias: str, *, force_insert: bool) -> bool:
    """Insert *instance*; False, without having done anything, if `save()` must do it."""
    config = get_config()
    connection = compiling_connection(alias) if config.plans else None
    if connection is None:
        return False
    plan = insert_plan(instance, alias, connection, force_insert=force_insert)
    if plan is None:
        return False
    try:
        params = plan.params(instance)
    except Exception:  # save() raises it again, or does what plans can't
        return False
    if config.verify_plans:
        verify_insert(instance, plan, params, alias, force_insert=force_insert)
    result = await running.run(_Insert(alias, plan.statement, params))
    plan.finish(instance, result.rows[0] if plan.returns and result.rows else None, alias)
    return True
