"""Advisory locks of a transaction and of a session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import DatabaseError, NotSupportedError
from django.db.transaction import TransactionManagementError

from tests.runtime.sql.proxy import pooler
from tests.runtime.support import assert_pool_is_clean, destroy_when, query, until
from turbo_orm import advisory_lock, atomic, run_sync

KEYS: list[Any] = [7, -(2**63), (1, -2), "a name", ""]
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


async def held() -> int:
    count: int = (await run_sync(query, HELD))[0][0]
    return count


async def is_free(key: Any, *, shared: bool = False) -> bool:
    """Whether another session could take the lock now."""

    async with advisory_lock(key, wait=False, shared=shared, session=True) as taken:
        return taken


@pytest.mark.parametrize("key", KEYS)
async def test_of_a_transaction(key: Any):
    async with atomic():
        async with advisory_lock(key) as taken:
            assert taken is True
            assert not await is_free(key)
        assert not await is_free(key), "it lasts until the transaction ends"
    assert await is_free(key)
    await assert_pool_is_clean()


@pytest.mark.parametrize("key", KEYS)
async def test_of_a_session(key: Any):
    async with advisory_lock(key, session=True) as taken:
        assert taken is True
        assert not await is_free(key)
        assert await is_free("another")
    assert await is_free(key)
    assert await held() == 0
    await assert_pool_is_clean()


async def test_keys_do_not_collide_across_kinds():
    async with advisory_lock((0, 7), session=True), advisory_lock(7, session=True, wait=False) as taken:
        assert taken


@pytest.mark.parametrize("session", [False, True])
async def test_shared(session: bool):
    async with atomic(), advisory_lock("x", shared=True, session=session) as taken:
        assert taken
        assert await is_free("x", shared=True)
        assert not await is_free("x")
    assert await is_free("x")


@pytest.mark.parametrize("session", [False, True])
async def test_without_waiting(session: bool):
    async with advisory_lock("x", session=True), atomic():
        async with advisory_lock("x", wait=False, session=session) as taken:
            assert taken is False
        assert await held() == 1
    assert await held() == 0


@pytest.mark.parametrize("session", [False, True])
async def test_waiting(session: bool):
    log = []

    async def work(name: str) -> None:
        async with atomic(), advisory_lock("x", session=session):
            log.append(f"{name} in")
            await asyncio.sleep(0.05)
            log.append(f"{name} out")

    await asyncio.gather(work("a"), work("b"))
    first = log[0][0]
    second = "b" if first == "a" else "a"
    assert log == [f"{first} in", f"{first} out", f"{second} in", f"{second} out"]


async def test_outside_of_a_transaction():
    with pytest.raises(TransactionManagementError, match="session=True"):
        async with advisory_lock("x"):
            pass
    async with atomic(using="other"):
        with pytest.raises(TransactionManagementError, match=r"async with atomic\(\)"):
            async with advisory_lock("x"):
                pass
        async with advisory_lock("x", using="other") as taken:
            assert taken


async def test_an_error_in_the_block():
    with pytest.raises(LookupError):
        async with advisory_lock("x", session=True):
            raise LookupError
    with pytest.raises(LookupError):
        async with atomic(), advisory_lock("x"):
            raise LookupError
    assert await held() == 0
    await assert_pool_is_clean()


async def test_a_key_out_of_range():
    for key in (2**63, (2**31, 0)):
        with pytest.raises(DatabaseError):
            async with advisory_lock(key, session=True):
                pass
    await assert_pool_is_clean()


@pytest.mark.parametrize("session", [False, True])
async def test_cancelled_while_it_waits(session: bool):
    async def work() -> None:
        async with atomic(), advisory_lock("x", session=session):
            raise AssertionError("not reached")

    async with advisory_lock("x", session=True):
        task = asyncio.create_task(work())
        while await run_sync(query, HELD + " AND NOT granted") == [(0,)]:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await _released()
    await assert_pool_is_clean()


async def _released() -> None:
    async def none_is_left() -> bool:
        return not await held()

    await until(none_is_left)


async def test_cancelled_in_the_block_and_at_its_end():
    for delay in range(12):

        async def work() -> None:
            async with advisory_lock("x", session=True):
                pass

        task = asyncio.create_task(work())
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await _released()
    await assert_pool_is_clean()


async def test_the_coroutine_is_destroyed():
    inside = asyncio.Event()

    async def work() -> None:
        async with advisory_lock("x", session=True):
            inside.set()
            await asyncio.sleep(30)

    await destroy_when(inside.is_set, work())
    await asyncio.sleep(0)
    await _released()
    await assert_pool_is_clean()


async def test_a_lost_session():
    with pytest.raises(DatabaseError):
        async with advisory_lock("x", session=True):
            pids = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            assert await run_sync(query, pids) == [(True,)]
    await assert_pool_is_clean()


async def test_refused_behind_a_pooler(monkeypatch: pytest.MonkeyPatch):
    async with pooler(monkeypatch):
        with pytest.raises(NotSupportedError, match=r"session=True\) needs a server session.*PgBouncer"):
            async with advisory_lock("x", session=True):
                pass
        async with atomic(), advisory_lock("x") as taken:
            assert taken
