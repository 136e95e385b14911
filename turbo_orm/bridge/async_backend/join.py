"""Our queries in their ``async_atomic`` block: on its connection, with its transaction state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from turbo_orm.bridge.async_backend import blocks, local
from turbo_orm.bridge.async_backend.setup import enabled
from turbo_orm.bridge.async_backend.state import share_state
from turbo_orm.bridge.connection import BridgedConnection
from turbo_orm.bridge.greenlets import await_only, current_bridge, drive, loop_visible
from turbo_orm.bridge.scopes import Scope
from turbo_orm.bridge.wrapper import BridgedWrapper, awaiting, mixed
from turbo_orm.db.connections import close_now
from turbo_orm.errors import BridgeError, ConnectionReleasedError

__all__ = ["JoinedConnection", "JoinedWrapper", "in_their_block", "join"]


class JoinedWrapper(BridgedWrapper):
    """A wrapper whose connection and transaction state are those of an ``AsyncDatabaseWrapper``.

    Nothing is leased: at the end of the operation the connection stays with its owner.
    """

    #: Their wrapper.
    theirs: Any = None

    _scope: Scope
    _cursor_factory: Any
    _facade: JoinedConnection | None = None
    _left = False
    takes_guests = False

    @property
    def wire(self) -> None:
        """None: the connection is theirs, and may be anybody's."""

    def enter(self, theirs: Any, scope: Scope) -> None:
        """Begin to share *theirs* for the operations of *scope*'s root."""
        self.attach(scope)
        self._scope = scope
        self._cursor_factory = self.get_connection_params()["cursor_factory"]
        self.theirs = theirs

    if not TYPE_CHECKING:

        @property
        def connection(self) -> JoinedConnection | None:
            aconn = None if self.theirs is None or self._left else self.theirs.connection
            facade = self._facade
            if facade is not None and facade._aconn is not aconn:
                facade.die()
                facade = None
            if facade is None and aconn is not None:
                facade = JoinedConnection(
                    aconn, cursor_factory=self._cursor_factory, scope=self._scope, pool=None, wrapper=self
                )
                facade.theirs = self.theirs
            self._facade = facade
            return facade

        @connection.setter
        def connection(self, value: None) -> None:
            # Django only ever drops a connection here: one it has closed.
            if self.theirs is not None:
                self.theirs.connection = value

    def connect(self) -> None:
        """Refuse: outside of their block there is no connection to join."""
        raise ConnectionReleasedError(
            f"This operation used the connection of an async_atomic() block on {self.alias!r}, "
            "and the block has ended or lost its connection. Finish such operations, aiterator() "
            "for one, inside the block."
        )

    def detach(self) -> None:
        """The operation is over: forget their connection, which stays as it is."""
        facade, self._facade = self._facade, None
        if facade is not None:
            facade.leave()
        self._left = True

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None:
        """Register *func* with their block, which calls it outside of the bridge."""
        if callable(func) and self.in_atomic_block:
            func = _in_bridge(func, self.theirs, self._scope.loop)
        super().on_commit(func, robust)


share_state(JoinedWrapper, "theirs")


class JoinedConnection(BridgedConnection):
    """The face of a connection that belongs to an ``AsyncDatabaseWrapper``."""

    __slots__ = ("theirs", "waiting")

    theirs: Any
    waiting: bool

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        self.waiting = True
        try:
            return super().wait(gen, *args, **kwargs)
        finally:
            self.waiting = False

    def close(self) -> None:
        """Close as their ``close()`` does: it goes back where they got it."""
        bridge, aconn = current_bridge(), self._aconn
        if aconn is None:
            return
        self.die()
        if bridge is None or bridge.closing:
            close_now(aconn)
        else:
            await_only(self.theirs._close())

    def leave(self) -> None:
        """Stop using the connection; close it if a statement of ours is still under way.

        That is so when the coroutine of an operation is destroyed: nobody will read the
        result, so that the connection would be of no use to its owner either.
        """
        aconn = self._aconn
        if aconn is None or not getattr(self, "waiting", False):
            self.die()
            return
        self._pool_ = getattr(aconn, "_pool", None)
        self.abandon()
        # As their close() leaves it in a block.
        self.theirs.connection = None
        self.theirs.closed_in_transaction = self.theirs.needs_rollback = True


def join(scope: Scope, alias: str) -> BaseDatabaseWrapper | None:
    """Return a wrapper in the ``async_atomic`` block of the running task on *alias*, if any.

    Raises `BridgeError` if the task only inherited the block: its connection belongs to the
    task that opened it.
    """
    if not enabled(connections.settings[alias]["ENGINE"]) or not blocks.any_open() or scope.root.apart:
        return None
    with loop_visible(scope.loop):
        theirs = local.their_wrapper(alias)
        if theirs is None or not theirs.in_atomic_block:
            return None
        _check_owner(theirs)
    return _joined(theirs, scope)


def in_their_block(alias: str) -> bool:
    """Whether the running task is in an ``async_atomic`` block on *alias*, outside of the bridge."""
    if not enabled(connections.settings[alias]["ENGINE"]) or not blocks.any_open():
        return False
    theirs = local.their_wrapper(alias)
    return theirs is not None and bool(theirs.in_atomic_block)


def _joined(theirs: Any, scope: Scope) -> JoinedWrapper:
    settings_dict = connections.settings[theirs.alias]
    engine = load_backend(settings_dict["ENGINE"]).DatabaseWrapper
    wrapper: JoinedWrapper = mixed(JoinedWrapper, engine)(settings_dict, theirs.alias)
    wrapper.enter(theirs, scope)
    return wrapper


def _check_owner(theirs: Any) -> None:
    validate = getattr(theirs, "validate_task_sharing", None)
    cause: RuntimeError | None = None
    try:
        if validate is not None:
            validate()
        elif theirs._task is not asyncio.current_task():  # 6.0: there for their blocks only
            cause = RuntimeError("The connection is owned by another task.")
    except RuntimeError as exc:
        cause = exc
    if cause is not None:
        raise BridgeError(
            f"This task was started inside an async_atomic() block on {theirs.alias!r}, and the "
            "block's connection belongs to the task that opened it. Query in that task; or "
            "give this one a connection of its own with async_new_connection(), or start it "
            "in a turbo_orm.atomic() block, which the tasks started in it share."
        ) from cause


def _in_bridge(
    func: Callable[[], object], theirs: Any, loop: asyncio.AbstractEventLoop
) -> Callable[[], Awaitable[object]]:
    """Make *func* an async function which calls it in the bridge, on *theirs*."""

    async def call() -> object:
        scope = Scope(loop)
        if theirs.connection is not None:
            scope.wrappers[theirs.alias] = _joined(theirs, scope)
        try:
            return await drive(scope, awaiting(func))
        finally:
            await scope.close()

    # Their log names the robust function that failed.
    call.__qualname__ = getattr(func, "__qualname__", repr(func))
    return call
