"""The a-methods of related managers that write: without the bridge where what Django's do has plans.

What they write differs with the kind of relation: `many_to_many`, `related_keys`.
https://docs.djangoproject.com/en/stable/ref/models/relations/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import wraps
from inspect import unwrap
from typing import Any, TypeAlias, TypeVar

from django.db import router

from turbo_orm.bridge.refusals import attempted
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import is_in_scope
from turbo_orm.bridge.straight import goes_straight
from turbo_orm.execution import fetch
from turbo_orm.plans import running
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.running import Work
from turbo_orm.transaction import atomic

__all__ = [
    "Write",
    "alias_to_write",
    "attempted_or_bridged",
    "execute",
    "forgets_prefetched",
    "plan_writes",
    "to_be_set",
]

T = TypeVar("T")

#: Does what a method of a manager does with arguments; returns False, having done nothing, if only that can.
Write: TypeAlias = "Callable[[Any, tuple[Any, ...], Mapping[str, Any]], Awaitable[bool]]"


def plan_writes(manager_class: type[Any], **writes: Write) -> None:
    """Replace the a-methods of a relation's *manager_class* by *writes*, named as the sync methods are."""
    djangos = {name: own for name, own in vars(manager_class).items() if name in writes}
    for name, own in djangos.items():
        # Django's `set()` is composed of the others.
        methods = djangos if name == "set" else {name: own}
        setattr(manager_class, f"a{name}", _verb(manager_class, name, writes[name], methods))


def _verb(
    manager_class: type[Any], name: str, write: Write, djangos: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return the async method that does by *write* what the method *name* does, where that can."""

    @wraps(getattr(manager_class, f"a{name}"))
    async def verb(self: Any, *args: Any, **kwargs: Any) -> None:
        is_djangos = all(getattr(type(self), each) is own for each, own in djangos.items())
        if not is_djangos or not await write(self, args, kwargs):
            await run_sync(getattr(self, name), *args, **kwargs)

    return verb


def forgets_prefetched(method: Callable[..., Any]) -> bool:
    """Whether *method*, a related manager's of this Django, has the instance forget prefetched objects."""
    return "_remove_prefetched_objects" in unwrap(method).__code__.co_names


def alias_to_write(manager: Any, model: type[Any]) -> str | None:
    """Return the alias of the database in which *manager* writes to *model*; None if only Django knows it."""
    return attempted(lambda: router.db_for_write(model, instance=manager.instance))


async def execute(manager: Any, alias: str | None, make: Callable[[str], Sequence[Work | None]]) -> bool:
    """Execute what *make* makes for *alias*; False, having done nothing, if not all of it has plans."""
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


async def to_be_set(args: tuple[Any, ...]) -> Sequence[Any] | None:
    """Return the objects that ``set(*args)`` is given; None if only that can take them."""
    if len(args) != 1:
        return None
    (objs,) = args
    if isinstance(objs, PlannedQuerySet):
        return await fetch(objs)
    return [*objs] if isinstance(objs, list | tuple | set | frozenset) else None


async def attempted_or_bridged(compare: Callable[[], T]) -> T:
    """Return what *compare* does, which may call code of the project: in the bridge if that queries."""
    found = attempted(lambda: (compare(),))
    return await run_sync(compare) if found is None else found[0]
