"""What async code asks of the table of a many-to-many relation, and writes to it, without the bridge.

It writes only to tables that Django makes itself, and where nobody listens to `m2m_changed`: what else
there is to `add()`, `remove()`, `clear()` and `set()` is for Django's own methods.
https://docs.djangoproject.com/en/stable/ref/models/relations/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeAlias

from django.db import router
from django.db.models import QuerySet

from turbo_orm.bridge.refusals import attempted
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import is_in_scope
from turbo_orm.bridge.straight import goes_straight
from turbo_orm.plans import running
from turbo_orm.plans.inserting import planned_bulk_create
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.running import Work
from turbo_orm.plans.signals import has_m2m_receivers
from turbo_orm.transaction import atomic

__all__ = ["ask_join_table", "plan_writes"]


def ask_join_table(manager_class: type[Any]) -> None:
    """Have `count()` and `exists()` of *manager_class*, and their async twins, ask the join table alone.

    Django (5.1 and later) does so too, but only where the manager's class is `Manager` itself: any
    other might filter.
    """
    for name in ("count", "exists"):
        asking = _without_join(name, getattr(manager_class, name))
        setattr(manager_class, name, asking)
        setattr(
            manager_class, f"a{name}", _async_without_join(name, asking, getattr(manager_class, f"a{name}"))
        )


def _without_join(name: str, with_join: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(with_join)
    def method(self: Any) -> Any:
        if (rows := _rows(self)) is not None:
            return getattr(rows, name)()
        return with_join(self)

    return method


def _async_without_join(
    name: str, asking: Callable[..., Any], like: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(like)
    async def verb(self: Any) -> Any:
        rows = attempted(lambda: _rows(self)) if getattr(type(self), name) is asking else None
        if not isinstance(rows, PlannedQuerySet):
            return await run_sync(getattr(self, name))
        return await getattr(rows, f"a{name}")()

    return verb


def _rows(manager: Any) -> Any:
    """Return the rows of the join table that stand for those of *manager*; None if they do not."""
    return None if manager.get_prefetch_cache() is not None else manager.constrained_target


def plan_writes(manager_class: type[Any]) -> None:
    """Replace the a-methods of a many-to-many relation's *manager_class* that write to its table.

    To be called with a class whose ``get_queryset()`` filters by the relation and by nothing else.
    """
    for name, write in (("add", _add), ("remove", _remove), ("clear", _clear), ("set", _set)):
        setattr(manager_class, f"a{name}", _verb(manager_class, name, write))


#: Does what a method of a manager does with arguments; returns False, having done nothing, if only that can.
Write: TypeAlias = "Callable[[Any, tuple[Any, ...], Mapping[str, Any]], Awaitable[bool]]"


def _verb(manager_class: type[Any], name: str, write: Write) -> Callable[..., Any]:
    """Return the async method that does by *write* what the method *name* does, where that can."""
    djangos = getattr(manager_class, name)

    @wraps(getattr(manager_class, f"a{name}"))
    async def verb(self: Any, *args: Any, **kwargs: Any) -> None:
        is_djangos = getattr(type(self), name) is djangos and self.through._meta.auto_created
        if not is_djangos or has_m2m_receivers(self.through) or not await write(self, args, kwargs):
            await run_sync(getattr(self, name), *args, **kwargs)

    return verb


async def _add(manager: Any, objs: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    if any(options.values()) or not _OPTIONS_TO_ADD.issuperset(options):
        return False
    source, target = manager.source_field_name, manager.target_field_name
    directions = [(source, target), (target, source)] if manager.symmetrical else [(source, target)]
    return await _execute(
        manager, lambda alias: [_insert(manager, *each, objs, alias) for each in directions if objs]
    )


_OPTIONS_TO_ADD = frozenset({"through_defaults"})


def _insert(manager: Any, source: str, target: str, objs: tuple[Any, ...], alias: str) -> Work | None:
    of_instance = {f"{source}_id": manager.related_val[0]}
    keys = manager._get_target_ids(target, objs)
    rows = [manager.through(**of_instance, **{f"{target}_id": key}) for key in keys]
    return planned_bulk_create(
        manager.through._default_manager.using(alias), rows, {"ignore_conflicts": True}
    )


async def _remove(manager: Any, objs: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    return not options and await _execute(
        manager, lambda alias: [_delete(manager, _keys(manager, objs), alias)] if objs else []
    )


def _keys(manager: Any, objs: tuple[Any, ...]) -> list[Any]:
    key_of = manager.target_field.get_foreign_related_value
    return [*{key_of(obj)[0] if isinstance(obj, manager.model) else obj for obj in objs}]


async def _clear(manager: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    if args or options:
        return False
    return await _execute(manager, lambda alias: [_delete(manager, QuerySet(manager.model), alias)])


def _delete(manager: Any, removed: Any, alias: str) -> Work | None:
    rows = manager.through._default_manager.using(alias).filter(manager._build_remove_filters(removed))
    bound: Work | None = rows._bound_delete()
    return bound


async def _execute(manager: Any, make: Callable[[str], Sequence[Work | None]]) -> bool:
    """Execute what *make* makes for the database that is written to; False if not all of it has plans."""
    alias = _alias_to_write(manager)
    if alias is None or not (is_in_scope() or goes_straight(alias)):
        return False
    works = attempted(lambda: make(alias))
    if works is None or None in works:
        return False
    manager._remove_prefetched_objects()
    async with nullcontext() if len(works) < 2 else atomic(alias, savepoint=False):
        for work in works:
            assert work is not None
            await running.run(work)
    return True


def _alias_to_write(manager: Any) -> str | None:
    return attempted(lambda: router.db_for_write(manager.through, instance=manager.instance))


async def _set(manager: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    if (
        len(args) != 1
        or not isinstance(args[0], list | tuple | set | frozenset)
        or options.get("through_defaults")
        or not _OPTIONS_TO_SET.issuperset(options)
    ):
        return False
    alias = _alias_to_write(manager)
    if alias is None:
        return False
    async with atomic(alias, savepoint=False):
        if options.get("clear"):
            await manager.aclear()
            await manager.aadd(*args[0])
            return True
        target = manager.target_field
        old = {*await manager.using(alias).values_list(target.target_field.attname, flat=True).alist()}
        new = []
        for obj in args[0]:
            if isinstance(obj, manager.model):
                key = target.get_foreign_related_value(obj)[0]
            else:
                key = target.get_prep_value(obj)
            if key in old:
                old.remove(key)
            else:
                new.append(obj)
        await manager.aremove(*old)
        await manager.aadd(*new)
    return True


_OPTIONS_TO_SET = frozenset({"clear", "through_defaults"})
