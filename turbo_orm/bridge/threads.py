"""Functions that `sync_to_async()` runs in threads, from within blocks.

Where such a function queries a database of the block it takes part in it: it blocks its thread as it
would anywhere, and for what it asks the database, the event loop waits in its place.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync

from turbo_orm.bridge.greenlets import await_only, drive_in_thread, running_bridge
from turbo_orm.bridge.scopes import Scope, active_scope, inherited_scope, inheriting
from turbo_orm.bridge.turns import NoMoreTurns
from turbo_orm.errors import ConnectionReleasedError

__all__ = ["call_in_thread"]

T = TypeVar("T")

#: Seconds between two looks at whether the event loop a thread waits for is still there.
_RECHECK_AFTER = 1.0

#: Of all functions that are running, or waiting for a thread.
_parts: set[_Part] = set()

_call_outside = SyncToAsync.__call__


async def call_in_thread(call: SyncToAsync[..., T], *args: Any, **kwargs: Any) -> T:
    """Do what *call* does, and have its function take part in the blocks this is in.

    A cancellation does not wait for the function, as ever, unless that has queried in a block: then it
    is raised in the function, where it next waits for the database.
    """
    scope = None if inherited_scope() is None else active_scope(asyncio.get_running_loop())
    if scope is None or not (blocks := scope.blocks()):
        return await _call_outside(call, *args, **kwargs)
    part = _Part(scope, blocks, _place(call))
    _parts.add(part)
    taking_part = copy(call)
    taking_part.func = partial(part.run, call.func)
    try:
        try:
            return await _call_outside(taking_part, *args, **kwargs)
        except CancelledError:
            await part.cancel()
            raise
    except GeneratorExit:
        part.abandon()
        raise
    finally:
        _parts.discard(part)
        await part.close()


def _place(call: SyncToAsync[..., Any]) -> object:
    """Return what asgiref chooses the thread for *call* by; None for any thread."""
    if not call._thread_sensitive:
        return None
    below = getattr(AsyncToSync.executors, "current", None)
    return below or SyncToAsync.thread_sensitive_context.get(None) or SyncToAsync.single_thread_executor


class _Part:
    """The part that one function in a thread takes in the blocks it was called in.

    All but `run()`, and the methods of `Waiter`, are called in the thread of the event loop.
    """

    __slots__ = (
        "_answer",
        "_block",
        "_blocks",
        "_cancelling",
        "_ended",
        "_loop",
        "_over",
        "_place",
        "_running",
        "_scope",
        "_step",
        "_takes_part",
        "_task",
    )

    def __init__(self, block: Scope, blocks: frozenset[str], place: object) -> None:
        self._block = block
        self._blocks = blocks
        self._place = place
        #: The function has its thread.
        self._running = False
        self._loop = block.loop
        self._task = asyncio.current_task()
        #: The function has asked for the connection of a block.
        self._takes_part = False
        #: Its own scope, once it has a turn.
        self._scope: Scope | None = None
        #: What is awaited for it, and who is told when that is done.
        self._step: asyncio.Future[Any] | None = None
        self._answer: Future[asyncio.Future[Any]] | None = None
        #: A cancellation is to be raised where it next waits.
        self._cancelling = False
        #: Nobody waits for the function any more.
        self._over = False
        self._ended: asyncio.Future[None] = self._loop.create_future()

    def run(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        bridge = running_bridge()
        if bridge is not None and bridge.waiter is None:
            return fn(*args, **kwargs)  # it is called in the bridge, in the place of a thread
        self._running = True
        try:
            return drive_in_thread(self, fn, args, kwargs)
        finally:
            if self._takes_part:
                with suppress(RuntimeError):  # the event loop is closed
                    self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def scope_of(self, alias: str) -> Scope | None:
        return self.join() if alias in self._blocks else None

    def join(self) -> Scope:
        bridge = running_bridge()
        assert bridge is not None
        if bridge.scope is None:
            self._takes_part = True
            if self._over:
                raise _ended_error()
            bridge.parent.switch(self._open_scope())
            bridge.scope = self._scope
        assert bridge.scope is not None
        return bridge.scope

    async def _open_scope(self) -> None:
        scope = Scope(self._loop, self._block)
        try:
            await scope.open(self._task, self._queued)
        except NoMoreTurns:
            raise _ended_error() from None
        scope.task = self._task
        self._scope = scope

    def _queued(self) -> list[asyncio.Task[Any]]:
        """Return the tasks whose functions wait for the thread of this one."""
        if self._place is None:
            return []
        others = [part for part in list(_parts) if part._place is self._place and not part._running]
        return [part._task for part in others if part._task is not None]

    def wait(self, awaitable: Awaitable[T]) -> T:
        answer: Future[asyncio.Future[Any]] = Future()
        try:
            self._loop.call_soon_threadsafe(self._begin, awaitable, answer)
        except RuntimeError:  # the event loop is closed
            _drop(awaitable)
            raise _ended_error() from None
        while True:
            try:
                done = answer.result(_RECHECK_AFTER)
            except FutureTimeoutError:
                if not answer.done() and self._loop.is_closed():
                    _drop(awaitable)
                    raise _ended_error() from None
            else:
                result: T = done.result()
                return result

    def _begin(self, awaitable: Awaitable[Any], answer: Future[asyncio.Future[Any]]) -> None:
        if self._over:
            _drop(awaitable)
            answer.set_exception(_ended_error())
            return
        self._answer, self._step = answer, asyncio.ensure_future(awaitable)
        self._step.add_done_callback(self._answer_with)
        if self._cancelling:
            self._loop.call_soon(self._interrupt)  # once it has begun: it may have something to end

    def _interrupt(self) -> None:
        self._cancelling = self._step is None or not self._step.cancel()

    def _answer_with(self, step: asyncio.Future[Any]) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.set_result(step)
        elif not step.cancelled():
            step.exception()  # nobody asks for it any more

    def call_async(self, call: Callable[[], T]) -> T:
        scope = self._scope
        if scope is None:
            return call()
        await_only(_give_turn(scope))
        try:
            with inheriting(scope):
                return call()
        finally:
            await_only(scope.take_turn_back())

    async def cancel(self) -> None:
        """Have the function end if it takes part in a block, and wait until it has."""
        if not self._takes_part:
            return
        self._interrupt()
        # In no task of its own: who cancels all tasks, as asyncio.run() does at its end, would cancel that.
        while not self._ended.done():
            with suppress(CancelledError):
                await asyncio.wait([self._ended])

    def abandon(self) -> None:
        """Give up what the function waits for: the coroutine that called it is being destroyed."""
        if self._scope is not None:
            self._scope.destroy()
        elif self._step is not None and not self._loop.is_closed():
            self._step.cancel()  # it waits for a turn that nobody would give back
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.set_exception(_ended_error())

    async def close(self) -> None:
        """Pass the turn on, and refuse the function everything."""
        self._over = True
        if self._scope is not None:
            await self._scope.close()


async def _give_turn(scope: Scope) -> None:
    scope.give_turn()


def _drop(awaitable: Awaitable[Any]) -> None:
    if asyncio.iscoroutine(awaitable):
        awaitable.close()


def _ended_error() -> ConnectionReleasedError:
    return ConnectionReleasedError(
        "This function runs in a thread, by sync_to_async(), and the atomic() block that it was called in, "
        "or the task that called it, has ended. What it was to do in the block can't be done any more: await "
        "it in the block, to its end."
    )
