"""Have a sync method, called by a test, done by its async twin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from turbo_orm.bridge.greenlets import await_only, current_bridge
from turbo_orm.bridge.user_code import await_user_code

__all__ = ["applies", "await_verb", "calls", "inside_verb", "redirect"]

T = TypeVar("T")

#: How often each verb was called in place of its sync twin.
calls: Counter[str] = Counter()

_in_verb: ContextVar[bool] = ContextVar("conformance_in_verb", default=False)


@contextmanager
def inside_verb() -> Iterator[None]:
    """Let Django's methods be Django's: an async verb is at work, and calls them itself."""
    token = _in_verb.set(True)
    try:
        yield
    finally:
        _in_verb.reset(token)


def await_verb(verb: str, awaitable: Awaitable[T]) -> T:
    """Await *awaitable* from a test in the bridge, as its coroutine would."""
    bridge = current_bridge()
    assert bridge is not None
    assert bridge.scope is not None
    calls[verb] += 1
    with inside_verb():
        return await_only(await_user_code(bridge.scope, awaitable))


def applies(owner: Any, name: str) -> bool:
    """Whether a call of *owner*'s method *name* is a test's, and in the bridge.

    Not if the method is overridden by a function we did not see: the verb would call that again.
    """
    bridge = current_bridge()
    return (
        bridge is not None
        and bridge.scope is not None
        and not _in_verb.get()
        and getattr(getattr(type(owner), name), "_redirected", False)
    )


def redirect(
    name: str, method: Callable[..., Any], done_by: Callable[..., Awaitable[Any] | None]
) -> Callable[..., Any]:
    """Return *method*, called *name*, but done by ``await done_by(self, ...)`` where a test calls it.

    Unless *done_by* returns None, for an owner which has no such verb.
    """

    @wraps(method)
    def redirected(self: Any, *args: Any, **kwargs: Any) -> Any:
        awaitable = done_by(self, *args, **kwargs) if applies(self, name) else None
        if awaitable is None:
            return method(self, *args, **kwargs)
        return await_verb(f"a{name}", awaitable)

    redirected._redirected = True  # type: ignore[attr-defined]
    return redirected
