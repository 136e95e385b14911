"""Async user code called from bridged sync code: receivers, hooks, `async_to_sync()`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync

from turbo_orm.bridge.greenlets import await_only, check_awaiting, running_bridge
from turbo_orm.bridge.run import run_in
from turbo_orm.bridge.scopes import Entered, Scope, active_scope
from turbo_orm.bridge.sync_blocks import taking_part

__all__ = ["await_user_code", "install"]

T = TypeVar("T")


async def await_user_code(scope: Scope, awaitable: Awaitable[T]) -> T:
    """Await *awaitable* so that its queries join *scope*.

    Thread-sensitive `sync_to_async()` calls below it come back into the bridge as well. When it is
    done, no task it has started uses the connection of *scope* while sync code does.
    """
    executors = AsyncToSync.executors
    previous = getattr(executors, "current", None)
    executors.current = _BridgeExecutor(scope)
    nested, scope.in_user_code = scope.in_user_code, True
    scope.give_turn()
    destroyed = False
    try:
        with Entered(scope):
            return await awaitable
    except GeneratorExit:
        destroyed = True  # nothing can be awaited any more
        raise
    finally:
        try:
            if not destroyed and not nested:
                await scope.take_turn_back()
        finally:
            scope.in_user_code = nested
            executors.current = previous


class _BridgeExecutor(Executor):
    """What asgiref's `CurrentThreadExecutor` is to a thread that waits in `async_to_sync()`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        loop = asyncio.get_running_loop()
        scope = active_scope(loop)
        if scope is None or scope.root is not self._scope.root:
            # A task that outlived the call: its work belongs to asgiref's usual thread.
            return SyncToAsync.single_thread_executor.submit(fn, *args, **kwargs)
        future: Future[T] = Future()

        async def run() -> None:
            try:
                result = await run_in(scope, fn, args, kwargs)
            except BaseException as exc:
                if not future.cancelled():
                    future.set_exception(exc)
            else:
                if not future.cancelled():
                    future.set_result(result)
            finally:
                # asgiref's thread_handler() leaves marks for nested calls in its thread,
                # which here is the event loop's own.
                SyncToAsync.threadlocal.__dict__.clear()

        task = loop.create_task(run())
        future.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)
        return future


def _call_in_bridge(self: AsyncToSync[..., Any], *args: Any, **kwargs: Any) -> Any:
    bridge = running_bridge()
    if bridge is None:
        return _call_outside(taking_part(self), *args, **kwargs)
    if bridge.waiter is not None:
        return bridge.waiter.call_async(partial(_call_outside, self, *args, **kwargs))
    assert bridge.scope is not None
    if getattr(self, "force_new_loop", False):
        # Asks for a loop of its own in a thread of its own, and gets them.
        return await_only(asyncio.to_thread(_call_outside, self, *args, **kwargs))
    check_awaiting()  # first: nobody would await it
    awaitable = self.awaitable(*args, **kwargs)
    if (handled := sys.exc_info()[1]) is not None:
        awaitable = _while_handling(handled, awaitable)
    return await_only(await_user_code(bridge.scope, awaitable))


async def _while_handling(exc: BaseException, awaitable: Awaitable[T]) -> T:
    # As asgiref does: the coroutine sees what the `except` clause around it is for.
    traceback = exc.__traceback__
    try:
        raise exc
    except BaseException:
        exc.__traceback__ = traceback
        return await awaitable


_call_outside = AsyncToSync.__call__


def install() -> None:
    """Make `async_to_sync()` await in place inside the bridge."""
    AsyncToSync.__call__ = _call_in_bridge  # type: ignore[method-assign]
