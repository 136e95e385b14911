"""Connections to a server which has become read only under them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import InternalError, connections
from psycopg import sql

from tests.project.library.models import Author
from tests.runtime.support import assert_pool_is_clean, backend_pid, connect, pool
from turbo_orm import atomic, close_pools, cursor, run_sync
from turbo_orm.db import pools


@pytest.fixture
def replica(observer: psycopg.Connection[Any]) -> Any:
    """Within its block, new sessions are read only: those of a server that is demoted later."""
    name = sql.Identifier(connections["default"].settings_dict["NAME"])

    @contextmanager
    def replica() -> Iterator[None]:
        observer.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        try:
            yield
        finally:
            observer.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))

    return replica


async def write_on_the_wire() -> None:
    await Author.objects.filter(age=1).aupdate(age=2)


async def write_with_a_cursor() -> None:
    async with cursor() as opened:
        await opened.execute("UPDATE library_author SET age = 2 WHERE age = 1")


async def write_in_a_block() -> None:
    async with atomic():
        await write_on_the_wire()


async def write_in_sync_code() -> None:
    await run_sync(Author.objects.create, name="a")


async def plan_all() -> None:
    await close_pools()
    for _ in range(3):
        await write_on_the_wire()
    await close_pools()


@pytest.mark.parametrize(
    "write", [write_on_the_wire, write_with_a_cursor, write_in_a_block, write_in_sync_code]
)
async def test_the_pool_connects_anew_after_a_write_was_refused(
    write: Any, replica: Any, caplog: pytest.LogCaptureFixture
):
    await plan_all()
    with replica():
        await connect(4)
        former = {conn.info.backend_pid for conn in pool()._pool}
        assert len(former) == 4
        async with cursor() as kept:
            await kept.execute("SELECT 1")
    with pytest.raises(InternalError, match="read-only"):
        await write()
    await write()
    pids = await asyncio.gather(*(run_sync(backend_pid) for _ in range(8)))
    assert former.isdisjoint(pids)
    assert "takes no writes" in caplog.text
    await assert_pool_is_clean()


async def test_what_is_in_use_is_closed_when_it_is_given_back(replica: Any):
    await plan_all()
    with replica():
        await connect(2)
        async with atomic():
            in_use = await run_sync(backend_pid)
            # In a task of its own, outside of the block.
            with pytest.raises(InternalError, match="read-only"):
                await _outside(write_on_the_wire)
            assert await run_sync(backend_pid) == in_use
    pids = await asyncio.gather(*(run_sync(backend_pid) for _ in range(4)))
    assert in_use not in pids


async def _outside(work: Any) -> None:
    await contextvars.Context().run(asyncio.ensure_future, work())


async def test_where_it_is_read_only_all_the_time_connections_are_kept(replica: Any):
    await plan_all()
    with replica():
        with pytest.raises(InternalError, match="read-only"):
            await write_on_the_wire()
        pid = await run_sync(backend_pid)
        for _ in range(3):
            with pytest.raises(InternalError, match="read-only"):
                await write_on_the_wire()
        assert await run_sync(backend_pid) == pid
        pool()._evicted_at -= pools._EVICTION_PAUSE
        with pytest.raises(InternalError, match="read-only"):
            await write_on_the_wire()
        assert await run_sync(backend_pid) != pid
    await close_pools()


async def test_a_block_that_is_read_only_says_nothing_of_the_server():
    pid = await run_sync(backend_pid)
    for write in (write_on_the_wire, write_with_a_cursor):
        with pytest.raises(InternalError, match="read-only"):
            async with atomic(read_only=True):
                await write()
    assert await run_sync(backend_pid) == pid
