"""Middleware that does its work in the bridge, where Django takes a thread for it.

https://docs.djangoproject.com/en/stable/topics/http/middleware/#async-middleware
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import iscoroutinefunction
from django.utils.deprecation import MiddlewareMixin

from turbo_orm.bridge.run import run_sync

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

__all__ = ["InBridge"]

#: What Django calls at other times than before and after the view; `process_exception()` is sync in any case.
_AROUND_VIEWS = ("process_view", "process_template_response")


class InBridge(MiddlewareMixin):
    """A base in front of a sync middleware class: in async requests its methods run as by `run_sync()`.

    ``class SessionMiddleware(InBridge, sessions.SessionMiddleware)``. What the methods ask the
    database is asked on the async connection; what they wait for otherwise (a cache over the
    network) blocks the event loop. Nothing is changed in sync requests.
    """

    def __init__(self, get_response: Callable[..., Any]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            for name in _AROUND_VIEWS:
                method = getattr(self, name, None)
                if method is not None and not iscoroutinefunction(method):
                    setattr(self, name, _in_bridge(method))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise `TypeError` if *cls* has async code of its own, which would not be called."""
        super().__init_subclass__(**kwargs)
        for owner in cls.__mro__[cls.__mro__.index(InBridge) + 1 :]:
            name = next((name for name in ("__acall__", "__call__") if name in vars(owner)), None)
            if name is not None and owner is not MiddlewareMixin:
                raise TypeError(
                    f"{cls.__name__} would not call {name}() of {owner.__name__}, for it has InBridge in "
                    "front. If that is async, it needs no InBridge; if not, call run_sync() in a middleware."
                )

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        # As Django's does it in a thread.
        own: Any = self
        response: Any = None
        if hasattr(self, "process_request"):
            response = await run_sync(own.process_request, request)
        response = response or await own.get_response(request)
        if hasattr(self, "process_response"):
            response = await run_sync(own.process_response, request, response)
        return cast("HttpResponseBase", response)


def _in_bridge(method: Any) -> Any:
    @wraps(method)
    async def in_bridge(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await run_sync(method, *args, **kwargs)

    return MethodType(in_bridge, method.__self__)  # as a method: Django names its class in errors
