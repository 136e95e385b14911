"""Run sync code in the bridge as one operation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from typing_extensions import ParamSpec

from turbo_orm.bridge.greenlets import drive
from turbo_orm.bridge.scopes import Scope, open_scope

__all__ = ["run_in", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")


async def run_sync(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``fn(*args, **kwargs)``, any sync code that uses Django's ORM, on the async connection.

    The code runs in the event loop's own thread and in the current transaction, if there is
    one; while it waits for the database, other tasks run. What it waits for otherwise (files,
    sleeps, sync HTTP) blocks the loop as it would in a coroutine.
    """
    scope = await open_scope(asyncio.get_running_loop())
    try:
        return await drive(scope, fn, args, kwargs)
    finally:
        await scope.close()


async def run_in(parent: Scope, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
    """Run ``fn(*args, **kwargs)`` as a child of *parent*."""
    scope = Scope(parent.loop, parent)
    await scope.open()
    try:
        return await drive(scope, fn, args, kwargs)
    finally:
        await scope.close()
