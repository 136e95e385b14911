"""What async code creates through a related manager: ``author.books.acreate(title="New")``.

Without the bridge where Django's related manager does nothing but to name the relation, and has its
model's own manager, or the queryset, create. With a method of the project in between, that is called.
https://docs.djangoproject.com/en/stable/ref/models/relations/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from django.db import router

from turbo_orm import creation
from turbo_orm.bridge.refusals import attempted
from turbo_orm.bridge.run import run_sync
from turbo_orm.composed import aget_or_create, aupdate_or_create
from turbo_orm.plans.compiled_inserts import is_proxy
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.related_keys import KeyEnd
from turbo_orm.related_writes import forgets_prefetched

__all__ = ["plan_creation"]

#: By the name of the sync one: the method of a queryset that does the same without the bridge.
_OF_QUERYSETS: dict[str, Callable[..., Awaitable[Any]]] = {
    "create": creation.create,
    "get_or_create": aget_or_create,
    "update_or_create": aupdate_or_create,
}


def plan_creation(manager_class: type[Any], superclass: type[Any], key: KeyEnd | None) -> None:
    """Replace the a-methods of *manager_class* which create objects, where *superclass* does as Django's.

    It is a relation's: of the other end of *key*, or many-to-many.
    """
    for name, of_querysets in _OF_QUERYSETS.items():
        if is_proxy(getattr(superclass, name)) or (key is not None and not key.creates_by_manager):
            verb = (
                _verb_to_many(manager_class, name, of_querysets)
                if key is None
                else _verb_of_key(manager_class, name, of_querysets, key)
            )
            setattr(manager_class, f"a{name}", verb)


def _verb_of_key(
    manager_class: type[Any], name: str, of_querysets: Callable[..., Awaitable[Any]], key: KeyEnd
) -> Any:
    """Return the async method *name* of the other end of *key*."""
    djangos = getattr(manager_class, name)
    forgets = forgets_prefetched(djangos)

    def find(manager: Any) -> Any:
        key.check(manager)
        if forgets:
            manager._remove_prefetched_objects()
        return key.queryset_to_create(manager)

    @wraps(getattr(manager_class, f"a{name}"))
    async def verb(self: Any, *args: Any, **kwargs: Any) -> Any:
        queryset = None
        if getattr(type(self), name) is djangos and not args:
            queryset = _planned(lambda: find(self))
        if queryset is None:
            return await run_sync(getattr(self, name), *args, **kwargs)
        return await of_querysets(queryset, **{**kwargs, **key.columns(self)})

    return verb


def _verb_to_many(manager_class: type[Any], name: str, of_querysets: Callable[..., Awaitable[Any]]) -> Any:
    """Return the async method *name* of a many-to-many relation."""
    djangos = getattr(manager_class, name)

    @wraps(getattr(manager_class, f"a{name}"))
    async def verb(self: Any, *args: Any, through_defaults: Any = None, **kwargs: Any) -> Any:
        queryset = None
        if getattr(type(self), name) is djangos and not args:
            queryset = _planned(lambda: _queryset_to_create(self))
        if queryset is None:
            return await run_sync(getattr(self, name), *args, through_defaults=through_defaults, **kwargs)
        made = await of_querysets(queryset, **kwargs)
        obj, created = (made, True) if name == "create" else made
        if created:
            await self.aadd(obj, through_defaults=through_defaults)
        return made

    return verb


def _queryset_to_create(manager: Any) -> Any:
    alias = router.db_for_write(type(manager.instance), instance=manager.instance)
    return manager.db_manager(alias).get_queryset()


def _planned(find: Callable[[], Any]) -> PlannedQuerySet | None:
    """Return the queryset that *find* finds; None if only Django knows it, or what it raises."""
    queryset = attempted(find)
    return queryset if isinstance(queryset, PlannedQuerySet) else None
