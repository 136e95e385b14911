"""Run a sync function in a greenlet which awaits through the task that drives it."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from asyncio import CancelledError, _get_running_loop, _set_running_loop
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import psycopg
from django.db.utils import Error as DjangoDatabaseError
from greenlet import getcurrent, greenlet

from turbo_orm.errors import BridgeError

if TYPE_CHECKING:
    from turbo_orm.bridge.scopes import Scope

__all__ = [
    "BridgeGreenlet",
    "Waiter",
    "await_only",
    "check_awaiting",
    "current_bridge",
    "drive",
    "drive_in_thread",
    "loop_visible",
    "postpone",
    "running_bridge",
    "watch_collections",
]

T = TypeVar("T")


class Waiter(Protocol):
    """Has the event loop of another thread await in the place of a bridge greenlet's thread."""

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Block the thread until *awaitable* is done; return its result."""
        ...

    def join(self) -> Scope:
        """Have the running greenlet have a scope, and return that."""
        ...

    def scope_of(self, alias: str) -> Scope | None:
        """Return the scope in which the greenlet queries *alias*; None if it has that to itself."""
        ...

    def call_async(self, call: Callable[[], T]) -> T:
        """Return what *call* does, which waits in this thread for async code on the event loop."""
        ...


class BridgeGreenlet(greenlet):
    """A reusable greenlet that runs one sync function at a time for one scope."""

    #: None in a thread that has not queried yet, see `drive_in_thread()`.
    scope: Scope | None = None
    #: Where it does not run in the thread of the event loop.
    waiter: Waiter | None = None
    result: Any = None
    parent: Any
    failure: BaseException | None = None
    #: A function is running (or suspended) in it.
    busy = False
    #: The driving coroutine is being destroyed: nothing can be awaited any more.
    closing = False
    #: The driving task, while it is hidden from what runs in the greenlet; see `_swap_task`.
    task: asyncio.Task[Any] | None = None
    #: A cancellation that could not be raised where it arrived, see `postpone()`.
    postponed: CancelledError | None = None


def current_bridge() -> BridgeGreenlet | None:
    """Return the running bridge greenlet, or None outside the bridge, and in one that has no scope yet."""
    current = getcurrent()
    return current if type(current) is BridgeGreenlet and current.scope is not None else None


def running_bridge() -> BridgeGreenlet | None:
    """Return the running bridge greenlet, whether it has a scope or not."""
    current = getcurrent()
    return current if type(current) is BridgeGreenlet else None


def await_only(awaitable: Awaitable[T]) -> T:
    """Suspend the running bridge greenlet until *awaitable* is done; return its result.

    Raises `BridgeError` outside the bridge.
    """
    bridge = _bridge_with_scope()
    if (
        bridge is None
        or bridge.closing
        or bridge.postponed is not None
        or _collector is not None
        or _get_running_loop() is not None
    ):
        try:
            check_awaiting()
        except BaseException:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise
    assert bridge is not None
    return cast(T, bridge.parent.switch(awaitable))


def check_awaiting() -> None:
    """Raise what `await_only()` would: before what may need it, or what must follow."""
    bridge = _bridge_with_scope()
    reason = _why_not(bridge)
    if reason is not None:
        raise BridgeError(f"This would wait for the database, but nothing can await it here: {reason}")
    if bridge is not None and bridge.postponed is not None:
        postponed, bridge.postponed = bridge.postponed, None
        raise postponed


def _bridge_with_scope() -> BridgeGreenlet | None:
    bridge = running_bridge()
    if bridge is not None and bridge.scope is None and bridge.waiter is not None:
        bridge.waiter.join()
    return bridge


def postpone(cancelled: CancelledError) -> None:
    """Raise *cancelled* where the sync code next waits, or at its end.

    For what runs in finalizers, as of generators that are left early: Python drops what they raise.
    """
    bridge = current_bridge()
    assert bridge is not None
    bridge.postponed = cancelled


def _why_not(bridge: BridgeGreenlet | None) -> str | None:
    if bridge is None:
        return (
            "the code does not run inside run_sync() or one of the a-methods. "
            "Call it through `await turbo_orm.run_sync(...)`."
        )
    if bridge.closing:
        return (
            "the coroutine that ran this operation is being destroyed. "
            "Await it to its end, or cancel its task."
        )
    if _get_running_loop() is not None:
        return (
            "it runs in an event loop of its own, which was started below run_sync() or one of the "
            "a-methods (asyncio.run()). Use the a-methods there, or async_to_sync() in the place of "
            "asyncio.run()."
        )
    if _collector == threading.get_ident():
        return (
            "the garbage collector runs, and an iterator() or a cursor it found abandoned wants "
            "to close its server-side cursor. Exhaust or close it yourself."
        )
    return None


#: The thread in which the garbage collector is at work. To leave a greenlet in the middle of that,
#: from a finalizer, is to pull the collector's lists away under its feet: Python crashes.
_collector: int | None = None


def watch_collections() -> None:
    """Have `await_only` know when the garbage collector runs."""
    gc.callbacks.append(_note_collection)


def _note_collection(phase: str, info: dict[str, int]) -> None:
    global _collector
    _collector = threading.get_ident() if phase == "start" else None


@contextmanager
def loop_visible(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Show *loop* as running for a moment, and its task, as they are outside of the greenlet."""
    bridge = current_bridge()
    shown = _get_running_loop()
    _set_running_loop(loop)
    task = None if bridge is None else _swap_task(loop, bridge.task)
    try:
        yield
    finally:
        if bridge is not None:
            _swap_task(loop, task)
        _set_running_loop(shown)


