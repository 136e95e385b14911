"""One event loop and one root scope for a whole test run: what a thread and its connections are to Django."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVar

import turbo_orm
from turbo_orm.bridge.greenlets import current_bridge, drive
from turbo_orm.bridge.scopes import Scope

__all__ = ["Session"]

T = TypeVar("T")


class Session:
    """Runs sync functions one after another in the bridge; they share their connections."""

    def __init__(self) -> None:
        self.operations = 0
        self._loop = asyncio.new_event_loop()
        self._scope = Scope(self._loop)
        self._place = (os.getpid(), threading.get_ident())

    def call(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run *function* as one operation.

        It is called as it is where it runs in the bridge already, a test run by a test, or in another
        thread or process than the session's.
        """
        if current_bridge() is not None or self._place != (os.getpid(), threading.get_ident()):
            return function(*args)
        self.operations += 1
        context: Context | None = None

        async def operation() -> T:
            nonlocal context
            try:
                return await drive(self._scope, function, args)
            finally:
                context = copy_context()

        try:
            return self._loop.run_until_complete(operation())
        finally:
            if context is not None:
                _adopt(context)

    def close(self) -> None:
        """Close the tests' connections, then the pools."""

        def close_connections() -> None:
            for wrapper in list(self._scope.wrappers.values()):
                wrapper.close()

        self.call(close_connections)
        self._loop.run_until_complete(self._scope.close())
        self._loop.run_until_complete(turbo_orm.close_pools())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def _adopt(context: Context) -> None:
    """Keep what an operation's task set: a class's set-up activates its tests' language and time zone."""
    current = copy_context()
    for variable, value in context.items():
        if current.get(variable, _UNSET) is not value:
            variable.set(value)


_UNSET = object()
