"""Wires of the default database's pool, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from psycopg.pq import PipelineStatus, TransactionStatus

from turbo_orm import close_pools
from turbo_orm.bridge.wrapper import find_pool_of
from turbo_orm.db.leases import give_back, lease
from turbo_orm.db.pools import Pool, PoolKey, PoolSpec
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result, Wire, wire_of


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if find_spec("uvloop") is not None:  # not on Windows
        factories["uvloop"] = import_module("uvloop").new_event_loop
    return factories


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = find_pool_of(asyncio.get_running_loop(), "default")
    await pool.open()
    yield pool
    await close_pools()


@pytest.fixture
async def make_pool(pool: Pool) -> AsyncIterator[Callable[..., Awaitable[Pool]]]:
    """Makes a pool of the default database with other options."""
    made: list[Pool] = []

    async def make_pool(**options: Any) -> Pool:
        other = Pool(PoolSpec(PoolKey("extra", ()), pool.kwargs, {"max_size": 3, **options}))  # type: ignore[arg-type]
        await other.open()
        made.append(other)
        return other

    yield make_pool
    for each in made:
        await each.close()


@pytest.fixture
async def wire(pool: Pool) -> AsyncIterator[Wire]:
    conn = await lease(pool)
    wire = wire_of(conn)
    assert wire is not None
    yield wire
    await give_back(conn, pool)


def assert_clean(conn: Any) -> None:
    """Nothing is under way on *conn*, and nothing is left to be read."""
    pgconn = conn.pgconn
    assert pgconn.transaction_status == TransactionStatus.IDLE
    assert pgconn.pipeline_status == PipelineStatus.OFF
    assert not pgconn.is_busy()
    assert not conn.lock.locked()
    if conn.wire is not None:
        assert conn.wire.syncs_due == 0


async def run_in_transaction(
    wire: Wire, statement: Statement, params: tuple[Any, ...], **characteristics: Any
) -> Result:
    """Execute *statement* as the first of a transaction, after which the connection begins none."""
    conn: Any = wire.conn
    await conn.set_autocommit(False)
    for name, value in characteristics.items():
        await getattr(conn, f"set_{name}")(value)
    try:
        return await wire.run(statement, params)
    finally:
        conn._autocommit = True
        for name in characteristics:
            setattr(conn, f"_{name}", None)
        conn._begin_statement = b""
