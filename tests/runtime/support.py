"""What several runtime tests do with the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any

import pytest
from django.db import connection
from psycopg.pq import TransactionStatus

from turbo_orm import run_sync
from turbo_orm.db import loop_pools, pools


def query(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def backend_pid() -> int:
    pid: int = query("SELECT pg_backend_pid()")[0][0]
    return pid


def sleep(seconds: float) -> None:
    query("SELECT pg_sleep(%s)", [seconds])


async def author_names() -> list[str]:
    from tests.project.library.models import Author  # projects without it use this module too

    return await Author.objects.order_by("name").values_list("name", flat=True).alist()


async def until(reached: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what happens a moment later; how much later is up to the machine.

    *reached* may be an async function.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = reached()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def cancelled_when(reached: Callable[[], object], work: Awaitable[object]) -> None:
    """Await *work*, and have it cancelled there once *reached*, as a time-out does it."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def look() -> None:
        if reached():
            task.cancel()
        else:
            loop.call_later(0.005, look)

    look()
    with pytest.raises(asyncio.CancelledError):
        await work
    if hasattr(task, "uncancel"):  # not before Python 3.11
        task.uncancel()


def pool(alias: str = "default") -> pools.Pool:
    """The running loop's pool of a database."""
    found = loop_pools._loops[asyncio.get_running_loop()]
    return next(pool for key, pool in found.items() if key.alias == alias)


async def connect(count: int) -> None:
    """Have the pool open *count* connections, however long that takes."""
    for _ in range(200):
        await asyncio.gather(*[run_sync(sleep, 0.02) for _ in range(count)])
        if len(pool()._pool) >= count:
            return
    raise AssertionError(f"The pool has {len(pool()._pool)} connections, not {count}.")


async def destroy_when(is_time: Callable[[], bool], coroutine: Coroutine[Any, Any, object]) -> None:
    """Drive *coroutine* as a task would, and close it where it waits when *is_time*."""
    future: Any = None
    while not is_time():
        if future is None or future.done():
            future = coroutine.send(None)
        if future is None:
            await asyncio.sleep(0)
        else:
            future._asyncio_future_blocking = False
            await asyncio.wait([future], timeout=0.05)
    coroutine.close()


@coroutine
def watched(work: Coroutine[Any, Any, object], waits: Callable[[Any], bool]) -> Generator[Any, Any, None]:
    """Run *work*, and tell *waits* of each future it waits for; destroy it where the answer is true."""
    resume = partial(work.send, None)
    while True:
        try:
            future = resume()
        except StopIteration:
            return
        if waits(future):
            if future is not None:
                future._asyncio_future_blocking = False
            work.close()
            return
        try:
            yield future
        except BaseException as exc:
            resume = partial(work.throw, exc)
        else:
            resume = partial(work.send, None)


async def assert_pool_is_clean() -> None:
    """All connections are back, idle and as good as new; the server has no open transaction."""
    # The pool replaces discarded connections in the background.
    await until(lambda: pool()._nconns == len(pool()._pool))
    for conn in pool()._pool:
        assert conn.pgconn.transaction_status == TransactionStatus.IDLE
        assert (conn.autocommit, conn.isolation_level, conn.read_only, conn.deferrable) == (
            True,
            None,
            None,
            None,
        )
    in_transaction = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"

    async def none_is_left() -> bool:
        return await run_sync(query, in_transaction + " AND datname = current_database()", []) == [(0,)]

    # The server notices a closed socket a moment later.
    await until(none_is_left)
