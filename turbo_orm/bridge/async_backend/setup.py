"""Everything turbo_orm changes in django-async-backend, once an alias has its engine."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.utils import load_backend

from turbo_orm.bridge.async_backend import blocks, local, requests
from turbo_orm.bridge.async_backend.pools import async_wrapper_class, share_pools
from turbo_orm.bridge.wrapper import find_pool_of, forget_pool_of

__all__ = ["enable", "enabled"]


def enable() -> None:
    """Hook in for every alias that has its engine, before anybody queries.

    Otherwise our first query does, and pools which the library built before that stay apart.
    """
    if "django_async_backend" not in sys.modules:
        return
    for alias in connections:
        with suppress(ImproperlyConfigured):  # whoever uses that alias is told
            _hook_in(connections.settings[alias]["ENGINE"], late=False)


@cache
def enabled(engine: str) -> bool:
    """Whether *engine* is django-async-backend's; the first time, hook into the library.

    False for 0.0.x, for Django 5: its connections do not know their tasks. Only pools are shared.
    """
    return _hook_in(engine, late=True)


def _hook_in(engine: str, *, late: bool) -> bool:
    async_class = async_wrapper_class(load_backend(engine))
    if async_class is None:
        return False
    share_pools(async_class, find_pool_of, forget_pool_of)
    if int(version("django-async-backend").split(".")[0]) < 6:
        return False
    local.install()
    blocks.install(late=late)
    if not late:  # else there may be connections already that nobody has noted
        requests.install()
    return True