if sys.version_info >= (3, 14):
    #: Make another task the current one of a running loop, and return the one before it. Each loop
    #: has a current task before Python 3.14. There a thread has one, and a loop that code in the
    #: bridge starts would wait for ever for the driving task to be done.
    _swap_task: Callable[[asyncio.AbstractEventLoop, Any], Any] = asyncio.tasks._swap_current_task
else:

    def _swap_task(loop: asyncio.AbstractEventLoop, task: Any) -> Any:
        return None


class _IdleGreenlets(threading.local):
    """Parked greenlets of this thread: starting one again costs a tenth of a new one."""

    limit = 64

    def __init__(self) -> None:
        self.parked: list[BridgeGreenlet] = []


_idle = _IdleGreenlets()


def _worker() -> None:
    while True:
        # While it is parked, nothing in here may refer to it: not even the garbage collector could end
        # one that refers to itself, once its thread is gone or there are enough of them.
        fn, args, kwargs, handled = cast(BridgeGreenlet, getcurrent()).parent.switch(None)
        bridge = cast(BridgeGreenlet, getcurrent())
        try:
            if handled is None:
                bridge.result = fn(*args, **kwargs)
            else:
                bridge.result = _call_while_handling(handled, fn, args, kwargs)
        except BaseException as exc:
            bridge.failure = exc
        bridge.busy = False
        del bridge
        fn = args = kwargs = handled = None


