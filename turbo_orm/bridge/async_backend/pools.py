"""One pool per event loop for turbo_orm and django-async-backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from django.db import connections

from turbo_orm.db.pools import Pool

__all__ = ["async_wrapper_class", "share_pools"]


def async_wrapper_class(backend: Any) -> Any:
    """Return the backend module's pooled ``AsyncDatabaseWrapper``, or None if it has none."""
    wrapper_class = getattr(backend, "AsyncDatabaseWrapper", None)
    return wrapper_class if hasattr(wrapper_class, "_connection_pools") else None


def share_pools(
    wrapper_class: Any,
    find: Callable[[asyncio.AbstractEventLoop, str], Pool],
    forget: Callable[[asyncio.AbstractEventLoop, str], None],
) -> None:
    """Have *wrapper_class* take its pools from the registry of the running loop.

    Its own dictionary is keyed by alias alone, so a second event loop would be given the pool
    of the first.
    """
    if not isinstance(wrapper_class._connection_pools, _LoopPools):
        wrapper_class._connection_pools = _LoopPools(find, forget)


class _LoopPools(MutableMapping[str, Pool]):
    """Looks like a dictionary of pools by alias; answers for the running loop."""

    def __init__(
        self,
        find: Callable[[asyncio.AbstractEventLoop, str], Pool],
        forget: Callable[[asyncio.AbstractEventLoop, str], None],
    ) -> None:
        self._find = find
        self._forget = forget

    def __contains__(self, alias: object) -> bool:
        return alias in connections.settings

    def __getitem__(self, alias: str) -> Pool:
        return self._find(asyncio.get_running_loop(), alias)

    def __setitem__(self, alias: str, pool: Pool) -> None:
        raise TypeError("turbo_orm builds the pools; configure them in OPTIONS['pool']")

    def __delitem__(self, alias: str) -> None:
        self._forget(asyncio.get_running_loop(), alias)

    def __iter__(self) -> Iterator[str]:
        return iter(connections.settings)

    def __len__(self) -> int:
        return len(connections.settings)
