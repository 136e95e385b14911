"""Async code below sync code that is in a block of its thread's own, sync connection.

`async_to_sync()` and async receivers in a sync view, the admin or a command: what they query must be
part of the block. Its connection can be used in its thread only, which waits meanwhile, and does
what it is asked to do, as it does for Django's own a-methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import connections

from turbo_orm.bridge.querylog import QueryLog, Recorder, recorders, recording
from turbo_orm.bridge.scopes import Entered, Scope

__all__ = ["taking_part"]

T = TypeVar("T")


def taking_part(call: AsyncToSync[..., Any]) -> AsyncToSync[..., Any]:
    """Return *call*, the queries of which take part in the blocks this thread's sync code is in, if any."""
    if not any(wrapper.in_atomic_block for wrapper in connections.all(initialized_only=True)):
        return call
    awaitable: Any = call.awaitable

    @wraps(awaitable)
    async def below(*args: Any, **kwargs: Any) -> Any:
        scope = Scope(asyncio.get_running_loop(), runs=_Thread(AsyncToSync.executors.current))
        destroyed = False
        try:
            with Entered(scope):
                return await awaitable(*args, **kwargs)
        except GeneratorExit:
            destroyed = True  # nothing can be awaited any more
            raise
        finally:
            # The sync code goes on: what tasks have begun in its thread ends first, and nothing begins.
            cancelled = None if destroyed else await scope.wait_for_children()
            scope.end()
            if cancelled is not None:
                raise cancelled

    call = copy(call)
    call.awaitable = below
    return call


class _Thread:
    """Runs sync code in the thread that waits, which is *executor*'s: see `Runs`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def run(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return await sync_to_async(_call)(fn, args, kwargs or {})

    def queue(self, fn: Callable[..., object], /, *args: Any) -> None:
        with suppress(RuntimeError):  # it does not wait any more
            self._executor.submit(fn, *args)


def _call(fn: Callable[..., T], args: Any, kwargs: Any) -> T:
    with ExitStack() as stack:
        for alias in {recorder.alias for recorder in recorders.get()}:
            stack.enter_context(_recorded(connections[alias], recording(alias)))
        try:
            return fn(*args, **kwargs)
        except StopIteration as exc:
            # Futures can't hold one before Python 3.12: who awaits it would wait for ever.
            raise RuntimeError("StopIteration can't be raised into a coroutine") from exc


@contextmanager
def _recorded(wrapper: Any, to: list[Recorder]) -> Iterator[None]:
    """Tell the recorders *to* what *wrapper* executes."""
    log, forced = wrapper.queries_log, wrapper.force_debug_cursor
    djangos, kept = log, wrapper.queries_logged
    if isinstance(log, QueryLog):  # of async code above this sync code: its recorders are among these
        djangos, kept = log.djangos, log.kept
    wrapper.queries_log = QueryLog(djangos, to, kept=kept)
    wrapper.force_debug_cursor = forced or bool(to)
    try:
        yield
    finally:
        wrapper.queries_log, wrapper.force_debug_cursor = log, forced
