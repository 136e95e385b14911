"""Notice a block that waits for a task which waits for that block."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from turbo_orm.errors import BlockDeadlockError

if TYPE_CHECKING:
    from turbo_orm.bridge.scopes import Scope

__all__ = ["find_deadlock"]


def find_deadlock(
    parent: Scope,
    task: asyncio.Task[Any] | None,
    queued: Callable[[], Iterable[asyncio.Task[Any]]] | None = None,
) -> BlockDeadlockError | None:
    """Return the error for *task*, which waits for its turn in *parent*, or None.

    The turn only comes when the block active in *parent* ends; that never happens if the
    block's own task waits for *task*, or for one of those *queued* for the thread in which it waits.
    """
    holder = parent.active_child
    if task is None or holder is None or holder.closed or holder.task is None:
        return None
    if holder.task is task:
        return BlockDeadlockError(
            f"{task.get_name()!r} needs a connection which an operation of its own has until "
            "that ends: a COPY, say. Query before or after it, or start it outside of the "
            "atomic() block, where it has a connection of its own."
        )
    if any(waiter is holder.task for waiter in _waiters(task)):
        return BlockDeadlockError(
            f"{task.get_name()!r} was started in an `async with atomic()` block and needs its "
            "connection, but a nested block, which has the connection until it ends, is "
            f"waiting for {task.get_name()!r}. Start the task inside the nested block, or "
            "await it after that block has ended."
        )
    if queued is not None and any(waiter is holder.task for each in queued() for waiter in _waiters(each)):
        return BlockDeadlockError(
            f"A function that sync_to_async() runs for {task.get_name()!r} needs the connection of an "
            "atomic() block; a nested block, which has the connection until it ends, is waiting for "
            "another function, and that for the thread of this one. Use `await run_sync(function)` for "
            "one of them, or await one after the other."
        )
    return None


def _waiters(task: asyncio.Task[Any]) -> Iterator[asyncio.Future[Any]]:
    """Every task and future that can't be done before *task*, as far as callbacks tell."""
    seen: set[int] = set()
    found: list[asyncio.Future[Any]] = [task]
    while found:
        future = found.pop()
        if id(future) in seen:
            continue
        seen.add(id(future))
        yield future
        for callback in getattr(future, "_callbacks", None) or ():
            found.extend(_futures_behind(callback))


def _futures_behind(callback: Any, depth: int = 4) -> Iterator[asyncio.Future[Any]]:
    """The futures a done-callback will wake: bound in it, in its closure, its partial."""
    for referent in gc.get_referents(callback):
        if asyncio.isfuture(referent):  # also those not written in C: uvloop's, backports'
            yield referent
        elif isinstance(referent, asyncio.AbstractEventLoop | type) or depth == 0:
            continue
        elif hasattr(referent, "_parent_task"):  # asyncio.TaskGroup, asyncio.Timeout
            if asyncio.isfuture(referent._parent_task):
                yield referent._parent_task
        elif callable(referent) or isinstance(referent, tuple) or type(referent).__name__ == "cell":
            yield from _futures_behind(referent, depth - 1)
