"""Whatever interrupts a statement: the connection is in order afterwards, or closed."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import time
from typing import Any

import psycopg
import pytest
from psycopg import errors, generators
from psycopg.abc import PQGenConn
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGcancelConn

from tests.runtime.conftest import asleep, sessions, terminate
from tests.runtime.support import destroy_when, sleep, until
from tests.runtime.wire.conftest import assert_clean, run_in_transaction
from turbo_orm import run_sync
from turbo_orm.db import connections
from turbo_orm.db.leases import give_back, lease, put_idle, take_idle
from turbo_orm.db.pools import Pool
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import Wire, wire_of

SLEEP = statement("SELECT pg_sleep(%s)", 1)
NUMBER = statement("SELECT %s::int", 1)


def kill(observer: psycopg.Connection[Any], wire: Wire) -> None:
    terminate(observer, wire.conn.info.backend_pid)


async def test_the_server_ends_the_session(wire: Wire, observer: psycopg.Connection[Any]) -> None:
    await wire.run(NUMBER, (1,))
    task = asyncio.ensure_future(wire.run(SLEEP, (30,)))
    await until(lambda: asleep(observer))
    kill(observer, wire)
    with pytest.raises(errors.AdminShutdown):
        await task
    assert wire.conn.closed
    assert wire.conn.broken
    assert wire_of(wire.conn) is None
    with pytest.raises(psycopg.OperationalError, match="closed"):
        await wire.run(NUMBER, (1,))


async def test_the_server_ends_an_idle_session(wire: Wire, observer: psycopg.Connection[Any]) -> None:
    await wire.run(NUMBER, (1,))
    assert wire.attached
    kill(observer, wire)
    await asyncio.sleep(0.01)
    assert not wire.attached, "the event loop noticed"
    with pytest.raises(errors.AdminShutdown):
        await wire.run(NUMBER, (1,))
    assert wire.conn.closed


async def test_the_server_ends_a_session_amid_several(wire: Wire, observer: psycopg.Connection[Any]) -> None:
    task = asyncio.ensure_future(wire.run_many([(NUMBER, (1,)), (SLEEP, (30,)), (NUMBER, (2,))]))
    await until(lambda: asleep(observer))
    kill(observer, wire)
    one, killed, lost = await task
    assert getattr(one, "rows", None) == [(1,)]
    assert isinstance(killed, errors.AdminShutdown)
    assert isinstance(lost, psycopg.OperationalError)
    assert wire.conn.closed


@pytest.mark.parametrize("kind", ["first", "begun", "several"])
async def test_the_connection_is_lost_as_commands_are_queued(wire: Wire, kind: str) -> None:
    if kind == "begun":
        await wire.run(NUMBER, (1,))
        await wire.conn.set_autocommit(False)
    await wire.run(statement("SELECT 1", 0), ())
    if kind == "begun":
        await wire.command(b"ROLLBACK")
    with socket.socket(fileno=os.dup(wire.pgconn.socket)) as theirs:
        theirs.shutdown(socket.SHUT_RDWR)
    # Before the event loop can notice.
    several = [(NUMBER, (n,)) for n in range(3)]
    work: Any = wire.run_many(several) if kind == "several" else wire.run(NUMBER, (1,))
    with pytest.raises(psycopg.OperationalError, match="closed the connection unexpectedly"):
        await work
    assert wire.conn.closed


async def test_an_idle_transaction_times_out(wire: Wire, observer: psycopg.Connection[Any]) -> None:
    await wire.conn.execute("SET idle_in_transaction_session_timeout = 50")
    await run_in_transaction(wire, NUMBER, (1,))
    await until(lambda: not sessions(observer))
    with pytest.raises(errors.IdleInTransactionSessionTimeout):
        await wire.run(NUMBER, (1,))
    assert wire.conn.closed


async def test_statement_timeout(wire: Wire) -> None:
    await wire.conn.execute("SET statement_timeout = 50")
    for _ in range(3):
        with pytest.raises(errors.QueryCanceled, match="statement timeout"):
            await wire.run(SLEEP, (30,))
        assert_clean(wire.conn)
    assert (await wire.run(NUMBER, (1,))).rows == [(1,)]
    await wire.conn.execute("RESET statement_timeout")


async def test_lock_timeout_and_deadlocks_are_told(pool: Pool) -> None:
    conns = [await lease(pool) for _ in range(2)]
    one, two = [found for conn in conns if (found := wire_of(conn)) is not None]
    lock = statement("SELECT pg_advisory_xact_lock(%s)", 1)
    await run_in_transaction(one, lock, (1,))
    await run_in_transaction(two, lock, (2,))
    outcomes = await asyncio.gather(one.run(lock, (2,)), two.run(lock, (1,)), return_exceptions=True)
    assert sum(isinstance(each, errors.DeadlockDetected) for each in outcomes) == 1
    for conn in conns:
        await conn.rollback()
        await give_back(conn, pool)


async def test_cancellation_stops_the_statement(wire: Wire, observer: psycopg.Connection[Any]) -> None:
    pid = wire.conn.info.backend_pid
    for _ in range(5):
        task = asyncio.ensure_future(wire.run(SLEEP, (30,)))
        await asyncio.sleep(0.03)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 5
        assert_clean(wire.conn)
        assert [state for each, state, _ in sessions(observer) if each == pid] == ["idle"]
        assert (await wire.run(NUMBER, (1,))).rows == [(1,)]


async def test_a_timeout(wire: Wire) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(wire.run(SLEEP, (30,)), 0.05)
    assert_clean(wire.conn)


async def test_cancellation_in_a_transaction(wire: Wire) -> None:
    await run_in_transaction(wire, NUMBER, (1,))
    task = asyncio.ensure_future(wire.run(SLEEP, (30,)))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.pgconn.transaction_status == TransactionStatus.INERROR
    await wire.conn.rollback()
    assert_clean(wire.conn)


async def test_cancellation_amid_big_data(wire: Wire) -> None:
    big = "x" * 20_000_000
    echo = statement("SELECT %s::text", 1)
    for delay in (0, 0.001, 0.005, 0.01, 0.02, 0.05):
        task = asyncio.ensure_future(wire.run(echo, (big,)))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait({task})
        assert_clean(wire.conn)
        assert (await wire.run(NUMBER, (1,))).rows == [(1,)]


async def test_a_second_cancellation_closes_the_connection(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def no_cancelling(*args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(type(wire.conn), "cancel_safe", no_cancelling)
    task = asyncio.ensure_future(wire.run(SLEEP, (1,)))
    await asyncio.sleep(0.03)
    task.cancel()
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.conn.closed
    assert "Closing" in caplog.text


async def test_a_server_that_does_not_stop_in_time(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_effect(*args: Any, **kwargs: Any) -> None:
        """A pooler that drops cancellation requests."""

    monkeypatch.setattr(type(wire.conn), "cancel_safe", no_effect)
    monkeypatch.setattr(connections, "_STOP_TIMEOUT", 0.01)
    monkeypatch.setattr(connections, "_STOP_INTERVAL", 0.01)
    task = asyncio.ensure_future(wire.run(SLEEP, (1,)))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.conn.closed


@pytest.mark.parametrize("how", ["on the wire", "pipelined", "with a cursor", "with a cursor's pipeline"])
@pytest.mark.parametrize("first", ["comes too early", "fails"])
async def test_a_request_without_effect_is_repeated(
    wire: Wire, observer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, how: str, first: str
) -> None:
    requests: list[None] = []
    request = type(wire.conn).cancel_safe

    async def second_takes_effect(self: Any, **kwargs: Any) -> None:
        requests.append(None)
        if len(requests) == 1:
            if first == "fails":
                raise psycopg.OperationalError("the server can't fork")
            return
        await request(self, **kwargs)

    async def in_pipeline() -> None:
        async with wire.conn.pipeline():
            await wire.conn.execute("SELECT pg_sleep(30)")

    monkeypatch.setattr(type(wire.conn), "cancel_safe", second_takes_effect)
    running = {
        "on the wire": lambda: wire.run(SLEEP, (30,)),
        "pipelined": lambda: wire.run_many([(NUMBER, (1,)), (SLEEP, (30,))]),
        "with a cursor": lambda: wire.conn.execute("SELECT pg_sleep(30)"),
        "with a cursor's pipeline": in_pipeline,
    }[how]()
    pid = wire.conn.info.backend_pid
    task = asyncio.ensure_future(running)
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(requests) >= 2
    assert_clean(wire.conn)
    assert [state for each, state, _ in sessions(observer) if each == pid] == ["idle"]
    assert (await wire.run(NUMBER, (1,))).rows == [(1,)]


@pytest.mark.parametrize("where", ["on the wire", "in the bridge"])
async def test_what_is_destroyed_is_stopped_though_the_first_request_has_no_effect(
    wire: Wire, observer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    requests: list[None] = []
    cancel = generators.cancel

    def second_takes_effect(request: PGcancelConn) -> PQGenConn[None]:
        requests.append(None)
        if len(requests) > 1:
            yield from cancel(request)

    monkeypatch.setattr(generators, "cancel", second_takes_effect)
    running = wire.run(SLEEP, (300,)) if where == "on the wire" else run_sync(sleep, 300)
    await destroy_when(lambda: asleep(observer) > 0, running)
    await until(lambda: not asleep(observer))
    assert len(requests) == 2


async def test_a_destroyed_coroutine_closes_the_connection(
    pool: Pool, observer: psycopg.Connection[Any]
) -> None:
    conn = await lease(pool)
    wire = wire_of(conn)
    assert wire is not None
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    running = wire.run(SLEEP, (300,))
    running.send(None)
    await until(lambda: asleep(observer))
    running.close()
    assert conn.closed
    assert not conn.lock.locked()
    await give_back(conn, pool)
    del running, wire
    gc.collect()
    assert told == [], "the failure of what nobody waits for"
    await until(lambda: not asleep(observer))


@pytest.mark.slow
async def test_a_storm_of_cancellations(pool: Pool, observer: psycopg.Connection[Any]) -> None:
    chance = random.Random(5)
    echo = statement("SELECT %s::int, pg_sleep(%s)", 2)
    wrong: list[Any] = []

    async def one(number: int) -> None:
        conn = take_idle(pool) or await lease(pool)
        try:
            wire = wire_of(conn)
            assert wire is not None
            for _ in range(3):
                got = await wire.run(echo, (number, chance.random() / 100))
                if got.rows != [(number, "")]:
                    wrong.append((number, got))
        finally:
            if not put_idle(conn, pool):
                await give_back(conn, pool)

    for _ in range(3):
        tasks = [asyncio.ensure_future(one(number)) for number in range(300)]
        for task in chance.sample(tasks, 250):
            asyncio.get_running_loop().call_later(chance.random() / 3, task.cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert wrong == []
        unexpected = [
            each for each in outcomes if each is not None and not isinstance(each, asyncio.CancelledError)
        ]
        assert unexpected == []
    assert sum(isinstance(each, asyncio.CancelledError) for each in outcomes) > 20
    assert pool._nconns == len(pool._pool) <= pool.max_size
    for conn in pool._pool:
        assert_clean(conn)
        wire = wire_of(conn)
        assert wire is not None
        assert (await wire.run(NUMBER, (1,))).rows == [(1,)]
    await until(lambda: {state for _, state, _ in sessions(observer)} == {"idle"})


async def test_results_are_let_go(wire: Wire) -> None:
    await wire.run(statement("SELECT repeat('x', 1000000)", 0), ())
    gc.collect()
    kept = wire._tx.pgresult
    assert kept is None or kept.ntuples == 0
