"""Their calls in our block: an ``AsyncDatabaseWrapper`` on the block's connection."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any
from weakref import WeakSet

from django.db.utils import load_backend

from turbo_orm.bridge.async_backend.state import share_state
from turbo_orm.bridge.connection import BridgedConnection
from turbo_orm.bridge.querylog import show_like
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import Scope, active_scope, open_scope
from turbo_orm.bridge.wrapper import BridgedWrapper, mixed
from turbo_orm.errors import ConnectionReleasedError

__all__ = ["Guest", "ending", "guest_of"]


class Guest:
    """Mixed into an alias's ``AsyncDatabaseWrapper``: the same, but for whose connection it is.

    The connection and the transaction state are those of a bridged wrapper, the *host*. The
    host's scope opens, ends and gives back; a guest can do none of these.
    """

    #: Never one of its own to take a connection from.
    pool = None
    #: Our wrapper.
    host: BridgedWrapper | None = None
    _root: Scope

    def receive(self, host: BridgedWrapper, root: Scope) -> None:
        """Begin to work on *host*, which serves the operations of *root*."""
        self.host = host
        self._root = root

    @property
    def connection(self) -> Any:
        """The `psycopg.AsyncConnection` of the block, None after its end."""
        facade = None if self.host is None else self.host.connection
        return facade._aconn if isinstance(facade, BridgedConnection) else None

    @connection.setter
    def connection(self, value: None) -> None:
        """Nothing: what a guest drops is still its host's."""

    @property
    def _task(self) -> Any:
        # Whom their validate_task_sharing() lets pass: the task that entered the innermost block.
        scope = active_scope(asyncio.get_running_loop())
        if scope is None or scope.root is not self._root:
            scope = self._root
        elif scope.in_user_code:
            return asyncio.current_task()  # Django runs async receivers in tasks of their own
        return _NOBODY if scope.task is None else scope.task

    @_task.setter
    def _task(self, task: Any) -> None:
        """Nothing: who may use the connection is decided by our scopes."""

    async def connect(self) -> None:
        """Refuse: the block has ended."""
        assert self.host is not None
        raise ConnectionReleasedError(
            f"This connection to {self.host.alias!r} was that of a turbo_orm.atomic() block, "
            "which has ended. Ask async_connections for it each time, as in "
            f"`async_connections[{self.host.alias!r}]`."
        )

    async def close(self) -> None:
        """Nothing: the connection is the block's, until its end."""

    async def run_and_clear_commit_hooks(self) -> None:
        """Call the functions in the bridge, where ours belong; theirs are awaited there."""
        assert self.host is not None
        await run_sync(self.host.run_and_clear_commit_hooks)

    def make_cursor(self, cursor: Any) -> Any:
        """Create a cursor which waits for its turn in the block."""
        return _taking_turns(super().make_cursor(cursor))  # type: ignore[misc]

    def make_debug_cursor(self, cursor: Any) -> Any:
        """Create a logging cursor which waits for its turn in the block."""
        return _taking_turns(super().make_debug_cursor(cursor))  # type: ignore[misc]

    def turn(self) -> _Turn:
        """Return a context in which no other task of the block is in a nested block or a query."""
        assert self.host is not None
        return _Turn(self.host)


share_state(Guest, "host")

#: Blocks on their way out: nobody else has a turn in them any more.
ending: WeakSet[Scope] = WeakSet()

#: Compares unequal to every task.
_NOBODY = object()


class _Turn:
    """A class, not a generator: see `turbo_orm.bridge.iterators`."""

    __slots__ = ("_host", "_scope")

    def __init__(self, host: BridgedWrapper) -> None:
        self._host = host
        self._scope: Scope | None = None

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        if active_scope(loop) not in ending:
            self._scope = await open_scope(loop)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._scope is None:
            return
        if isinstance(exc, asyncio.CancelledError):
            self._host.break_block(exc)  # as in BridgedConnection.wait()
        await self._scope.close()


class _TakingTurns:
    """Mixed into their cursor wrappers."""

    db: Guest

    async def _execute(self, *args: Any) -> Any:
        async with self.db.turn():
            return await super()._execute(*args)  # type: ignore[misc]

    async def _executemany(self, *args: Any) -> Any:
        async with self.db.turn():
            return await super()._executemany(*args)  # type: ignore[misc]


def _taking_turns(cursor: Any) -> Any:
    cls: Any = type(cursor)
    cursor.__class__ = mixed(_TakingTurns, cls)
    return cursor


def guest_of(host: BridgedWrapper, scope: Scope, ambient: Any) -> Any:
    """Return the guest of *host*, which is created when it is first asked for.

    Query log and execute wrappers are those of *ambient*, the wrapper their calls would
    otherwise use, if there is one.
    """
    guest = host.guest
    if guest is None:
        wrapper_class = load_backend(host.settings_dict["ENGINE"]).AsyncDatabaseWrapper
        guest = host.guest = mixed(Guest, wrapper_class)(host.settings_dict, host.alias)
        guest.receive(host, scope.root)
        if ambient is not None:
            show_like(guest, ambient)
    return guest
