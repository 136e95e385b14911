"""Django's own a-methods in our blocks: those of models without an `AsyncManager`, and of sessions.

They call their sync twins in a thread, `sync_to_async(self.get)`. In a block on their database the twins
run in the bridge, which takes less time and no thread, for which others may wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from asgiref.sync import SyncToAsync, iscoroutinefunction
from django.db import router
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from turbo_orm.bridge.handler import in_transaction
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import inherited_scope
from turbo_orm.bridge.threads import call_in_thread

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
    if inherited_scope() is not None:
        alias = _alias(self.func, kwargs)
        if alias is not None and in_transaction(alias):
            return await run_sync(self.func, *args, **kwargs)
    return await call_in_thread(self, *args, **kwargs)


def _alias(func: Any, kwargs: Mapping[str, Any]) -> str | None:
    """Return the database of *func*, the sync twin of an a-method; None for other functions.

    A project calls in a thread what blocks, methods of its models among them.
    """
    owner: Any = getattr(func, "__self__", None)
    name = getattr(func, "__name__", "")
    if isinstance(func, FunctionType) and str(func.__module__).startswith("django."):
        # Defined in an a-method because it needs a transaction: `asave()` of sessions.
        cells = dict(zip(func.__code__.co_freevars, func.__closure__ or (), strict=True))
        return cells["using"].cell_contents if "using" in cells else None
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
