"""Run sync code in the bridge as one operation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import CoroutineType
from typing import Any, NoReturn, TypeVar, cast

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
    sleeps, sync HTTP) blocks the loop as it would in a coroutine. Raises `TypeError` if *fn* is
    an async function, or returns its coroutine.
    """
    scope = await open_scope(asyncio.get_running_loop())
    try:
        result = await drive(scope, fn, args, kwargs)
    finally:
        await scope.close()
    if type(result) is CoroutineType:
        _refuse(cast("CoroutineType[Any, Any, Any]", result))
    return result


def _refuse(coroutine: CoroutineType[Any, Any, Any]) -> NoReturn:
    coroutine.close()
    name = coroutine.__qualname__
    raise TypeError(
        f"run_sync() runs sync functions, and {name}() is an async one, of which nothing was executed: await "
        "it itself. Its queries are async anyway, and in the current transaction."
    )


async def run_in(parent: Scope, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
    """Run ``fn(*args, **kwargs)`` as a child of *parent*."""
    scope = Scope(parent.loop, parent)
    await scope.open()
    try:
        return await drive(scope, fn, args, kwargs)
    finally:
        await scope.close()
