"""More tasks than connections: they pass from hand to hand."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import pytest
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from tests.runtime.support import until
from tests.runtime.wire.conftest import assert_clean
from turbo_orm.db.leases import give_back, lease, put_idle, take_idle
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import wire_of

SLEEP = statement("SELECT %s::int, pg_sleep(%s)", 2)


async def test_first_come_first_served(make_pool: Any) -> None:
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    order: list[int] = []

    async def wait(number: int) -> None:
        got = await lease(pool)
        assert got is conn
        order.append(number)
        assert put_idle(got, pool)

    tasks = [asyncio.ensure_future(wait(number)) for number in range(10)]
    await asyncio.sleep(0)
    assert len(pool.waiters.queue) == 10
    assert put_idle(conn, pool)
    assert take_idle(pool) is None, "it is somebody's already"
    await asyncio.gather(*tasks)
    assert order == list(range(10))
    stats = pool.get_stats()
    assert (stats["requests_num"], stats["requests_queued"]) == (11, 11)
    assert pool.lent() == []


async def test_what_is_closed_is_replaced_for_them(make_pool: Any) -> None:
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    waiting = asyncio.ensure_future(lease(pool))
    await asyncio.sleep(0)
    await give_back(conn, pool, soiled=True)
    another = await waiting
    assert another is not conn
    assert pool.lent() == [another]
    assert put_idle(another, pool)


async def test_timeouts(make_pool: Any) -> None:
    pool = await make_pool(max_size=1, timeout=0.1)
    while not pool._pool:  # a new connection may take longer than that
        with suppress(PoolTimeout):
            assert put_idle(await lease(pool), pool)
    conn = await lease(pool)
    outcomes = await asyncio.gather(*[lease(pool) for _ in range(3)], return_exceptions=True)
    assert {type(each) for each in outcomes} == {PoolTimeout}
    assert put_idle(conn, pool)
    assert await lease(pool) is conn
    pool.timeout = 30.0
    late = asyncio.ensure_future(lease(pool))
    await asyncio.sleep(0.05)
    assert put_idle(conn, pool)
    assert await late is conn
    assert put_idle(conn, pool)


async def test_short_waits_add_up(make_pool: Any) -> None:
    """Most last less than the millisecond in which psycopg_pool counts."""
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    before = pool.get_stats()["requests_wait_ms"]
    begun, at_least = time.monotonic(), 0.0
    for _ in range(50):
        waiting = asyncio.ensure_future(lease(pool))
        await asyncio.sleep(0)
        asleep = time.monotonic()
        time.sleep(0.0005)  # noqa: ASYNC251  on which nothing else waits
        assert put_idle(conn, pool)
        at_least += time.monotonic() - asleep
        assert await waiting is conn
        pool.get_stats()
    stats = pool.get_stats()
    assert stats["requests_queued"] == 51
    assert 1000 * at_least - 1 <= stats["requests_wait_ms"] - before <= 1000 * (time.monotonic() - begun)
    assert put_idle(conn, pool)


async def test_psycopg_pools_queue_is_served_in_turn(make_pool: Any) -> None:
    """There who came while the pool could still grow waits, or who asked it without us."""
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    order: list[str] = []

    async def wait(queue: str, got: Any) -> None:
        conn = await got
        order.append(queue)
        if not put_idle(conn, pool):
            await give_back(conn, pool)

    tasks = [asyncio.ensure_future(wait("ours", lease(pool))) for _ in range(2)]
    await until(lambda: len(pool.waiters.queue) == 2)
    tasks += [asyncio.ensure_future(wait("theirs", pool.getconn())) for _ in range(2)]
    await until(lambda: len(pool._waiting) == 2)
    await wait("first", asyncio.sleep(0, conn))
    await asyncio.gather(*tasks)
    assert order == ["first", "ours", "theirs", "ours", "theirs"]


async def test_who_has_given_up_is_not_in_the_way(make_pool: Any) -> None:
    pool = await make_pool(max_size=1, max_waiting=2)
    conn = await lease(pool)
    for _ in range(3):
        given_up = asyncio.ensure_future(lease(pool))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
    waiting = [asyncio.ensure_future(lease(pool)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests, match="already 2 requests"):
        await waiting[2]
    for task in waiting[:2]:
        assert put_idle(conn, pool)
        assert await task is conn
    assert put_idle(conn, pool)


async def test_limits_and_ends(make_pool: Any) -> None:
    pool = await make_pool(max_size=1, max_waiting=2)
    conn = await lease(pool)
    tasks = [asyncio.ensure_future(lease(pool)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await tasks[2]
    await pool.close()
    for task in tasks[:2]:
        with pytest.raises(PoolClosed):
            await task
    await give_back(conn, pool)


async def test_a_destroyed_coroutine_loses_no_connection(make_pool: Any) -> None:
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    waiting = lease(pool)
    waiting.send(None)
    assert put_idle(conn, pool)
    assert pool.lent() == [conn]
    waiting.close()
    assert pool.lent() == []
    assert take_idle(pool) is conn
    forgotten = lease(pool)
    forgotten.send(None)
    forgotten.close()
    assert put_idle(conn, pool)
    assert take_idle(pool) is conn
    assert put_idle(conn, pool)


async def test_a_coroutine_destroyed_as_the_pool_connects_loses_no_connection(make_pool: Any) -> None:
    pool = await make_pool(max_size=3, timeout=5)
    for _ in range(5):
        waiting = lease(pool)
        future = waiting.send(None)
        future._asyncio_future_blocking = False
        await asyncio.sleep(0)
        waiting.close()
    conns = [await lease(pool) for _ in range(3)]
    assert pool.get_stats()["requests_waiting"] == 0
    assert all(put_idle(conn, pool) for conn in conns)


async def test_both_queues_are_served(make_pool: Any) -> None:
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    done: list[str] = []

    async def ours() -> None:
        got = await lease(pool)
        done.append("ours")
        if not put_idle(got, pool):
            await give_back(got, pool)

    async def psycopgs() -> None:
        got = await pool.getconn()
        done.append("psycopg")
        if not put_idle(got, pool):
            await give_back(got, pool)

    tasks = [asyncio.ensure_future(each()) for each in [ours] * 5 + [psycopgs] * 5]
    await asyncio.sleep(0.01)
    if not put_idle(conn, pool):
        await give_back(conn, pool)
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert sorted(done) == ["ours"] * 5 + ["psycopg"] * 5


async def test_a_storm_of_cancellations_loses_no_connection(make_pool: Any) -> None:
    pool = await make_pool(max_size=3)
    chance = random.Random(7)

    async def one(number: int) -> None:
        conn = take_idle(pool) or await lease(pool)
        try:
            wire = wire_of(conn)
            assert wire is not None
            assert (await wire.run(SLEEP, (number, chance.random() / 500))).rows == [(number, "")]
        finally:
            if not put_idle(conn, pool):
                await give_back(conn, pool)

    for _ in range(3):
        tasks = [asyncio.ensure_future(one(number)) for number in range(200)]
        for task in chance.sample(tasks, 120):
            asyncio.get_running_loop().call_later(chance.random() / 5, task.cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in outcomes} <= {type(None), asyncio.CancelledError}
    assert not pool.waiters.queue
    assert pool.lent() == []
    while len(pool._pool) < pool._nconns:  # one may still be connecting
        await asyncio.sleep(0.01)
    assert pool._nconns == 3
    for conn in pool._pool:
        assert_clean(conn)