def _call_while_handling(exc: BaseException, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
    # A greenlet does not see what its parent's `except` clause is for, as a called function would.
    traceback = exc.__traceback__
    try:
        raise exc
    except BaseException:
        exc.__traceback__ = traceback
        return fn(*args, **kwargs)


def _take_greenlet(parent: greenlet) -> BridgeGreenlet:
    """Return a greenlet that is ready for a function, with the context of *parent*."""
    if _idle.parked:
        bridge = _idle.parked.pop()
        if bridge.parent is not parent:
            bridge.parent = parent
    else:
        bridge = BridgeGreenlet(_worker, parent)
        bridge.switch()
    bridge.busy = True
    # The driver's own context, not a copy: context variables flow both ways.
    bridge.gr_context = parent.gr_context
    return bridge


def _park(bridge: BridgeGreenlet) -> None:
    bridge.failure = bridge.result = bridge.scope = bridge.waiter = bridge.postponed = None
    bridge.gr_context = None
    if len(_idle.parked) < _idle.limit:
        _idle.parked.append(bridge)


async def drive(scope: Scope, fn: Callable[..., T], args: Any = (), kwargs: Any = None) -> T:
    """Call ``fn(*args, **kwargs)`` in a bridge greenlet for *scope*, awaiting its waits.

    While the greenlet runs, the event loop and its task are hidden, so that Django's guard against sync
    database calls in async code (`async_unsafe`) lets it pass.
    """
    if scope.runs is not None:
        return cast(T, await scope.runs.run(fn, args, kwargs))
    loop = scope.loop
    bridge = _take_greenlet(getcurrent())
    bridge.scope = scope
    cancelled: CancelledError | None = None
    awaited = _step(bridge, loop, bridge.switch, (fn, args, kwargs or {}, sys.exc_info()[1]))
    while bridge.busy:
        try:
            value = await awaited
        except GeneratorExit as exc:
            _destroy(bridge, exc)
            raise
        except BaseException as exc:
            if isinstance(exc, CancelledError):
                cancelled = exc
            # With its traceback: greenlet drops it otherwise.
            awaited = _step(bridge, loop, bridge.throw, type(exc), exc, exc.__traceback__)
        else:
            awaited = _step(bridge, loop, bridge.switch, value)
    try:
        return cast(T, _outcome(bridge, cancelled))
    finally:
        cancelled = None  # or its traceback would keep this frame alive in a cycle


def drive_in_thread(waiter: Waiter, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
    """Call ``fn(*args, **kwargs)`` in a bridge greenlet of this thread, whose waits are *waiter*'s.

    It has a scope once it has queried a database of which the *waiter* has one.
    """
    bridge = _take_greenlet(getcurrent())
    bridge.waiter = waiter
    cancelled: CancelledError | None = None
    awaited = bridge.switch((fn, args, kwargs, sys.exc_info()[1]))
    while bridge.busy:
        try:
            value = waiter.wait(awaited)
        except BaseException as exc:
            if isinstance(exc, CancelledError):
                cancelled = exc
            awaited = bridge.throw(type(exc), exc, exc.__traceback__)
        else:
            awaited = bridge.switch(value)
    try:
        return cast(T, _outcome(bridge, cancelled))
    finally:
        cancelled = None


def _outcome(bridge: BridgeGreenlet, cancelled: CancelledError | None) -> Any:
    """Return or raise what the function in *bridge* did, unless that is only because it was *cancelled*."""
    error = bridge.postponed if bridge.failure is None else bridge.failure
    result = bridge.result
    _park(bridge)
    if error is None:
        return result
    try:
        if cancelled is not None and _hides(error, cancelled):
            raise cancelled from error
        raise error
    finally:
        error = cancelled = None


def _step(
    bridge: BridgeGreenlet, loop: asyncio.AbstractEventLoop, step: Callable[..., Any], *values: Any
) -> Any:
    bridge.task = _swap_task(loop, None)
    _set_running_loop(None)
    try:
        return step(*values)
    finally:
        _set_running_loop(loop)
        _swap_task(loop, bridge.task)
        bridge.task = None


def _destroy(bridge: BridgeGreenlet, exc: GeneratorExit) -> None:
    """The driving coroutine was closed: let the function's ``finally`` blocks run, unawaited."""
    bridge.closing = True
    if bridge.scope is not None:
        bridge.scope.destroy()
    # Who closes a coroutine, the garbage collector too, may be in another greenlet than drove it.
    bridge.parent = getcurrent()
    loop = _get_running_loop()
    if loop is None:
        bridge.throw(exc)
    else:
        _step(bridge, loop, bridge.throw, exc)
    failure = bridge.failure
    if not bridge.busy:
        # Its failure's traceback leads back to it: nothing would ever collect it.
        bridge.closing = False
        _park(bridge)
    if failure is not None and not isinstance(failure, GeneratorExit | Exception):
        raise failure


def _hides(error: BaseException, cancelled: CancelledError) -> bool:
    """Whether *error* came from clean-up code and would replace the cancellation."""
    if not isinstance(error, Exception):
        return False
    if isinstance(error, DjangoDatabaseError | psycopg.Error):
        return True
    context = error.__context__
    while context is not None:
        if context is cancelled:
            return True
        context = context.__context__
    return False
