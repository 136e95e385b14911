"""What async code writes through the other end of a foreign key, or of a generic one, without the bridge.

Which rows belong to an instance is in columns of theirs. `add()` sets these; `remove()` and `clear()`
empty a foreign key, and delete the rows of a generic one. Objects that are to be saved one by one
(``bulk=False``) are for Django's own methods.
https://docs.djangoproject.com/en/stable/ref/models/relations/
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar

from django.db import router

from turbo_orm.bridge.refusals import attempted
from turbo_orm.execution import fetch
from turbo_orm.plans.features import asking_features
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.running import Work
from turbo_orm.related_writes import (
    alias_to_write,
    attempted_or_bridged,
    execute,
    plan_writes,
    to_be_set,
)
from turbo_orm.transaction import atomic

__all__ = ["ForeignKeyEnd", "GenericEnd", "KeyEnd"]


class KeyEnd(ABC):
    """What the managers of *manager_class* do, where it is Django's of the other end of a key."""

    #: Whether Django's methods that create objects call those of the model's own manager, not of a queryset.
    creates_by_manager: ClassVar[bool]

    def __init__(self, manager_class: type[Any]) -> None:
        self._manager_class = manager_class

    def plan(self) -> None:
        """Replace the a-methods that write."""
        plan_writes(self._manager_class, add=self._add, remove=self._remove, clear=self._clear, set=self._set)

    @abstractmethod
    def check(self, manager: Any) -> None:
        """Raise what Django raises for an instance that can have no related objects yet."""

    @abstractmethod
    def columns(self, manager: Any) -> dict[str, Any]:
        """Return what makes an object one of the instance's."""

    @abstractmethod
    def queryset_to_create(self, manager: Any) -> Any:
        """Return the queryset that Django's methods have create objects in the end."""

    @abstractmethod
    def _keys(self, manager: Any, objs: Sequence[Any]) -> Collection[Any]:
        """Return the keys of *objs*, which are to be removed; raise what Django does for what is no such."""

    @abstractmethod
    def _let_go(self, manager: Any, rows: Any) -> Work | None:
        """Return what has *rows* be the instance's no more; None without a plan."""

    def _lets_go(self, manager: Any) -> bool:
        """Whether there is `remove()`."""
        return True

    async def _add(self, manager: Any, objs: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        return _in_bulk(options) and await execute(
            manager, _alias(manager), lambda alias: self._additions(manager, objs, alias)
        )

    def _additions(self, manager: Any, objs: tuple[Any, ...], alias: str) -> list[Work | None]:
        self.check(manager)
        # With others, Django does the first ones, and raises.
        if not all(isinstance(obj, manager.model) and _is_stored(obj, alias) for obj in objs):
            return [None]
        columns = self.columns(manager)
        for obj in objs:
            for name, value in columns.items():
                setattr(obj, name, value)
        if not objs:
            # Django makes a statement all the same, though it is not executed.
            return [None] if manager.instance.pk is None else []
        rows = manager.model._base_manager.using(alias).filter(pk__in=[obj.pk for obj in objs])
        return [rows._bound_update(columns)]

    async def _remove(self, manager: Any, objs: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        if not objs:  # Django does not even look at the instance
            return _in_bulk(options)
        return _in_bulk(options) and await execute(
            manager, _alias(manager), lambda alias: [self._removal(manager, objs, alias)]
        )

    def _removal(self, manager: Any, objs: tuple[Any, ...], alias: str) -> Work | None:
        self.check(manager)
        return self._let_go(manager, manager.filter(pk__in=self._keys(manager, objs)).using(alias))

    async def _clear(self, manager: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        return (
            not args
            and _in_bulk(options)
            and await execute(
                manager, _alias(manager), lambda alias: [self._let_go(manager, self._all(manager, alias))]
            )
        )

    def _all(self, manager: Any, alias: str) -> Any:
        self.check(manager)
        manager._remove_prefetched_objects()  # which may have been some of them
        return manager.using(alias)

    async def _set(self, manager: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        if (
            not _in_bulk({name: value for name, value in options.items() if name != "clear"})
            or (alias := _alias(manager)) is None
            or not isinstance(rows := attempted(lambda: self._checked(manager, alias)), PlannedQuerySet)
            or (objs := await to_be_set(args)) is None
        ):
            return False
        if not self._lets_go(manager):
            await manager.aadd(*objs)
            return True
        async with atomic(alias, savepoint=False):
            if options.get("clear"):
                await manager.aclear()
                await manager.aadd(*objs)
            else:
                old = await fetch(rows.all())
                gone, new = await attempted_or_bridged(lambda: _difference(old, objs))
                await manager.aremove(*gone)
                await manager.aadd(*new)
        return True

    def _checked(self, manager: Any, alias: str) -> Any:
        self.check(manager)
        return manager.using(alias)


class ForeignKeyEnd(KeyEnd):
    """The other end of a foreign key."""

    creates_by_manager = True

    def plan(self) -> None:
        """Replace the a-methods that write, and have querysets of the relation cost a block no wrapper."""
        super().plan()
        djangos = self._manager_class._apply_rel_filters

        @wraps(djangos)
        def apply_rel_filters(manager: Any, queryset: Any) -> Any:
            return asking_features(djangos, manager, queryset)

        self._manager_class._apply_rel_filters = apply_rel_filters

    def check(self, manager: Any) -> None:
        """Raise what Django raises for an instance without the value that its objects would refer to."""
        manager._check_fk_val()

    def columns(self, manager: Any) -> dict[str, Any]:
        """Return the foreign key and the instance."""
        return {manager.field.name: manager.instance}

    def queryset_to_create(self, manager: Any) -> Any:
        """Return the instance's, of the model's own manager."""
        return manager.db_manager(_alias_to_create(manager)).get_queryset()

    def _keys(self, manager: Any, objs: Sequence[Any]) -> Collection[Any]:
        field = manager.field
        value = field.get_foreign_related_value(manager.instance)
        for obj in objs:
            if not isinstance(obj, manager.model) or field.get_local_related_value(obj) != value:
                raise ValueError(obj)  # or whatever Django raises
        return {obj.pk for obj in objs}

    def _let_go(self, manager: Any, rows: Any) -> Work | None:
        bound: Work | None = rows._bound_update({manager.field.name: None})
        return bound

    def _lets_go(self, manager: Any) -> bool:
        return bool(manager.field.null)


class GenericEnd(KeyEnd):
    """The other end of a generic key: a `GenericRelation`."""

    creates_by_manager = False

    def check(self, manager: Any) -> None:
        """Nothing: Django takes instances that are not saved."""

    def columns(self, manager: Any) -> dict[str, Any]:
        """Return the content type and the key of the instance."""
        return {
            manager.content_type_field_name: manager.content_type,
            manager.object_id_field_name: manager.pk_val,
        }

    def queryset_to_create(self, manager: Any) -> Any:
        """Return the instance's."""
        of_model: Any = super(self._manager_class, manager)
        return of_model.using(_alias_to_create(manager))

    def _keys(self, manager: Any, objs: Iterable[Any]) -> Collection[Any]:
        return [obj.pk for obj in objs]

    def _let_go(self, manager: Any, rows: Any) -> Work | None:
        bound: Work | None = rows._bound_delete()
        return bound


def _in_bulk(options: Mapping[str, Any]) -> bool:
    """Whether *options* are those of methods that execute one statement."""
    return not options or (options.keys() == {"bulk"} and bool(options["bulk"]))


def _is_stored(obj: Any, alias: str) -> bool:
    return not obj._state.adding and obj._state.db == alias


def _alias(manager: Any) -> str | None:
    return alias_to_write(manager, manager.model)


def _alias_to_create(manager: Any) -> str:
    return router.db_for_write(manager.model, instance=manager.instance)


def _difference(old: Iterable[Any], objs: Sequence[Any]) -> tuple[set[Any], list[Any]]:
    """Return those of *old* that are not among *objs*, and those of *objs* that are not among *old*."""
    gone, new = {*old}, []
    for obj in objs:
        if obj in gone:
            gone.remove(obj)
        else:
            new.append(obj)
    return gone, new
