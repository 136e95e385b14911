"""Finish what must not be left half done, whatever happens to the waiting task."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from turbo_orm.db.background import keep_until_done

__all__ = ["uncancellable"]

T = TypeVar("T")


async def uncancellable(coro: Coroutine[Any, Any, T]) -> T:
    """Await *coro* to its end; a cancellation that arrives meanwhile is raised afterwards.

    Costs no task when *coro* never suspends, which is the usual case for `putconn()`.
    """
    try:
        pending = coro.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    task = asyncio.get_running_loop().create_task(_resume(coro, pending))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            cancelled = exc
        except BaseException:
            if not task.done():
                keep_until_done(task)
                raise  # our coroutine is being destroyed: the task goes on without it
            break  # the task's own error: task.result() below raises it
    if cancelled is not None:
        raise cancelled
    return task.result()


@types.coroutine
def _continue(coro: Coroutine[Any, Any, T], pending: Any) -> Generator[Any, Any, T]:
    while True:
        raised: BaseException | None = None
        value = None
        try:
            value = yield pending
        except BaseException as exc:
            raised = exc
        try:
            pending = coro.send(value) if raised is None else coro.throw(raised)
        except StopIteration as stop:
            result: T = stop.value
            return result


async def _resume(coro: Coroutine[Any, Any, T], pending: Any) -> T:
    return await _continue(coro, pending)
