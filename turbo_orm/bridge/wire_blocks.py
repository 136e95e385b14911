"""Blocks whose statements all go straight to the wire, until sync code takes part in them.

Django's transaction state lives in a wrapper, and making one costs more than a statement. A
block without one knows what is needed to end it; when anything in it needs the wrapper (sync
code, a nested block, `on_commit()`), `WireBlock.declare()` makes it, in the state in which
Django's own `Atomic` would have left it.
"""

from __future__ import annotations

from asyncio import _get_running_loop, _set_running_loop
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import connections, transaction
from psycopg.pq import TransactionStatus

from turbo_orm.bridge.connection import BridgedConnection
from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.bridge.interruptions import is_interruption, writes_lost
from turbo_orm.bridge.observers import observation_of
from turbo_orm.bridge.straight import django_errors, goes_straight, take_later, take_now
from turbo_orm.bridge.wrapper import BridgedWrapper, new_wrapper
from turbo_orm.conf import get_config
from turbo_orm.db.leases import abandon, give_back, put_idle
from turbo_orm.db.wire import Wire

if TYPE_CHECKING:
    from turbo_orm.bridge.nested_blocks import NestedBlock
    from turbo_orm.bridge.scopes import Scope

__all__ = ["BlockOnWire", "WireBlock"]

_IDLE = TransactionStatus.IDLE


class BlockOnWire:
    """A block without Django's own, which is made at the first need."""

    __slots__ = ("_block", "_new_block")

    def __init__(self, new_block: Callable[[], transaction.Atomic]) -> None:
        self._new_block = new_block
        self._block: transaction.Atomic | None = None

    @property
    def block(self) -> transaction.Atomic:
        """Django's block: not entered, unless a wrapper of Django's is in charge."""
        if self._block is None:
            self._block = self._new_block()
        return self._block


class WireBlock(BlockOnWire):
    """The outermost block of a scope, as long as Django has no wrapper for it."""

    __slots__ = (
        "_conn",
        "_declared",
        "_pool",
        "_scope",
        "alias",
        "broken_by",
        "nested",
        "savepoint_state",
        "wire",
    )

    def __init__(
        self,
        scope: Scope,
        alias: str,
        new_block: Callable[[], transaction.Atomic],
        wire: Wire,
    ) -> None:
        super().__init__(new_block)
        self._scope = scope
        self._conn = conn = wire.conn
        self._pool: Any = conn._pool
        self.alias = alias
        #: None once somebody else has the connection.
        self.wire: Wire | None = wire
        self._declared: BridgedWrapper | None = None
        #: The nested blocks there are, from the outermost on, and how many savepoints there were.
        self.nested: list[NestedBlock] = []
        self.savepoint_state = 0
        #: The failure of a statement which Django does not let a block survive, and names to whoever
        #: goes on.
        self.broken_by: BaseException | None = None

    @classmethod
    async def begin(
        cls, scope: Scope, alias: str, new_block: Callable[[], transaction.Atomic]
    ) -> WireBlock | None:
        """Begin a block on *alias* in the root scope *scope*; None if Django's wrapper is needed for it.

        *new_block* makes Django's own block, at the first need.
        """
        if scope.parent is not None or not get_config().wire or not _is_plain(alias):
            return None
        if not goes_straight(alias):
            return None
        wire = take_now(scope.loop, alias) or await take_later(scope.loop, alias)
        if wire is None:
            return None
        # From here on psycopg, and the wire, begin a transaction with the next statement.
        wire.conn._autocommit = False
        found = cls(scope, alias, new_block, wire)
        scope.leases.append(found)
        scope.wire_block = found
        return found

    @property
    def declared(self) -> bool:
        """Whether Django has a wrapper for it, which is in charge."""
        return self.wire is None

    def declare(self) -> BridgedWrapper:
        """Hand the connection and the block over to Django's wrapper, and return that."""
        scope = self._scope
        wrapper = new_wrapper(scope, self.alias)
        assert isinstance(wrapper, BridgedWrapper)
        scope.wrappers[self.alias] = wrapper
        abandoned = self not in scope.leases
        if not abandoned:
            scope.leases.remove(self)
        scope.wire_block = self.wire = None
        loop = _get_running_loop()
        _set_running_loop(None)  # nothing waits, but Django guards against that
        try:
            # Also outside of the bridge, where django-async-backend asks for a guest.
            with connections_replaced({self.alias: wrapper}):
                wrapper.adopt(self._conn, self._pool, scope, self.block)
                for nested in self.nested:
                    nested.enter(wrapper)
                wrapper.savepoint_state = self.savepoint_state
        finally:
            _set_running_loop(loop)
        self._declared = wrapper
        if self.broken_by is not None:
            wrapper.break_block(self.broken_by)
            self.broken_by = None
        if abandoned:
            leased = wrapper.connection
            assert isinstance(leased, BridgedConnection)
            scope.leases.remove(leased)
            leased.die()
            wrapper.detach()
        return wrapper

    def break_block(self, exc: BaseException) -> None:
        """Let the block only roll back: *exc* cut a statement short."""
        if self._declared is None:
            self.broken_by = exc
        else:  # while the statement was under way
            self._declared.break_block(exc)

    async def end(self, exc: BaseException | None) -> None:
        """Commit; or roll back, if *exc* or a failed statement want that.

        Raises Django's database errors; and that of a block in which a statement was cut short, if
        it does not end because of *exc*.
        """
        wire = self.wire
        assert wire is not None
        broken_by, self.broken_by = self.broken_by, None  # it leads back here
        if wire.pgconn.transaction_status == _IDLE:
            return
        if exc is not None or broken_by is not None:
            await self._roll_back(wire)
            if exc is None and is_interruption(broken_by):
                raise writes_lost() from broken_by
            return
        try:
            with observation_of(self.alias, "COMMIT"):
                await wire.command(b"COMMIT")
        except psycopg.Error:
            if not self._conn.closed and wire.pgconn.transaction_status != _IDLE:
                await self._roll_back(wire)
            with django_errors:
                raise

    async def _roll_back(self, wire: Wire) -> None:
        if self._conn.closed:
            return
        try:
            with observation_of(self.alias, "ROLLBACK"):
                await wire.command(b"ROLLBACK")
        except psycopg.Error:
            # As Django's: a connection that can't even roll back is of no use.
            await self._conn.close()

    def release_now(self) -> bool:
        """Give the connection back, if that needs no waiting; return whether it did."""
        self.wire = None
        return put_idle(self._conn, self._pool)

    async def release(self) -> None:
        """Give the connection back."""
        self.wire = None
        await give_back(self._conn, self._pool)

    def abandon(self) -> None:
        """Close the connection without awaiting: the rest of the block is refused."""
        self.wire = None
        self.broken_by = self.broken_by or GeneratorExit()
        abandon(self._conn, self._pool, self._scope.loop)


def _is_plain(alias: str) -> bool:
    """Whether Django does nothing with a connection to *alias* but begin and end transactions."""
    try:
        given = connections.settings[alias]
    except KeyError:
        return False
    options = given["OPTIONS"]
    return bool(given["AUTOCOMMIT"] and not options.get("isolation_level") and not options.get("assume_role"))
