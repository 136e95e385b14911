"""Everything turbo_orm changes in django-async-backend, once an alias has its engine."""

from __future__ import annotations

from functools import cache

from django.db.utils import load_backend

from turbo_orm.bridge.async_backend import blocks, local
from turbo_orm.bridge.async_backend.pools import async_wrapper_class, share_pools
from turbo_orm.bridge.wrapper import find_pool_of, forget_pool_of

__all__ = ["enabled"]


@cache
def enabled(engine: str) -> bool:
    """Whether *engine* is django-async-backend's; the first time, hook into the library."""
    async_class = async_wrapper_class(load_backend(engine))
    if async_class is None:
        return False
    share_pools(async_class, find_pool_of, forget_pool_of)
    local.install()
    blocks.install()
    return True
