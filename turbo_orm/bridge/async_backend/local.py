"""``async_connections`` inside our blocks: the block's connection, as a guest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from importlib import import_module
from types import MappingProxyType
from typing import Any

from turbo_orm.bridge.async_backend.guest import Guest, guest_of
from turbo_orm.bridge.scopes import Scope, active_scope
from turbo_orm.bridge.wrapper import BridgedWrapper

__all__ = ["connections_were_asked_for", "host_of", "install", "their_wrapper"]

#: By alias, what the original ``Local`` held before code inside one of our blocks put a wrapper
#: of its own there, as ``async_new_connection()`` does. That one is asked for, not the guest.
_replaced: ContextVar[Mapping[str, Any]] = ContextVar("turbo_orm_replaced", default=MappingProxyType({}))

#: Whether the library has made a connection object for this context. Stays so: the object does.
_asked_for: ContextVar[bool] = ContextVar("turbo_orm_asked_for", default=False)


class _GuestAwareLocal:
    """Replaces the asgiref ``Local`` in which django-async-backend keeps its connections.

    Inside one of our blocks it answers with the block's guest; everywhere else it is the
    original.
    """

    def __init__(self, original: Any) -> None:
        object.__setattr__(self, "original", original)

    def __getattr__(self, alias: str) -> Any:
        host = host_of(alias)
        if host is None:
            return getattr(self.original, alias)
        return guest_of(*host, getattr(self.original, alias, None))

    def __setattr__(self, alias: str, value: Any) -> None:
        replaced = _replaced.get()
        if isinstance(value, Guest):
            # Put back where async_new_connection() found it.
            if alias in replaced:
                self._restore(alias, replaced[alias])
            return
        if host_of(alias) is not None:
            _replaced.set({**replaced, alias: getattr(self.original, alias, None)})
        setattr(self.original, alias, value)
        _asked_for.set(True)

    def __delattr__(self, alias: str) -> None:
        delattr(self.original, alias)

    def _restore(self, alias: str, previous: Any) -> None:
        _replaced.set({name: value for name, value in _replaced.get().items() if name != alias})
        if previous is None:
            delattr(self.original, alias)
        else:
            setattr(self.original, alias, previous)


def host_of(alias: str) -> tuple[BridgedWrapper, Scope] | None:
    """Return the wrapper and the scope of our block on *alias* that the running task is in."""
    loop = asyncio._get_running_loop()
    scope = None if loop is None else active_scope(loop)
    if scope is None or alias in _replaced.get():
        return None
    wrapper = scope.wrapper_of(alias)
    if not isinstance(wrapper, BridgedWrapper) or not wrapper.takes_guests:
        return None
    return (wrapper, scope) if wrapper.in_atomic_block or wrapper.running_hooks else None


def connections_were_asked_for() -> bool:
    """Whether the running code, or what it awaited, has used ``async_connections``."""
    return _asked_for.get()


def their_wrapper(alias: str) -> Any:
    """Return the running task's own ``AsyncDatabaseWrapper`` of *alias*, or None: never a guest."""
    return getattr(_their_handler()._connections.original, alias, None)


def _their_handler() -> Any:
    return import_module("django_async_backend.db").async_connections


def install() -> None:
    """Hook our blocks into ``async_connections``, once."""
    handler = _their_handler()
    if not isinstance(handler._connections, _GuestAwareLocal):
        handler._connections = _GuestAwareLocal(handler._connections)
