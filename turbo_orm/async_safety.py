"""What Django's guard says of a sync method or function that is called in async code.

Django's own message recommends a thread, whose connection would be another one. This one names
the async twin, or `run_sync()`.
https://docs.djangoproject.com/en/stable/topics/async/#async-safety
"""

from __future__ import annotations

import sys
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, iscoroutinefunction, unwrap
from types import FrameType, FunctionType
from typing import Any

import django.utils.asyncio
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model, QuerySet
from django.db.transaction import Atomic

from turbo_orm.bridge.refusals import refusals
from turbo_orm.errors import SyncCallError
from turbo_orm.instance import is_managed
from turbo_orm.queryset import AsyncQuerySet

__all__ = ["install"]

_ASYNC = CO_COROUTINE | CO_ASYNC_GENERATOR

#: Methods that run while another one's result is looped over, by their own names.
_CALLED_AS = {"_iterator": "iterator"}

#: What the operators of sessions do, by the methods that have twins.
_OF_SESSIONS = {"__getitem__": "get", "__setitem__": "set", "__delitem__": "pop", "__contains__": "has_key"}


def install() -> None:
    """Have Django's guard against sync database calls in async code say what to call instead."""
    # The name is what `async_unsafe` raises.
    django.utils.asyncio.SynchronousOnlyOperation = _refusal  # type: ignore[attr-defined]


def _refusal(message: str) -> SynchronousOnlyOperation:
    """Return the error for the running call, or the one with Django's *message*."""
    refusals.count += 1
    advice = None
    frame: FrameType | None = sys._getframe(1)
    # What async code has called is the last that has a twin.
    while frame is not None and not frame.f_code.co_flags & _ASYNC:
        advice = _advice(frame) or advice
        frame = frame.f_back
    if advice is None:
        return SynchronousOnlyOperation(
            f"{message} Of turbo_orm, `await run_sync(function)` runs sync code on the async connection, and "
            "in the current transaction."
        )
    called, instead = advice
    return SyncCallError(
        f"{called} would block the event loop: this is async code. Use `{instead}`; or run the sync code "
        "that calls it with `await run_sync(function)`."
    )


def _advice(frame: FrameType) -> tuple[str, str] | None:
    """Return what was called in *frame*, and what to write instead, if it has an async twin."""
    code = frame.f_code
    function = frame.f_globals.get(code.co_name)
    if type(function) is FunctionType and getattr(unwrap(function), "__code__", None) is code:
        return _advice_of_function(frame.f_globals, code.co_name)
    if not code.co_argcount:
        return None
    owner: Any = frame.f_locals.get(code.co_varnames[0])
    # Not `isinstance()`: it asks a lazy object, as `request.user` is one, what it stands for, and so for
    # the query that is refused here.
    kind = type(owner)
    if issubclass(kind, Atomic):
        return "transaction.atomic()", "async with turbo_orm.atomic():"
    named = _OF_SESSIONS if issubclass(kind, SessionBase) else _CALLED_AS
    name = named.get(code.co_name, code.co_name)
    twin = f"a{name}"
    if not hasattr(kind, twin):
        return None
    if issubclass(kind, Model):
        if not is_managed(kind):
            return None
        model = kind.__name__
        called, variable = f"{model}.{name}()", model.lower()
    elif issubclass(kind, AsyncQuerySet) or getattr(kind, "is_turbo_manager", False):
        called = f"{kind.__name__}.{name}() of {owner.model.__name__}"
        variable = "queryset" if issubclass(kind, QuerySet) else "manager"
    elif issubclass(kind, SessionBase):
        called, variable = f"request.session.{name}()", "request.session"
    else:
        return None
    if name == "iterator":
        return called, f"async for row in {variable}.{twin}():"
    return called, f"await {variable}.{twin}()"


def _advice_of_function(module: dict[str, Any], name: str) -> tuple[str, str] | None:
    where = module.get("__name__")
    if where == "django.contrib.auth.middleware" and "auser" in module:
        return "request.user", "await request.auser()"
    twin = f"a{name}"
    if not iscoroutinefunction(module.get(twin)):
        return None
    return f"{where}.{name}()", f"await {twin}()"
