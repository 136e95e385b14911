"""What async code asks of the table of a many-to-many relation, and writes to it, without the bridge.

It writes only to tables that Django makes itself, and where nobody listens to `m2m_changed`: what else
there is to `add()`, `remove()`, `clear()` and `set()` is for Django's own methods.
https://docs.djangoproject.com/en/stable/ref/models/relations/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

from django.db.models import QuerySet

from turbo_orm.bridge.refusals import attempted
from turbo_orm.bridge.run import run_sync
from turbo_orm.plans.features import asking_features
from turbo_orm.plans.inserting import planned_bulk_create
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.planned import has_all_rows
from turbo_orm.plans.running import Work
from turbo_orm.plans.signals import has_m2m_receivers
from turbo_orm.related_writes import (
    alias_to_write,
    attempted_or_bridged,
    execute,
    forgets_prefetched,
    plan_writes,
    to_be_set,
)
from turbo_orm.transaction import atomic

__all__ = ["ask_join_table", "write_to_join_table"]


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
    if manager.get_prefetch_cache() is not None:
        return None
    return asking_features(lambda: manager.constrained_target)


def write_to_join_table(manager_class: type[Any], *, is_plain: bool) -> None:
    """Have the a-methods of a relation's *manager_class* write to its table.

    *is_plain* says that the other model's manager has all rows.
    """
    writes = _Writes(manager_class, is_plain=is_plain)
    plan_writes(manager_class, add=writes.add, remove=writes.remove, clear=writes.clear, set=writes.set)


class _Writes:
    """What the a-methods of one class of managers write."""

    def __init__(self, manager_class: type[Any], *, is_plain: bool) -> None:
        self._manager_class = manager_class
        #: Otherwise it is asked.
        self._is_plain = is_plain
        #: Since Django 6.1, `set()` does so before it looks which rows there are.
        self._set_forgets = forgets_prefetched(getattr(manager_class, "set_base", manager_class.set))

    async def add(self, manager: Any, objs: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        if not _writes(manager) or any(options.values()) or not _OPTIONS_TO_ADD.issuperset(options):
            return False
        source, target = manager.source_field_name, manager.target_field_name
        directions = [(source, target), (target, source)] if manager.symmetrical else [(source, target)]
        return await execute(
            manager,
            _alias(manager),
            lambda alias: [_insert(manager, *each, objs, alias) for each in directions if objs],
        )

    async def remove(self, manager: Any, objs: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        return (
            not options
            and _writes(manager)
            and await execute(
                manager,
                _alias(manager),
                lambda alias: [self._delete(manager, _keys(manager, objs), alias)] if objs else [],
            )
        )

    async def clear(self, manager: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        if args or options or not _writes(manager):
            return False
        return await execute(
            manager,
            _alias(manager),
            lambda alias: [self._delete(manager, QuerySet(manager.model), alias)],
        )

    async def set(self, manager: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        if (
            not _writes(manager)
            or options.get("through_defaults")
            or not _OPTIONS_TO_SET.issuperset(options)
            or (objs := await to_be_set(args)) is None
            or (alias := _alias(manager)) is None
        ):
            return False
        if self._set_forgets:
            manager._remove_prefetched_objects()
        keys = attempted(lambda: _related_keys(manager, alias))
        if not isinstance(keys, PlannedQuerySet):
            return False
        async with atomic(alias, savepoint=False):
            if options.get("clear"):
                await manager.aclear()
                await manager.aadd(*objs)
            else:
                old = await keys.alist()
                gone, new = await attempted_or_bridged(lambda: _difference(manager, old, objs))
                await manager.aremove(*gone)
                await manager.aadd(*new)
        return True

    def _delete(self, manager: Any, removed: Any, alias: str) -> Work | None:
        if not (self._is_plain or self._has_all_rows(manager)):
            return None
        rows = manager.through._default_manager.using(alias).filter(manager._build_remove_filters(removed))
        bound: Work | None = rows._bound_delete()
        return bound

    def _has_all_rows(self, manager: Any) -> bool:
        """Whether the other model's manager has all rows: others are not removed."""
        of_model: Any = super(self._manager_class, manager)
        planned = of_model.get_queryset()._planned
        return planned is not None and has_all_rows(planned)


_OPTIONS_TO_ADD = frozenset({"through_defaults"})
_OPTIONS_TO_SET = frozenset({"clear", "through_defaults"})


def _writes(manager: Any) -> bool:
    """Whether all that a write of *manager* does is to change a table that Django made."""
    return bool(manager.through._meta.auto_created) and not has_m2m_receivers(manager.through)


def _alias(manager: Any) -> str | None:
    return alias_to_write(manager, manager.through)


def _insert(manager: Any, source: str, target: str, objs: tuple[Any, ...], alias: str) -> Work | None:
    of_instance = {f"{source}_id": manager.related_val[0]}
    keys = manager._get_target_ids(target, objs)
    rows = [manager.through(**of_instance, **{f"{target}_id": key}) for key in keys]
    return planned_bulk_create(
        manager.through._default_manager.using(alias), rows, {"ignore_conflicts": True}, in_atomic=True
    )


def _keys(manager: Any, objs: tuple[Any, ...]) -> list[Any]:
    key_of = manager.target_field.get_foreign_related_value
    return [*{key_of(obj)[0] if isinstance(obj, manager.model) else obj for obj in objs}]


def _related_keys(manager: Any, alias: str) -> Any:
    return manager.using(alias).values_list(manager.target_field.target_field.attname, flat=True)


def _difference(manager: Any, old: Iterable[Any], objs: Sequence[Any]) -> tuple[set[Any], list[Any]]:
    """Return the keys of *old* that are not those of *objs*, and the objects whose keys are not in it."""
    target = manager.target_field
    gone, new = {*old}, []
    for obj in objs:
        if isinstance(obj, manager.model):
            key = target.get_foreign_related_value(obj)[0]
        else:
            key = target.get_prep_value(obj)
        if key in gone:
            gone.remove(key)
        else:
            new.append(obj)
    return gone, new
