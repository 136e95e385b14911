"""`atomic` blocks and `on_commit` for async code.

https://docs.djangoproject.com/en/stable/topics/db/transactions/
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, overload

from django.db import transaction
from typing_extensions import ParamSpec

from turbo_orm.bridge.greenlets import drive
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import Entered, Scope, open_scope

__all__ = ["Atomic", "atomic", "on_commit"]

P = ParamSpec("P")
T = TypeVar("T")


class Atomic:
    """An async context manager and decorator around Django's own `Atomic`; see `atomic()`."""

    def __init__(self, using: str | None, savepoint: bool, durable: bool) -> None:
        self._using = using
        self._savepoint = savepoint
        self._durable = durable
        #: One object may be entered again inside itself, and by several tasks at once.
        self._entries: list[_Entry] = []

    def __repr__(self) -> str:
        return f"atomic(using={self._using!r}, savepoint={self._savepoint}, durable={self._durable})"

    async def __aenter__(self) -> None:
        scope = await open_scope(asyncio.get_running_loop())
        block = transaction.Atomic(self._using, self._savepoint, self._durable)
        try:
            await drive(scope, block.__enter__)
        except BaseException:
            await scope.close()
            raise
        entered = Entered(scope)
        entered.__enter__()
        self._entries.append(_Entry(scope, block, entered, asyncio.current_task()))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entry = self._pop_entry()
        scope = entry.scope
        try:
            if exc_type is GeneratorExit:
                # The coroutine is being destroyed: nothing can be awaited, so no ROLLBACK
                # can be sent. Closing the connection makes the server roll back.
                scope.abort()
                return
            cancelled = await scope.wait_for_children()
            if cancelled is not None and exc is None:
                exc_type, exc = type(cancelled), cancelled
            await drive(scope, entry.block.__exit__, (exc_type, exc, traceback))
            if cancelled is not None:
                raise cancelled
        finally:
            entry.entered.__exit__(None, None, None)
            await scope.close()

    def _pop_entry(self) -> _Entry:
        task = asyncio.current_task()
        for index in range(len(self._entries) - 1, -1, -1):
            if self._entries[index].task is task:
                return self._entries.pop(index)
        # A block may be left by another task than entered it, as async generators are.
        return self._entries.pop()

    def __call__(self, fn: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(
                f"turbo_orm.atomic decorates async functions, and {fn!r} is not one. "
                "For sync functions use django.db.transaction.atomic."
            )

        @wraps(fn)
        async def inner(*args: P.args, **kwargs: P.kwargs) -> T:
            async with Atomic(self._using, self._savepoint, self._durable):
                return await fn(*args, **kwargs)

        return inner


class _Entry(NamedTuple):
    scope: Scope
    block: transaction.Atomic
    entered: Entered
    task: asyncio.Task[Any] | None


@overload
def atomic(using: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]: ...
@overload
def atomic(using: str | None = None, savepoint: bool = True, durable: bool = False) -> Atomic: ...
def atomic(using: Any = None, savepoint: bool = True, durable: bool = False) -> Any:
    """Guarantee the atomic execution of an async block or function.

    ``async with atomic():``, ``@atomic`` and ``@atomic(using="other")`` work as Django's do:
    the outermost block is a transaction, inner ones are savepoints unless *savepoint* is
    False, and *durable* demands to be the outermost one. All queries inside, also those of
    tasks started inside, run on the block's connection one after another.

    Raises what Django's `atomic` raises: `RuntimeError` for a nested durable block,
    `TransactionManagementError` for queries in a broken block.
    """
    if callable(using):
        decorated: Any = using
        return Atomic(None, savepoint, durable)(decorated)
    return Atomic(using, savepoint, durable)


async def on_commit(func: Callable[[], object], using: str | None = None, robust: bool = False) -> None:
    """Call *func* when the current transaction commits, or now if there is none.

    *func* takes no arguments and may be an async function: it is awaited then, and its
    queries run on the same connection, after the commit. *robust* has an error in it logged
    instead of raised. It is dropped if the transaction (or its savepoint) is rolled back.
    """
    await run_sync(transaction.on_commit, func, using=using, robust=robust)
