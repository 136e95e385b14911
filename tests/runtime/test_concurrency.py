"""Many tasks at once: each operation has a connection of its own, and only as long as it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connections

from tests.project.library.models import Author
from tests.runtime.support import assert_pool_is_clean, backend_pid, pool, query, until
from turbo_orm import atomic, run_sync


@pytest.fixture
def active(observer: psycopg.Connection[Any]) -> Callable[[], int]:
    """Counts the sessions that are executing a statement now."""
    names = [connections[alias].settings_dict["NAME"] for alias in connections]

    def count() -> int:
        row = observer.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY(%s) AND state = 'active'", [names]
        ).fetchone()
        assert row is not None
        return int(row[0])

    return count


#: The key of an advisory lock that queries wait for, so that they overlap without any timing.
BARRIER = 20_20


@pytest.fixture
def barrier(janitors: list[psycopg.Connection[Any]]) -> AbstractContextManager[None]:
    """While it is entered, nobody gets past `wait_at_barrier()`."""
    janitor = janitors[0]  # advisory locks are per database: it is in the one under test

    @contextmanager
    def closed() -> Iterator[None]:
        janitor.execute("SELECT pg_advisory_lock(%s)", [BARRIER])
        try:
            yield
        finally:
            janitor.execute("SELECT pg_advisory_unlock_all()")

    return closed()


def wait_at_barrier() -> int:
    pid, _ = query("SELECT pg_backend_pid(), pg_advisory_lock_shared(%s)", [BARRIER])[0]
    query("SELECT pg_advisory_unlock_shared(%s)", [BARRIER])
    return int(pid)


async def test_gathered_queries_overlap_each_on_its_own_connection(
    barrier: AbstractContextManager[None], active: Callable[[], int]
) -> None:
    with barrier:
        queries = asyncio.gather(*(run_sync(wait_at_barrier) for _ in range(10)))
        await until(lambda: active() == 10)
    assert len(set(await queries)) == 10
    assert len(pool()._pool) == pool()._nconns == 10


async def test_a_hundred_tasks_share_a_pool_of_twenty(
    barrier: AbstractContextManager[None], active: Callable[[], int]
) -> None:
    threads = {*threading.enumerate()}  # those of another test may end
    with barrier:
        tasks = [asyncio.create_task(run_sync(wait_at_barrier)) for _ in range(100)]
        await until(lambda: active() == 20)
        await asyncio.sleep(0.05)
        assert active() == 20
        assert not {*threading.enumerate()} - threads
    pids = await asyncio.gather(*tasks)
    assert len(pids) == 100
    assert len(set(pids)) == 20
    assert not {*threading.enumerate()} - threads
    assert len(pool()._pool) == pool()._nconns == 20


async def test_a_hundred_writers_do_not_mix_up_their_rows() -> None:
    async def work(number: int) -> tuple[int, str, int]:
        author = await Author.objects.acreate(name=f"author {number}", age=number)
        await asyncio.sleep(0)
        author.age = number + 1000
        await author.asave(update_fields=["age"])
        await author.arefresh_from_db()
        return number, author.name, author.age

    results = await asyncio.gather(*map(work, range(100)))
    assert results == [(number, f"author {number}", number + 1000) for number in range(100)]
    assert await Author.objects.acount() == 100


async def test_operations_one_after_another_use_one_connection() -> None:
    pids = {await run_sync(backend_pid) for _ in range(20)}
    assert len(pids) == 1
    assert pool()._nconns == 1


async def test_inside_a_block_all_join_its_connection() -> None:
    async with atomic():
        own = await run_sync(backend_pid)
        pids = await asyncio.gather(*(run_sync(backend_pid) for _ in range(10)))
        assert set(pids) == {own}
        assert pool()._nconns == 1
        await Author.objects.acreate(name="in the block")
        seen = await asyncio.gather(*(Author.objects.acount() for _ in range(10)))
        assert seen == [1] * 10


async def test_tasks_of_a_nested_block_join_the_same_connection() -> None:
    async with atomic():
        outer = await run_sync(backend_pid)
        async with atomic():
            inner = await asyncio.gather(*(run_sync(backend_pid) for _ in range(5)))
    assert set(inner) == {outer}


async def test_concurrent_blocks_have_connections_of_their_own(
    barrier: AbstractContextManager[None], active: Callable[[], int]
) -> None:
    async def block(number: int) -> tuple[int, int]:
        async with atomic():
            await Author.objects.acreate(name=f"block {number}")
            pid = await run_sync(wait_at_barrier)
            # Nobody has committed before all have met at the barrier.
            return pid, await Author.objects.acount()

    with barrier:
        blocks = asyncio.gather(*map(block, range(10)))
        await until(lambda: active() == 10)
    results = await blocks
    assert len({pid for pid, _ in results}) == 10
    assert await Author.objects.acount() == 10


async def test_a_task_started_before_a_block_is_outside_it() -> None:
    started = asyncio.Event()

    async def outside() -> tuple[int, int]:
        await started.wait()
        return await run_sync(backend_pid), await Author.objects.acount()

    task = asyncio.create_task(outside())
    async with atomic():
        await Author.objects.acreate(name="not committed yet")
        pid = await run_sync(backend_pid)
        started.set()
        other_pid, count = await task
    assert other_pid != pid
    assert count == 0


async def test_blocks_roll_back_without_each_other() -> None:
    async def work(number: int) -> None:
        async with atomic():
            await Author.objects.acreate(name=str(number))
            if number % 2:
                raise ValueError(number)

    results = await asyncio.gather(*map(work, range(40)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ValueError] * 20
    names = await Author.objects.values_list("name", flat=True).alist()
    assert sorted(map(int, names)) == list(range(0, 40, 2))


async def test_iterators_run_side_by_side() -> None:
    await Author.objects.abulk_create(Author(name=f"{number:03}") for number in range(50))

    async def names() -> list[str]:
        return [author.name async for author in Author.objects.aiterator(chunk_size=7)]

    results = await asyncio.gather(*(names() for _ in range(10)))
    assert results == [[f"{number:03}" for number in range(50)]] * 10
    assert pool().lent() == []
    await assert_pool_is_clean()


async def test_two_databases_at_once() -> None:
    pids = await asyncio.gather(run_sync(backend_pid), Author.objects.using("other").acount())
    assert pids[1] == 0
    await Author.objects.using("other").acreate(name="there")
    assert (await Author.objects.acount(), await Author.objects.using("other").acount()) == (0, 1)
