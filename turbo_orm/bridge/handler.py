"""`django.db.connections` inside the bridge: the wrappers of the running operation."""

from __future__ import annotations

from asyncio import _get_running_loop
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any

from django.db import connections

from turbo_orm.bridge.async_backend.join import join
from turbo_orm.bridge.greenlets import loop_visible, running_bridge
from turbo_orm.bridge.querylog import show_like
from turbo_orm.bridge.scopes import Scope, active_scope
from turbo_orm.bridge.wrapper import new_wrapper

__all__ = ["ambient_connection", "connections_replaced", "has_ambient", "in_transaction", "install"]


class _BridgeAwareLocal:
    """Replaces the asgiref ``Local`` in which Django keeps its connections.

    Inside a bridge greenlet it answers with the wrapper of the greenlet's scope, in async code
    inside of a block, and in its threads, with the block's; everywhere else it is the original.
    (``Local`` can't be subclassed: asgiref forbids it.)
    """

    def __init__(self, original: Any) -> None:
        object.__setattr__(self, "_original", original)

    def __getattr__(self, alias: str) -> Any:
        if _replaced and alias in (others := _replaced.get(get_ident(), {})):
            return others[alias]
        scope = _scope(alias)
        if scope is None:
            # Nothing can be executed with it there, but it knows of the block, and can be told to roll back.
            around = _scope_of_block(alias)
            if around is None:
                return getattr(self._original, alias)
            scope = around
        try:
            return scope.wrappers[alias]
        except KeyError:
            pass
        if alias not in connections.settings:
            raise AttributeError(alias)
        wrapper = scope.wrapper_of(alias)
        if wrapper is None:
            wrapper = scope.wrappers[alias] = join(scope, alias) or new_wrapper(scope, alias)
        self._share_instrumentation(scope, wrapper)
        return wrapper

    def __setattr__(self, alias: str, value: Any) -> None:
        scope = _scope(alias)
        if scope is None:
            if _get_running_loop() is not None:
                _touched.set(True)
            setattr(self._original, alias, value)
        else:
            scope.wrappers[alias] = value

    def __delattr__(self, alias: str) -> None:
        scope = _scope(alias)
        if scope is None:
            delattr(self._original, alias)
        elif scope.wrappers.pop(alias, None) is None:
            raise AttributeError(alias)

    def _share_instrumentation(self, scope: Scope, wrapper: Any) -> None:
        # The query log and the execute wrappers are those of the connection the surrounding
        # async code sees, if it has touched it: connection.queries and execute_wrapper() work.
        if not has_ambient():
            return
        with loop_visible(scope.loop):
            ambient = ambient_connection(wrapper.alias)
        if ambient is not None:
            show_like(wrapper, ambient)


#: By thread: what `connections_replaced` put in the place of its connections.
_replaced: dict[int, Mapping[str, Any]] = {}


@contextmanager
def connections_replaced(others: Mapping[str, Any]) -> Iterator[None]:
    """Let `django.db.connections` answer with *others* in this thread, in sync code.

    Nothing may be awaited meanwhile.
    """
    thread = get_ident()
    outer = _replaced.get(thread)
    _replaced[thread] = others
    try:
        yield
    finally:
        if outer is None:
            del _replaced[thread]
        else:
            _replaced[thread] = outer


_touched: ContextVar[bool] = ContextVar("turbo_orm_touched", default=False)

#: Returns whether code on an event loop has touched a connection outside of the bridge, in this
#: context. Seldom has it, and asgiref answers slowly, with an exception, where it has not.
has_ambient: Callable[[], bool] = _touched.get


def ambient_connection(alias: str) -> Any:
    """Return the connection of *alias* that the surrounding async code has touched, or None.

    Call it outside of the bridge.
    """
    if not has_ambient():
        return None
    handler: Any = connections
    return getattr(handler._connections._original, alias, None)


def in_transaction(alias: str) -> bool:
    """Whether the running code, async or in the bridge, is in a block of ours on *alias*."""
    scope = _scope(alias)
    if scope is None:
        return _scope_of_block(alias) is not None
    return scope.has_block(alias)


def _scope_of_block(alias: str) -> Scope | None:
    """Return the scope that the running async code is in if it is in a block of ours on *alias*."""
    loop = _get_running_loop()
    scope = None if loop is None else active_scope(loop)
    return scope if scope is not None and scope.has_block(alias) else None


def _scope(alias: str) -> Scope | None:
    """Return the scope of the running bridge greenlet, if there is one, and it is one on *alias*."""
    bridge = running_bridge()
    if bridge is None:
        return None
    return bridge.scope if bridge.waiter is None else bridge.waiter.scope_of(alias)


def install() -> None:
    """Hook the bridge into `django.db.connections`."""
    handler: Any = connections
    handler._connections = _BridgeAwareLocal(handler._connections)
