"""Their ``async_atomic`` inside our scopes: a scope like a nested block of ours."""

from __future__ import annotations

import asyncio
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS

from turbo_orm.bridge.async_backend.guest import Guest, ending
from turbo_orm.bridge.scopes import Entered, Scope, active_scope
from turbo_orm.bridge.turns import NoMoreTurns

__all__ = ["any_open", "install"]


class _Entry(NamedTuple):
    scope: Scope
    entered: Entered
    task: asyncio.Task[Any] | None
    borrowed: tuple[str, ...]


#: The entries of their blocks inside our scopes; one object may be entered several times.
_entries: WeakKeyDictionary[Any, list[_Entry]] = WeakKeyDictionary()


#: As long as the number of their open blocks in this process; while it is empty nobody needs to
#: look for one to join. (A list, because threads may append and pop at the same time.)
_open: list[None] = []
#: There may be some which were opened before they were counted.
_uncounted = False


def any_open() -> bool:
    """Whether one of their blocks may be open in this process."""
    return bool(_open) or _uncounted


async def _count_and_enter(self: Any) -> None:
    await _enter(self)
    _open.append(None)


async def _exit_and_count(self: Any, *exc_info: Any) -> None:
    try:
        await _exit(self, *exc_info)
    finally:
        if _open:
            _open.pop()


async def _enter(self: Any) -> None:
    loop = asyncio.get_running_loop()
    surrounding = active_scope(loop)
    if surrounding is None:
        await _originals["__aenter__"](self)
        return
    alias = self.using or DEFAULT_DB_ALIAS
    theirs = import_module("django_async_backend.db").async_connections[alias]
    task = asyncio.current_task()
    borrowed: tuple[str, ...] = ()
    if not _is_connection_of(surrounding, alias, theirs):
        scope, borrowed = _scope_beside(surrounding, alias)
    elif theirs._task is not task:
        await _originals["__aenter__"](self)  # says what is wrong
        return
    else:
        scope = Scope(loop, surrounding)
        try:
            await scope.open()
        except NoMoreTurns:
            await _enter(self)
            return
    entered = Entered(scope)
    entered.__enter__()
    try:
        await _originals["__aenter__"](self)
    except BaseException:
        entered.__exit__(None, None, None)
        await _close(scope, borrowed)
        raise
    _entries.setdefault(self, []).append(_Entry(scope, entered, task, borrowed))


def _is_connection_of(scope: Scope, alias: str, theirs: Any) -> bool:
    wrapper = scope.wrapper_of(alias)
    return isinstance(theirs, Guest) or getattr(wrapper, "theirs", None) is theirs


def _scope_beside(surrounding: Scope, alias: str) -> tuple[Scope, tuple[str, ...]]:
    """Return a root scope for a block on a connection which is not the surrounding scope's.

    Our queries on *alias* will join that block; on other aliases they stay in the
    surrounding ones.
    """
    scope = Scope(surrounding.loop)
    if (block := surrounding.root.wire_block) is not None:
        block.declare()
    for name, wrapper in surrounding.wrappers.items():
        if name != alias and wrapper.in_atomic_block:
            scope.wrappers[name] = wrapper
    return scope, tuple(scope.wrappers)


async def _exit(
    self: Any,
    exc_type: type[BaseException] | None,
    exc: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    entry = _pop_entry(self)
    if entry is None:
        await _originals["__aexit__"](self, exc_type, exc, traceback)
        return
    scope = entry.scope
    try:
        if exc_type is GeneratorExit and scope.parent is not None:
            scope.destroy()  # nothing can be awaited: closing the connection rolls back
            return
        cancelled = await scope.wait_for_children()
        if cancelled is not None and exc is None:
            exc_type, exc = type(cancelled), cancelled
        ending.add(scope)
        await _originals["__aexit__"](self, exc_type, exc, traceback)
        if cancelled is not None:
            raise cancelled
    finally:
        entry.entered.__exit__(None, None, None)
        await _close(scope, entry.borrowed)


def _pop_entry(block: Any) -> _Entry | None:
    entries = _entries.get(block, [])
    task = asyncio.current_task()
    for index in range(len(entries) - 1, -1, -1):
        if entries[index].task is task:
            return entries.pop(index)
    return None


async def _close(scope: Scope, borrowed: tuple[str, ...]) -> None:
    for name in borrowed:
        del scope.wrappers[name]
    await scope.close()


_originals: dict[str, Any] = {}


def install(*, late: bool) -> None:
    """Hook our scopes into ``async_atomic``, once; *late* if there may be open blocks already."""
    global _uncounted
    block_class: Any = import_module("django_async_backend.db.transaction").AsyncAtomic
    if not _originals:
        _originals.update(__aenter__=block_class.__aenter__, __aexit__=block_class.__aexit__)
        block_class.__aenter__ = _count_and_enter
        block_class.__aexit__ = _exit_and_count
        _uncounted = late
