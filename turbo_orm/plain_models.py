"""Django's own a-methods in our blocks: those of models without an `AsyncManager`, and of sessions.

They call their sync twins in a thread, `sync_to_async(self.get)`. In a block on their database the twins
run in the bridge, which takes less time and no thread, for which others may wait. Sessions whose model has
an `AsyncManager` are saved in the bridge outside of blocks too, as all its rows are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any, NamedTuple

from asgiref.sync import SyncToAsync, iscoroutinefunction
from django.db import router
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from turbo_orm.bridge.handler import in_transaction
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import inherited_scope
from turbo_orm.bridge.threads import call_in_thread
from turbo_orm.instance import is_managed

__all__ = ["install"]

_WRITING = frozenset(
    (
        "add",
        "bulk_create",
        "bulk_update",
        "clear",
        "create",
        "delete",
        "get_or_create",
        "remove",
        "set",
        "update",
        "update_or_create",
    )
)


async def _call(self: SyncToAsync[..., Any], *args: Any, **kwargs: Any) -> Any:
    func: Any = self.func
    saving = _saving(func) if isinstance(func, FunctionType) else None
    if saving is not None and is_managed(type(saving.instance)):
        return await run_sync(func, *args, **kwargs)
    if inherited_scope() is not None:
        alias = _alias(func, kwargs) if saving is None else saving.alias
        if alias is not None and in_transaction(alias):
            return await run_sync(func, *args, **kwargs)
    return await call_in_thread(self, *args, **kwargs)


class _Saving(NamedTuple):
    instance: Model
    alias: str


def _saving(func: FunctionType) -> _Saving | None:
    """Return what *func* saves, if `asave()` of sessions has defined it, which needs a transaction."""
    names = func.__code__.co_freevars
    if "using" not in names or "obj" not in names or not str(func.__module__).startswith("django."):
        return None
    cells = dict(zip(names, func.__closure__ or (), strict=True))
    return _Saving(cells["obj"].cell_contents, cells["using"].cell_contents)


def _alias(func: Any, kwargs: Mapping[str, Any]) -> str | None:
    """Return the database of *func*, the sync twin of an a-method; None for other functions.

    A project calls in a thread what blocks, methods of its models among them.
    """
    owner: Any = getattr(func, "__self__", None)
    name = getattr(func, "__name__", "")
    if not isinstance(owner, Model | QuerySet | BaseManager):
        return None
    # A field may be called so too: `amount`, where there is a method `mount()`.
    has_twin = name == "_fetch_all" or iscoroutinefunction(getattr(type(owner), f"a{name}", None))
    return _database(owner, name, kwargs.get("using")) if has_twin else None


def _database(owner: Any, name: str, using: str | None) -> str:
    if isinstance(owner, Model):
        alias = using or router.db_for_write(type(owner), instance=owner)
    elif name in _WRITING:
        alias = owner._db or router.db_for_write(owner.model, **owner._hints)
    else:
        alias = owner.db
    return str(alias)


def install() -> None:
    """Have the twins of a-methods run in the bridge, in a block on their database."""
    SyncToAsync.__call__ = _call  # type: ignore[method-assign]
