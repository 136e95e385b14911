"""``ATOMIC_REQUESTS`` for async views.

https://docs.djangoproject.com/en/stable/topics/db/transactions/#tying-transactions-to-http-requests
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.handlers.base import BaseHandler
from django.db import connections

from turbo_orm.transaction import atomic

__all__ = ["install"]


def install() -> None:
    """Run async views in `atomic()` blocks where Django would refuse them.

    Sync views stay Django's, and ``@transaction.non_atomic_requests`` opts out as always.
    """
    original = BaseHandler.make_view_atomic

    @wraps(original)
    def make_view_atomic(self: BaseHandler, view: Callable[..., Any]) -> Callable[..., Any]:
        if not iscoroutinefunction(view):
            return original(self, view)
        opted_out: set[str] = getattr(view, "_non_atomic_requests", set())
        for alias, settings_dict in connections.settings.items():
            if settings_dict["ATOMIC_REQUESTS"] and alias not in opted_out:
                view = atomic(using=alias)(view)
        return view

    BaseHandler.make_view_atomic = make_view_atomic  # type: ignore[method-assign]
