"""django-async-backend's receiver of the request signals, only for requests that it concerns.

Theirs is async, and Django closes a response in a thread. Each request so waits there for the
event loop, or under WSGI for a loop made for it, to close connections that it never opened. A
server that stops its loop right after the last response leaves that thread waiting for ever, and
its process with it.
"""

from __future__ import annotations

import sys
from typing import Any

from asgiref.sync import async_to_sync
from django.core.signals import request_finished, request_started

from turbo_orm.bridge.async_backend.local import connections_were_asked_for

__all__ = ["install"]


def install() -> None:
    """Connect `_close_their_connections` where their app connects its receiver, or would.

    Before version 6.1 it has none.
    """
    app: Any = sys.modules.get("django_async_backend.apps")
    theirs = getattr(app, "close_old_async_connections", None)
    if theirs is None or theirs is _close_their_connections:
        return
    # Their app may come after ours in INSTALLED_APPS: then it connects what it finds here.
    app.close_old_async_connections = _close_their_connections
    for signal in (request_started, request_finished):
        if signal.disconnect(theirs):
            signal.connect(_close_their_connections)


def _close_their_connections(**_signal: Any) -> None:
    if connections_were_asked_for():
        from django_async_backend.db import close_old_async_connections

        async_to_sync(close_old_async_connections)()
