"""Nested blocks in a `WireBlock`, which need no wrapper of Django's either, as long as it needs none.

https://docs.djangoproject.com/en/stable/topics/db/transactions/#savepoints
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import transaction

from turbo_orm.bridge.interruptions import is_interruption, writes_lost
from turbo_orm.bridge.observers import observed
from turbo_orm.bridge.straight import django_errors, is_watched
from turbo_orm.bridge.wire_blocks import BlockOnWire, WireBlock
from turbo_orm.db.statements import command

if TYPE_CHECKING:
    from turbo_orm.bridge.scopes import Scope

__all__ = ["NestedBlock", "PartOfBlock", "Savepoint"]


class NestedBlock(BlockOnWire):
    """What the nested blocks have in common."""

    __slots__ = ("_around",)

    def __init__(self, around: WireBlock, new_block: Callable[[], transaction.Atomic]) -> None:
        super().__init__(new_block)
        self._around = around

    @property
    def declared(self) -> bool:
        """Whether Django has a wrapper for it, which is in charge."""
        return self._around.declared

    def enter(self, wrapper: Any) -> None:
        """Have *wrapper*, which takes over, know of it. Nothing is executed."""
        self.block.__enter__()

    async def end(self, exc: BaseException | None) -> None:
        """Do what Django's block does at its end; *exc* is what it ends because of."""
        raise NotImplementedError


class PartOfBlock(NestedBlock):
    """One without a savepoint: there is nothing to execute, until it fails."""

    __slots__ = ()

    @classmethod
    def begin(
        cls, scope: Scope, alias: str, new_block: Callable[[], transaction.Atomic]
    ) -> PartOfBlock | None:
        """Begin one on *alias* in *scope*; None if no `WireBlock` on it is around.

        *new_block* makes Django's own block, at the first need.
        """
        around = scope.root.wire_block
        if around is None or around.alias != alias:
            return None
        found = cls(around, new_block)
        around.nested.append(found)
        return found

    async def end(self, exc: BaseException | None) -> None:
        around = self._around
        around.nested.remove(self)
        if exc is not None:
            # There is only the block around it to roll back.
            wrapper = around.declare()
            if is_interruption(exc) and not wrapper.needs_rollback:
                wrapper.break_block(exc)
            wrapper.needs_rollback = True


class Savepoint(NestedBlock):
    """One with a savepoint."""

    __slots__ = ("_sid",)

    def __init__(self, around: WireBlock, new_block: Callable[[], transaction.Atomic]) -> None:
        super().__init__(around, new_block)
        around.savepoint_state += 1
        # As Django calls it.
        self._sid = f"s{_thread.get_ident()}_x{around.savepoint_state}"

    @classmethod
    async def begin(
        cls, scope: Scope, alias: str, new_block: Callable[[], transaction.Atomic]
    ) -> Savepoint | None:
        """Begin one on *alias* in *scope*; None if no `WireBlock` on it is around, or Django has its say.

        *new_block* makes Django's own block, at the first need.
        """
        around = scope.root.wire_block
        if around is None or around.alias != alias or around.broken_by is not None or is_watched(alias):
            return None
        found = cls(around, new_block)
        try:
            with django_errors:
                await found._execute("SAVEPOINT")
        except GeneratorExit:
            scope.abort()
            raise
        around.nested.append(found)
        return found

    def enter(self, wrapper: Any) -> None:
        wrapper.savepoint = lambda: self._sid
        try:
            super().enter(wrapper)
        finally:
            del wrapper.savepoint

    async def end(self, exc: BaseException | None) -> None:
        """Release the savepoint; or roll back to it, if *exc* or a failed statement want that.

        Raises as `WireBlock.end()`.
        """
        around = self._around
        around.nested.remove(self)
        broken_by, around.broken_by = around.broken_by, None
        if exc is not None or broken_by is not None:
            await self._roll_back(broken_by, exc)
            if exc is None and is_interruption(broken_by):
                raise writes_lost() from broken_by
            return
        try:
            await self._execute("RELEASE SAVEPOINT")
        except psycopg.Error as error:
            await self._roll_back(error)
            with django_errors:
                raise

    async def _roll_back(self, *reasons: BaseException | None) -> None:
        try:
            await self._execute("ROLLBACK TO SAVEPOINT")
            await self._execute("RELEASE SAVEPOINT")
        except psycopg.Error as error:
            # Where there is a savepoint further out, that may do. Who catches a timeout has to hear of it.
            self._around.break_block(next(filter(is_interruption, reasons), None) or error)

    async def _execute(self, what: str) -> None:
        around, statement = self._around, command(f'{what} "{self._sid}"')
        wire = around.wire
        assert wire is not None
        try:
            await observed(around.alias, statement, (), wire.run_alone(statement, ()))
        except psycopg.Error:
            raise
        except BaseException as exc:
            around.break_block(exc)  # what has become of it is unknown
            raise
