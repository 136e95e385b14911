"""Connections are taken and put back without waiting, and psycopg_pool's rules hold."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from tests.runtime.conftest import terminate
from tests.runtime.support import until
from turbo_orm.bridge.wrapper import find_pool_of
from turbo_orm.db.leases import abandon, give_back, lease, put_idle, put_idle_again, take_idle
from turbo_orm.db.pools import Pool
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import wire_of

NUMBER = statement("SELECT %s::int", 1)

#: The second one is for a connection which only the wire has used, and asks no more than it must.
either_way = pytest.mark.parametrize("put", [put_idle, put_idle_again])


async def test_the_last_one_used_is_taken_first(pool: Pool) -> None:
    assert take_idle(pool) is None
    conns = [await lease(pool) for _ in range(3)]
    assert set(pool.lent()) == set(conns)
    for conn in conns:
        assert put_idle(conn, pool)
        assert conn._pool is None
    assert pool.lent() == []
    taken = [take_idle(pool) for _ in range(4)]
    assert taken == [*reversed(conns), None]
    assert all(conn is not None and conn._pool is pool for conn in taken[:3])
    for conn in conns:
        assert put_idle(conn, pool)


async def test_what_is_abandoned_is_not_lent(make_pool: Any) -> None:
    """Its task may be cancelled before it begins, at the loop's end: nobody gives it back then."""
    pool = await make_pool()
    conn = await lease(pool)
    abandon(conn, pool, asyncio.get_running_loop())
    assert pool.lent() == []
    await until(lambda: conn.closed)


@either_way
async def test_statistics(make_pool: Any, put: Any) -> None:
    pool = await make_pool()
    conn = await lease(pool)
    assert put(conn, pool)
    for _ in range(4):
        assert put(take_idle(pool), pool)  # type: ignore[arg-type]  # there is one
    assert pool.get_stats()["requests_num"] == 5
    assert pool.get_stats()["requests_num"] == 5
    assert pool.pop_stats()["requests_num"] == 5
    assert pool.get_stats().get("requests_num", 0) == 0
    assert pool._nconns_min == 0
    assert pool.get_stats()["pool_available"] == 1


@pytest.mark.parametrize("take", [lease, take_idle])
async def test_statistics_of_lost_connections(make_pool: Any, take: Any) -> None:
    pool = await make_pool()
    conns = [await lease(pool) for _ in range(2)]
    pids = [conn.info.backend_pid for conn in conns]
    for conn in conns:
        assert put_idle(conn, pool)
    before = pool.get_stats()
    async with await psycopg.AsyncConnection.connect(**await pool._resolve_kwargs()) as killer:
        for pid in pids:
            await killer.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    conn = await lease(pool) if take is lease else take_idle(pool) or await lease(pool)
    after = pool.get_stats()
    assert after["requests_num"] - before["requests_num"] == 1
    assert after["connections_lost"] == 2
    assert pool.lent() == [conn]
    assert put_idle(conn, pool)


@either_way
async def test_what_waits_in_psycopgs_queue_is_served_first(make_pool: Any, put: Any) -> None:
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    waiting = asyncio.ensure_future(pool.getconn())
    await asyncio.sleep(0.02)
    assert not put(conn, pool)
    await give_back(conn, pool)
    assert take_idle(pool) is None
    assert await waiting is conn
    assert put(conn, pool)


async def test_as_good_as_new(pool: Pool) -> None:
    conn = await lease(pool)
    await conn.set_autocommit(False)
    await conn.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
    await conn.set_read_only(True)
    conn._get_tx_start_command()
    assert put_idle(conn, pool)
    again = take_idle(pool)
    assert again is conn
    assert (conn.autocommit, conn.isolation_level, conn.read_only) == (True, None, None)
    assert conn._get_tx_start_command() == b"BEGIN"
    conn._begin_statement = b""
    assert put_idle(conn, pool)


