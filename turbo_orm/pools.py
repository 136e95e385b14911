"""The pools of the running event loop: open them, look at them, close them."""

from __future__ import annotations

import asyncio

from django.db import connections

from turbo_orm.bridge.databases import open_pool_of, pool_of
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.wrapper import BridgedWrapper
from turbo_orm.db.leases import warm
from turbo_orm.db.loop_pools import close_pools
from turbo_orm.db.pools import Pool, PoolStats

__all__ = ["close_pools", "open_pools", "pool_stats"]


async def open_pools(*aliases: str) -> None:
    """Open the pools of *aliases* (default: all PostgreSQL ones) and fill them to ``min_size``.

    Optional: a pool opens by itself, empty, when it is first used on its event loop. Servers
    call this when they start, so that their first requests find connections ready.
    """
    loop = asyncio.get_running_loop()

    def find() -> list[Pool]:
        wrappers = [connections[alias] for alias in aliases or connections]
        return [pool_of(loop, wrapper) for wrapper in wrappers if isinstance(wrapper, BridgedWrapper)]

    for pool in await run_sync(find):
        await warm(pool)


def pool_stats() -> dict[str, PoolStats]:
    """Return the numbers of the running loop's open pools, by alias, counted since each was opened.

    For metrics, and called in async code. Costs nothing between calls.
    """
    loop = asyncio.get_running_loop()
    found = {alias: open_pool_of(loop, alias) for alias in connections}
    return {alias: pool.stats() for alias, pool in found.items() if pool is not None}
