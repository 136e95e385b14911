"""An event loop and a scope for sync callers: to Django, what a thread and its connections are."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, TypeVar

from typing_extensions import ParamSpec

from turbo_orm.bridge.greenlets import current_bridge, drive
from turbo_orm.bridge.scopes import Scope
from turbo_orm.db.loop_pools import close_pools

__all__ = ["Session"]

P = ParamSpec("P")
T = TypeVar("T")

_UNSET: Any = object()


class Session:
    """Runs sync functions one after another in the bridge; they share their connections.

    It belongs to the thread and process that made it.
    """

    def __init__(self) -> None:
        #: How many functions were run.
        self.operations = 0
        self._loop = asyncio.new_event_loop()
        self._scope = Scope(self._loop)
        self._place = (os.getpid(), threading.get_ident())

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(*args, **kwargs)`` as one operation.

        It is called as it is where it runs in the bridge already, or in another thread or
        process than the session's.
        """
        if current_bridge() is not None or self._place != (os.getpid(), threading.get_ident()):
            return function(*args, **kwargs)
        self.operations += 1
        context: Context | None = None

        async def operation() -> T:
            nonlocal context
            try:
                return await drive(self._scope, function, args, kwargs)
            finally:
                context = copy_context()

        task = self._loop.create_task(operation())
        try:
            return self._loop.run_until_complete(task)
        except BaseException as exc:
            self._end(task, exc)
            raise
        finally:
            if context is not None:
                _adopt(context)

    def _end(self, task: asyncio.Task[Any], interruption: BaseException) -> None:
        """Cancel *task* if *interruption* came from outside: Ctrl-C, a time limit's signal.

        Without that it would be suspended for ever with what it has opened, or go on in the next operation.
        """
        if task.done():
            return
        task.cancel(f"{type(interruption).__name__}: {interruption}")
        with suppress(Exception, asyncio.CancelledError):
            self._loop.run_until_complete(task)

    def close(self) -> None:
        """Close the connections, the pools of the loop, and the loop."""

        def close_connections() -> None:
            for wrapper in list(self._scope.wrappers.values()):
                wrapper.close()

        self.call(close_connections)
        self._loop.run_until_complete(self._scope.close())
        self._loop.run_until_complete(close_pools())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def _adopt(context: Context) -> None:
    """Keep what an operation set: a test class's set-up activates its language and time zone."""
    current = copy_context()
    for variable, value in context.items():
        if current.get(variable, _UNSET) is not value:
            variable.set(value)
