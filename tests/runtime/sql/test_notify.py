"""LISTEN on a connection of its own, NOTIFY in the transaction."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from django.db import NotSupportedError, OperationalError, connections
from psycopg import Notify

from tests.runtime.sql.proxy import pooler
from tests.runtime.support import assert_pool_is_clean, backend_pid, destroy_when, until, watched
from turbo_orm import atomic, listen, notify, run_sync
from turbo_orm.sql.notify import Listener


async def test_async_with():
    async with listen("news", "Weird \"name'") as notifications:
        await notify("news", "first")
        await notify("Weird \"name'")
        async with atomic():
            await notify("news", "in a block")
            pid = await run_sync(backend_pid)
        async with atomic(using="other"):
            await notify("news", "another database", using="other")
        await notify("unheard", "x")
        await notify("news", "last")
        found = [await anext_(notifications) for _ in range(4)]
    assert [(each.channel, each.payload) for each in found] == [
        ("news", "first"),
        ("Weird \"name'", ""),
        ("news", "in a block"),
        ("news", "last"),
    ]
    assert found[2].pid == pid
    await assert_pool_is_clean()


async def anext_(notifications: AsyncIterator[Notify]) -> Notify:
    return await asyncio.wait_for(notifications.__anext__(), 30)


async def test_async_for():
    found: list[str] = []

    async def consume() -> None:
        async for notification in listen("news"):
            found.append(notification.payload)
            if notification.payload == "stop":
                break

    async with consuming(consume()) as task:
        await notify("news", "stop")
        await asyncio.wait_for(task, 30)
    assert found[-1] == "stop"
    await listeners_are_gone()


@asynccontextmanager
async def consuming(coroutine: Any) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(coroutine)
    await until(listening)
    yield task
    task.cancel()


async def listening() -> int:
    """How many sessions have listened last; those that are about to get nothing yet."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' AND state = 'idle' AND datname = current_database()"
    )
    async with await psycopg.AsyncConnection.connect(**_params()) as conn:
        row = await (await conn.execute(sql)).fetchone()
        assert row is not None
        return int(row[0])


def _params() -> dict[str, Any]:
    settings = connections.settings["default"]
    return {
        "dbname": settings["NAME"],
        "host": settings["HOST"],
        "port": settings["PORT"],
        "user": settings["USER"],
        "password": settings["PASSWORD"],
    }


async def listeners_are_gone() -> None:
    async def none_is_left() -> bool:
        return not await listening()

    await until(none_is_left)


async def test_many_at_once_in_order():
    async with listen("news") as notifications:
        async with atomic():
            for number in range(300):
                await notify("news", str(number))
        found = [(await anext_(notifications)).payload for _ in range(300)]
    assert found == [str(number) for number in range(300)]


async def test_a_timed_out_wait_loses_nothing():
    async with listen("news") as notifications:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(notifications.__anext__(), 0.05)
        await notify("news", "after")
        assert (await anext_(notifications)).payload == "after"


async def test_a_rolled_back_notification_is_never_sent():
    async with listen("news") as notifications:
        with pytest.raises(LookupError):
            async with atomic():
                await notify("news", "rolled back")
                raise LookupError
        await notify("news", "sent")
        assert (await anext_(notifications)).payload == "sent"


async def test_inside_a_block_it_does_not_use_the_block():
    async with atomic(), listen("news") as notifications:
        await notify("news", "only at the commit")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(notifications.__anext__(), 0.1)
    await assert_pool_is_clean()
    await listeners_are_gone()


@pytest.mark.parametrize("end", ["cancel", "collect", "error"])
async def test_the_connection_is_closed(end: str):
    arrived = asyncio.Event()

    async def consume() -> None:
        async for _ in listen("news"):
            arrived.set()
            if end == "error":
                raise LookupError

    async with consuming(consume()) as task:
        assert await listening() == 1
        await notify("news")
        await arrived.wait()
        if end == "collect":
            rows = listen("news").__aiter__()
            waiting = asyncio.ensure_future(rows.__anext__())
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            del rows, waiting
            gc.collect()
        if end != "error":
            task.cancel()
        with pytest.raises(LookupError if end == "error" else asyncio.CancelledError):
            await task
    await listeners_are_gone()


async def test_the_coroutine_is_destroyed():
    inside = asyncio.Event()

    async def use() -> None:
        async with listen("news"):
            inside.set()
            await asyncio.sleep(30)

    await destroy_when(inside.is_set, use())
    await listeners_are_gone()


async def test_the_coroutine_is_destroyed_while_it_waits_for_notifications():
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    inside = asyncio.Event()

    async def use() -> None:
        async for _ in listen("news"):
            inside.set()

    async def run() -> None:
        await watched(use(), lambda _: inside.is_set())

    async with consuming(run()) as waiting:
        await notify("news")
        await waiting
    await listeners_are_gone()
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_lost_connection_is_an_error():
    async with listen("news") as notifications:
        waiting = asyncio.ensure_future(notifications.__anext__())
        async with await psycopg.AsyncConnection.connect(**_params()) as conn:
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
        with pytest.raises(OperationalError):
            await asyncio.wait_for(waiting, 30)
    await listeners_are_gone()


@pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32])
async def test_names_postgresql_would_not_take(name: str):
    with pytest.raises(ValueError, match="1 to 63 bytes"):
        listen("fine", name)
    with pytest.raises(ValueError, match="1 to 63 bytes"):
        await notify(name)


def test_no_channel():
    with pytest.raises(ValueError, match="at least one channel"):
        listen()


def test_repr():
    assert repr(listen("a", "b")) == "<Listener to a, b on 'default'>"
    assert isinstance(listen("a"), Listener)


async def test_refused_behind_a_pooler(monkeypatch: pytest.MonkeyPatch):
    async with pooler(monkeypatch):
        with pytest.raises(NotSupportedError, match=r"listen\(\) needs a server session of its own"):
            async with listen("news"):
                pass
