"""`delete()` of an object: on the plan of its statement where it is a single one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Model

from turbo_orm.bridge.run import run_sync
from turbo_orm.plans import running
from turbo_orm.plans.deletes import planned_delete

__all__ = ["delete"]


async def delete(
    instance: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[int, dict[str, int]]:
    """Do what ``instance.delete(*args, **kwargs)`` does, and return what it returns."""
    bound = planned_delete(instance, kwargs.get("using")) if not args and _USING.issuperset(kwargs) else None
    if bound is None:
        return await run_sync(instance.delete, *args, **kwargs)
    count = (await running.run(bound)).rowcount
    meta = type(instance)._meta
    setattr(instance, meta.pk.attname, None)
    return count, {meta.label: count}


_USING = frozenset({"using"})
