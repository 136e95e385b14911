"""`create()` and `save()` of new objects: on the plan of their INSERT where they have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Model
from django.db.models.query import ModelIterable

from turbo_orm.bridge.run import run_sync
from turbo_orm.conf import get_config
from turbo_orm.db.json_text import as_djangos
from turbo_orm.db.statements import Statement
from turbo_orm.plans import running
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.construction import new_object
from turbo_orm.plans.inserts import InsertPlan, insert_plan
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.verify_inserts import verify_insert

__all__ = ["create", "save"]


class _Insert(NamedTuple):
    alias: str
    statement: Statement
    params: tuple[Any, ...]
    writes: bool
    plan: InsertPlan

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        return self.statement.sql, tuple(map(as_djangos, self.params))


_new_insert: Callable[[type[_Insert], tuple[Any, ...]], _Insert] = tuple.__new__


async def create(queryset: PlannedQuerySet, /, **kwargs: Any) -> Any:
    """Return what ``queryset.create(**kwargs)`` does."""
    internals: Any = queryset
    made = None
    if "create" in queryset._plannable_terminals and internals._iterable_class is ModelIterable:
        made = new_object(queryset.model, kwargs)
    if made is None:
        return await run_sync(queryset.create, **kwargs)
    internals._for_write = True
    # What QuerySet.db says where there is nothing to ask.
    asks = router.routers or internals._db or internals._hints or not queryset._plan_mode
    alias = queryset.db if asks else DEFAULT_DB_ALIAS
    insert = _insert_of(made, alias, force_insert=True)
    if insert is None:
        await run_sync(made.save, force_insert=True, using=alias)
    else:
        rows = (await running.run(insert)).rows
        insert.plan.finish(made, rows[0] if rows else None, alias)
    if "_fetch_mode" in internals.__dict__:
        made._state.fetch_mode = internals._fetch_mode
    return made


async def save(instance: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Do what ``instance.save(*args, **kwargs)`` does."""
    if not args and not kwargs and instance._state.adding:
        alias = router.db_for_write(type(instance), instance=instance)
        insert = _insert_of(instance, alias, force_insert=False)
        if insert is not None:
            rows = (await running.run(insert)).rows
            insert.plan.finish(instance, rows[0] if rows else None, alias)
            return
    await run_sync(instance.save, *args, **kwargs)


def _insert_of(instance: Any, alias: str, *, force_insert: bool) -> _Insert | None:
    """Return what inserts *instance*; None, without having done anything, if `save()` must do it."""
    config = get_config()
    connection = compiling_connection(alias) if config.plans else None
    if connection is None:
        return None
    plan = insert_plan(instance, alias, connection, force_insert=force_insert)
    if plan is None:
        return None
    try:
        params = plan.params(instance)
    except Exception:  # save() raises it again, or does what plans can't
        return None
    insert = _new_insert(_Insert, (alias, plan.statement, params, True, plan))
    if config.verify_plans:
        verify_insert(instance, insert, alias, force_insert=force_insert)
    return insert