async def test_a_transaction_does_not_go_back_after_the_wire_alone(make_pool: Any) -> None:
    pool = await make_pool()
    conn = await lease(pool)
    await conn.execute("BEGIN")
    assert not put_idle_again(conn, pool)
    await give_back(conn, pool)
    assert conn.closed
    conn = await lease(pool)
    conn.pgconn.finish()
    assert not put_idle_again(conn, pool)
    await give_back(conn, pool)


async def test_who_waits_is_served(make_pool: Any) -> None:
    pool = await make_pool(max_size=1)
    conn = await lease(pool)
    waiting = asyncio.ensure_future(lease(pool))
    await asyncio.sleep(0)
    assert put_idle_again(conn, pool)
    assert take_idle(pool) is None
    assert await waiting is conn
    assert put_idle_again(conn, pool)


async def test_transactions_and_pipelines_do_not_go_back(make_pool: Any) -> None:
    pool = await make_pool()
    conn = await lease(pool)
    await conn.execute("BEGIN")
    assert not put_idle(conn, pool)
    await conn.execute("ROLLBACK")
    async with conn.pipeline():
        assert not put_idle(conn, pool)
    assert put_idle(conn, pool)
    assert not put_idle(conn, pool), "it is back already"
    conn = take_idle(pool)
    conn.pgconn.finish()
    assert not put_idle(conn, pool)
    await give_back(conn, pool)


@either_way
async def test_the_end_of_a_life(make_pool: Any, put: Any) -> None:
    pool = await make_pool(max_lifetime=0.05)
    conn = await lease(pool)
    await asyncio.sleep(0.1)
    assert not put(conn, pool)
    await give_back(conn, pool)
    assert conn.closed
    drained = await make_pool()
    conn = await lease(drained)
    await drained.drain()
    assert not put(conn, drained)
    await give_back(conn, drained)
    assert conn.closed


@either_way
async def test_pools_with_hooks(make_pool: Any, put: Any) -> None:
    async def reset(conn: Any) -> None:
        await conn.execute("RESET ALL")

    checked = await make_pool(check=AsyncConnectionPool.check_connection)
    conn = await lease(checked)
    assert put(conn, checked)
    assert take_idle(checked) is None
    assert await lease(checked) is conn
    assert put(conn, checked)
    resetting = await make_pool(reset=reset)
    conn = await lease(resetting)
    assert not put(conn, resetting)
    await give_back(conn, resetting)


@either_way
async def test_a_closed_pool(make_pool: Any, put: Any) -> None:
    pool = await make_pool()
    conn = await lease(pool)
    await pool.close()
    assert take_idle(pool) is None
    assert not put(conn, pool)
    await give_back(conn, pool)
    assert conn.closed


@pytest.mark.parametrize("wired", [True, False])
async def test_sessions_the_server_has_ended_are_replaced(
    make_pool: Any, observer: psycopg.Connection[Any], wired: bool
) -> None:
    pool = await make_pool()
    conns = [await lease(pool) for _ in range(3)]
    for conn in conns:
        if wired:
            wire = wire_of(conn)
            assert wire is not None
            await wire.run(NUMBER, (1,))
        pid = conn.info.backend_pid
        assert put_idle(conn, pool)
        if conn is not conns[0]:
            terminate(observer, pid)
    await asyncio.sleep(0.01)
    assert take_idle(pool) is conns[0], "the only one that lives"
    assert all(conn.closed for conn in conns[1:])
    await until(lambda: len(pool._pool) >= 2)
    assert pool.get_stats()["connections_lost"] == 2
    assert pool.get_stats()["pool_size"] == 3
    assert put_idle(conns[0], pool)


async def test_an_idle_connection_is_known_to_live_without_asking_the_system(
    make_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await make_pool()
    conn = await lease(pool)
    wire = wire_of(conn)
    assert wire is not None
    await wire.run(NUMBER, (1,))
    assert put_idle(conn, pool)

    def ask(*args: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("turbo_orm.db.leases._hung_up", ask)
    assert take_idle(pool) is conn
    assert put_idle(conn, pool)


async def test_django_finds_its_pool(pool: Pool) -> None:
    assert find_pool_of(asyncio.get_running_loop(), "default") is pool
    assert pool.connection_class.__name__ == "TurboConnection"
