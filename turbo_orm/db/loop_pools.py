"""Which pools there are: one per event loop and database, made when it is needed, closed with its loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable

from turbo_orm.db.pools import Pool, PoolKey, PoolSpec
from turbo_orm.db.uncancellable import uncancellable

__all__ = [
    "LoopPools",
    "close_pools",
    "find_pool",
    "forget_pool",
    "free_places",
    "opened_pools",
    "pools_on",
]


class LoopPools(dict[PoolKey, Pool]):
    """The pools of one event loop, and the hook that closes them when it ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self._closer: AsyncGenerator[None, None] | None = None

    async def watch_shutdown(self) -> None:
        """Have the pools closed when the loop ends, if that is not seen to yet."""
        if self._closer is None:
            # An asynchronous generator that is never exhausted is finalised by
            # loop.shutdown_asyncgens(), which asyncio.run() and async_to_sync() call.
            self._closer = self._close_at_shutdown()
            await self._closer.__anext__()

    async def _close_at_shutdown(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._closer = None
            await self.close()

    async def close(self) -> None:
        if _loops.get(self.loop) is self:  # a query that came meanwhile has others
            del _loops[self.loop]
        pools = self._take_all()
        try:
            await uncancellable(self._close(pools))
        finally:
            for pool in pools:  # nobody finds them any more to close what is open still
                pool.abandon()
            with _lock:  # nor those in use, if their tasks end with the loop before they are given back
                _closed_in_use[:] = [each for each in _closed_in_use if each[1].lent()]
                _closed_in_use.extend((self.loop, pool) for pool in pools if pool.lent())

    async def _close(self, pools: list[Pool]) -> None:
        for pool in pools:
            await pool.close()
        closer, self._closer = self._closer, None
        if closer is not None:
            await closer.aclose()

    def abandon(self) -> None:
        """Close the sockets of a loop that was closed without finalising its generators."""
        for pool in self._take_all():
            pool.abandon()
            pool.close_lent()

    def _take_all(self) -> list[Pool]:
        pools = list(self.values())
        for key in self:
            opened_pools.pop((self.loop, key.alias), None)
        self.clear()
        return pools


#: By loop and alias, the identity of its database and the pool that was last found open for it.
opened_pools: dict[tuple[asyncio.AbstractEventLoop, str], tuple[tuple[object, ...], Pool]] = {}

_loops: dict[asyncio.AbstractEventLoop, LoopPools] = {}
#: Pools that were closed while connections were in use, and their loop.
_closed_in_use: list[tuple[asyncio.AbstractEventLoop, Pool]] = []
_lock = threading.Lock()

#: Returns the pools of an event loop, or None if there never was one.
pools_on: Callable[[asyncio.AbstractEventLoop], LoopPools | None] = _loops.get


def _forget_after_fork() -> None:
    global _lock
    # The sockets belong to the parent process. psycopg never closes a connection in a
    # process that did not open it, so dropping the objects is safe.
    _loops.clear()
    opened_pools.clear()
    _closed_in_use.clear()
    # Another thread may have held it, which is not in this process.
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def _pools_of(loop: asyncio.AbstractEventLoop) -> LoopPools:
    found = _loops.get(loop)
    if found is None:
        with _lock:
            for other in [known for known in _loops if known.is_closed()]:
                _loops.pop(other).abandon()
            for left in [each for each in _closed_in_use if each[0].is_closed()]:
                _closed_in_use.remove(left)
                left[1].close_lent()
            found = _loops.setdefault(loop, LoopPools(loop))
    return found


def find_pool(loop: asyncio.AbstractEventLoop, key: PoolKey, build: Callable[[], PoolSpec]) -> Pool:
    """Return *loop*'s pool of the database *key*, made (not opened) from ``build()`` at need."""
    pools = _pools_of(loop)
    pool = pools.get(key)
    if pool is not None and pool.deserted:
        pool.abandon()
        pool = None
    if pool is None:
        pool = pools[key] = Pool(build(), pools.watch_shutdown)
    return pool


def free_places(loop: asyncio.AbstractEventLoop, alias: str) -> int:
    """Return how many more connections of *alias*'s pool could be taken now without waiting.

    One, the task's own, where there is no pool yet.
    """
    pools = _loops.get(loop)
    for key, pool in pools.items() if pools is not None else ():
        if key.alias == alias:
            in_use = pool._nconns - len(pool._pool)
            return max(0, pool.max_size - in_use - len(pool._waiting))
    return 1


def forget_pool(loop: asyncio.AbstractEventLoop, key: PoolKey) -> None:
    """Let the next query on *loop* build the pool of the database *key* anew."""
    pools = _pools_of(loop)
    pools.pop(key, None)
    opened_pools.pop((loop, key.alias), None)


async def close_pools() -> None:
    """Close every pool of the running loop, waiting for its connections to come back.

    psycopg_pool's own time-outs apply. The next query opens a new pool.
    """
    pools = _loops.get(asyncio.get_running_loop())
    if pools is not None:
        await pools.close()
