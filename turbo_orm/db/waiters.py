"""Who waits for a connection of a pool that can't grow.

psycopg_pool has a queue of its own, in which each change of hands takes several turns of the
event loop, under a lock and with a condition. In this one it takes one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

__all__ = ["Waiter", "Waiters"]


class Waiter(asyncio.Future[AsyncConnection[Any]]):
    """Becomes a connection."""

    #: When the waiting began.
    since: float


class Waiters:
    """The queue of one pool, first come first served."""

    __slots__ = ("_our_turn", "_pool", "_timer", "queue", "waited")

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self.queue: deque[Waiter] = deque()
        #: The seconds of all waits that ended, as far as they are not in psycopg_pool's statistics yet.
        self.waited = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._our_turn = False

    def add(self) -> Waiter:
        """Return a future of the next connection that is given back.

        It raises `PoolTimeout` after the pool's time-out. Raises `TooManyRequests` as the pool.
        """
        pool, queue = self._pool, self.queue
        pool._stats[pool._REQUESTS_NUM] += 1
        limit = pool.max_waiting
        if limit and len(queue) >= limit and (waiting := self.count()) >= limit:
            pool._stats[pool._REQUESTS_ERRORS] += 1
            raise TooManyRequests(f"the pool {pool.name!r} has already {waiting} requests waiting")
        pool._stats[pool._REQUESTS_QUEUED] += 1
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop=loop)
        waiter.since = monotonic()
        queue.append(waiter)
        if self._timer is None:
            self._timer = loop.call_later(pool.timeout, self._end_of_patience, loop)
        return waiter

    def count(self) -> int:
        """Return how many wait, without those who have given up."""
        return sum(not waiter.done() for waiter in self.queue)

    def serve(self, conn: AsyncConnection[Any]) -> bool:
        """Hand *conn*, which is lent, to who waits for longest; False if nobody does."""
        while self.queue:
            waiter = self.queue.popleft()
            if not waiter.done():
                waiter.set_result(conn)
                return True
        return False

    def have_their_turn(self) -> bool:
        """Whether they are to be served before psycopg_pool's queue: every other time."""
        if not self.queue:
            return False
        self._our_turn = not self._our_turn
        return self._our_turn

    def fail(self, error: Exception) -> None:
        """Let everybody's waiting end with *error*."""
        while self.queue:
            waiter = self.queue.popleft()
            if not waiter.done():
                waiter.set_exception(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_of_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        pool = self._pool
        while self.queue:
            waiter = self.queue[0]
            left = waiter.since + pool.timeout - monotonic()
            if not waiter.done():
                if left > 0:
                    self._timer = loop.call_later(left, self._end_of_patience, loop)
                    return
                waiter.set_exception(PoolTimeout(f"couldn't get a connection after {pool.timeout:.2f} sec"))
            self.queue.popleft()
