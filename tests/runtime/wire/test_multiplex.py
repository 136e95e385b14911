"""Statements of many tasks share a few connections, and do not disturb each other."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from tests.runtime.conftest import asleep, sessions, terminate
from tests.runtime.support import until
from turbo_orm import close_pools
from turbo_orm.conf import MultiplexOptions
from turbo_orm.db import connections, multiplex, prepared
from turbo_orm.db.leases import give_back, lease, take_idle
from turbo_orm.db.multiplex import Multiplexer
from turbo_orm.db.pools import Pool, PoolKey, PoolSpec
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import Result, wire_of

NUMBER = statement("SELECT %s::int", 1)
SLEEP = statement("SELECT %s::int, pg_sleep(%s)", 2)
#: Waits for as long as somebody has the lock.
WAIT = statement("SELECT %s::int, pg_advisory_xact_lock_shared(1)", 1)


def sharing(pool: Pool, **options: Any) -> Multiplexer:
    async def take() -> AsyncConnection[Any]:
        return take_idle(pool) or await lease(pool)

    shared = pool.multiplexer = Multiplexer(
        pool, asyncio.get_running_loop(), MultiplexOptions(**options), take
    )
    return shared


@pytest.fixture
async def shared(pool: Pool) -> Multiplexer:
    return sharing(pool, slow_after=0.3)


async def number(shared: Multiplexer, value: int) -> None:
    assert (await shared.run(NUMBER, (value,))).rows == [(value,)]


async def test_many_tasks_few_connections(shared: Multiplexer, pool: Pool) -> None:
    for _ in range(3):
        await asyncio.gather(*[number(shared, value) for value in range(500)])
    assert 1 < pool._nconns <= pool.max_size
    assert len(shared._lines) == 4


async def test_a_burst_waits_for_the_shared_connections(pool: Pool) -> None:
    shared = sharing(pool, connections=2, slow_after=5)
    await asyncio.gather(*[number(shared, value) for value in range(200)])
    assert pool._nconns == 2


async def test_a_busy_event_loop_makes_no_statement_slow(pool: Pool) -> None:
    shared = sharing(pool, connections=1, slow_after=0.02)
    for _ in range(3):
        running = asyncio.gather(*[number(shared, value) for value in range(20)])
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251  somebody does
        await number(shared, 1)
        await running
    assert pool._nconns == 1


async def test_one_task_one_connection(shared: Multiplexer, pool: Pool) -> None:
    for value in range(50):
        await number(shared, value)
    assert pool._nconns == len(shared._lines) == 1


async def test_errors_stay_with_their_statement(shared: Multiplexer) -> None:
    fraction = statement("SELECT 10 / %s::int", 1)
    wrong = statement("SELECT nonexistent", 0)
    for _ in range(2):
        outcomes = await asyncio.gather(
            *[
                work
                for value in range(20)
                for work in (
                    shared.run(NUMBER, (value,)),
                    shared.run(fraction, (value % 2,)),
                    shared.run(wrong, ()),
                    shared.run(NUMBER, (object(),)),
                )
            ],
            return_exceptions=True,
        )
        for index, outcome in enumerate(outcomes):
            value, kind = divmod(index, 4)
            if kind == 0:
                assert getattr(outcome, "rows", outcome) == [(value,)]
            elif kind == 1:
                expected = [(10,)] if value % 2 else None
                assert getattr(outcome, "rows", None) == expected
                assert expected or isinstance(outcome, errors.DivisionByZero)
            else:
                assert isinstance(outcome, errors.UndefinedColumn if kind == 2 else psycopg.ProgrammingError)
    assert all(line.conn.prepares for line in shared._lines)


async def test_refusals(shared: Multiplexer) -> None:
    refused = statement("SELECT left('abc', %s)", 1)
    outcomes = await asyncio.gather(
        *[shared.run(refused, (2**40,)) for _ in range(30)], return_exceptions=True
    )
    assert {type(each) for each in outcomes} == {errors.UndefinedFunction}
    assert refused.refused
    assert all(line.conn.prepares for line in shared._lines)
    await number(shared, 1)


async def test_a_slow_statement_is_avoided(pool: Pool) -> None:
    shared = sharing(pool, connections=2, slow_after=0.05)
    await number(shared, 1)
    conn = await lease(pool)
    await conn.execute("SELECT pg_advisory_lock(1)")
    slow: list[asyncio.Future[Result]] = []
    for _ in range(2):
        slow.append(asyncio.ensure_future(shared.run(WAIT, (len(slow),))))
        await until(lambda: sum(line.slow for line in shared._lines) == len(slow))
        for value in range(20):  # they do not wait for it
            await number(shared, value)
    await conn.execute("SELECT pg_advisory_unlock(1)")
    assert [(await each).rows for each in slow] == [[(0, "")], [(1, "")]]
    await give_back(conn, pool)


async def test_cancellation_disturbs_nobody(pool: Pool) -> None:
    shared = sharing(pool, slow_after=5)
    chance = random.Random(3)
    for _ in range(3):
        tasks = [
            asyncio.ensure_future(shared.run(SLEEP, (value, chance.random() / 500))) for value in range(200)
        ]
        cancelled = set(chance.sample(range(200), 100))
        for index in cancelled:
            asyncio.get_running_loop().call_later(chance.random() / 20, tasks[index].cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, asyncio.CancelledError)
                assert index in cancelled
            else:
                assert outcome.rows == [(index, "")]
    assert sum(isinstance(each, asyncio.CancelledError) for each in outcomes) > 10


async def test_a_cancelled_slow_statement_is_stopped(pool: Pool, observer: psycopg.Connection[Any]) -> None:
    shared = sharing(pool, slow_after=0.02)
    task = asyncio.ensure_future(shared.run(SLEEP, (1, 30)))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await number(shared, 1)
    await until(lambda: all(state != "active" for _, state, _ in sessions(observer)))


@pytest.mark.parametrize("slow_after", [0.02, 0.3])
async def test_cancelled_slow_statements_are_stopped_all(
    pool: Pool, observer: psycopg.Connection[Any], slow_after: float
) -> None:
    """Also if they were cancelled before they were slow, and those that the server begins after them."""
    shared = sharing(pool, connections=1, slow_after=slow_after)
    await number(shared, 1)
    await shared.run(SLEEP, (1, 0))
    (line,) = shared._lines
    backend = line.conn.info.backend_pid
    kinds = (SLEEP, (1, 30)), (NUMBER, (1,)), (SLEEP, (2, 30)), (NUMBER, (2,))
    tasks = [asyncio.ensure_future(shared.run(*each)) for each in kinds]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    await until(lambda: line.conn.closed and all(pid != backend for pid, *_ in sessions(observer)))
    await number(shared, 1)
    assert line not in shared._lines


async def test_a_request_to_stop_that_fails_is_repeated(
    pool: Pool, observer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = sharing(pool, connections=1, slow_after=0.02)
    await number(shared, 1)
    (line,) = shared._lines
    backend = line.conn.info.backend_pid
    requests: list[None] = []
    request = type(line.conn).cancel_safe

    async def second_takes_effect(self: Any, **kwargs: Any) -> None:
        requests.append(None)
        if len(requests) == 1:
            raise psycopg.OperationalError("the server can't fork")
        await request(self, **kwargs)

    monkeypatch.setattr(type(line.conn), "cancel_safe", second_takes_effect)
    tasks = [asyncio.ensure_future(shared.run(SLEEP, (value, 30))) for value in range(2)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    deadline = time.monotonic() + 20
    while any(pid == backend for pid, *_ in sessions(observer)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("turns", [0, 1])
async def test_the_stopping_is_cancelled(pool: Pool, turns: int) -> None:
    """As everything is that is under way at the end of `asyncio.run()`."""
    shared = sharing(pool, connections=1, slow_after=0.02)
    await number(shared, 1)
    task = asyncio.ensure_future(shared.run(SLEEP, (1, 1)))
    await until(lambda: shared._lines[0].slow)
    task.cancel()
    await asyncio.wait({task})
    ((stopping, line),) = shared._ending.items()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait({stopping})
    await asyncio.sleep(0)
    assert line.conn.closed


async def test_a_slow_statement_that_somebody_waits_for_is_not_stopped(pool: Pool) -> None:
    shared = sharing(pool, connections=1, slow_after=0.02)
    await number(shared, 1)
    waiting = asyncio.ensure_future(shared.run(SLEEP, (1, 0.3)))
    cancelled = asyncio.ensure_future(shared.run(SLEEP, (2, 0.3)))
    await asyncio.sleep(0.1)
    cancelled.cancel()
    assert (await waiting).rows == [(1, "")]


async def test_a_line_whose_slow_statement_was_answered_is_not_slow(pool: Pool) -> None:
    """It would be given up with the next statement that is cancelled, be it as fast as any."""
    shared = sharing(pool, connections=1, slow_after=0.02)
    await number(shared, 1)
    (line,) = shared._lines
    running = asyncio.ensure_future(shared.run(SLEEP, (1, 1)))
    await until(lambda: line.slow)
    assert (await running).rows == [(1, "")]
    assert not line.slow


async def test_a_destroyed_coroutine_is_forgotten(pool: Pool) -> None:
    shared = sharing(pool, connections=1, slow_after=0.02)
    await number(shared, 1)
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    (line,) = shared._lines
    running = shared.run(SLEEP, (1, 30)).__await__()
    next(running)
    running.close()
    await until(lambda: line.conn.closed)
    gc.collect()
    assert told == []


async def test_a_connection_that_breaks_as_statements_are_sent(shared: Multiplexer) -> None:
    await number(shared, 1)
    (line,) = shared._lines
    with socket.socket(fileno=os.dup(line.pgconn.socket)) as theirs:
        theirs.shutdown(socket.SHUT_RDWR)
    # Before the event loop can notice.
    first, second = (shared.run(NUMBER, (value,)).__await__() for value in range(2))
    answer = next(first)
    with pytest.raises(psycopg.OperationalError, match="closed the connection unexpectedly"):
        next(second)
    with pytest.raises(psycopg.OperationalError, match="closed the connection unexpectedly"):
        next(first)
    assert answer.done()
    assert line.conn.closed
    await number(shared, 2)
    assert line not in shared._lines


async def test_the_server_says_why_it_has_hung_up(
    shared: Multiplexer, observer: psycopg.Connection[Any]
) -> None:
    await number(shared, 1)
    (line,) = shared._lines
    terminate(observer, line.conn.info.backend_pid)  # the event loop must not notice
    first, *others = await asyncio.gather(
        *[shared.run(NUMBER, (n,)) for n in range(3)], return_exceptions=True
    )
    if not isinstance(first, Result):  # uvloop has noticed
        assert isinstance(first, errors.AdminShutdown)
        assert all("closed the connection unexpectedly" in str(each) for each in others)
    await number(shared, 2)


#: Seconds for which pools wait for a connection, where a test is about that they need not.
PATIENCE = 20


@pytest.fixture
def small(make_pool: Callable[..., Awaitable[Pool]]) -> Callable[[int], Awaitable[Multiplexer]]:
    """Makes a multiplexer of a pool of so many connections."""

    async def small(max_size: int) -> Multiplexer:
        return sharing(await make_pool(max_size=max_size, timeout=PATIENCE))

    return small


@pytest.mark.parametrize("max_size", [1, 2, 3, 4])
async def test_a_small_pool_keeps_one_connection_for_everything_else(
    small: Callable[[int], Awaitable[Multiplexer]], max_size: int
) -> None:
    shared = await small(max_size)
    await asyncio.gather(*[number(shared, value) for value in range(100)])
    assert len(shared._lines) == max_size - 1
    conn = await lease(shared._pool)
    if max_size > 1:
        await asyncio.gather(*[number(shared, value) for value in range(100)])
    await give_back(conn, shared._pool)


async def test_no_connection_is_waited_for_where_there_is_room(
    small: Callable[[int], Awaitable[Multiplexer]],
) -> None:
    shared = await small(3)
    await number(shared, 1)
    taken = [await lease(shared._pool) for _ in range(2)]
    reads = asyncio.gather(*[number(shared, value) for value in range(100)])
    await asyncio.wait_for(reads, PATIENCE / 2)
    assert len(shared._lines) == 1
    for conn in taken:
        await give_back(conn, shared._pool)
    await asyncio.gather(*[number(shared, value) for value in range(100)])
    assert len(shared._lines) == 2


@pytest.fixture
async def scarce(pool: Pool) -> AsyncIterator[Callable[[int], Awaitable[Pool]]]:
    """Makes a pool of a server that has only so many connections for it."""
    pools: list[Pool] = []

    async def make(most: int) -> Pool:
        def connect() -> Any:
            if sum(not conn.closed for conn in pools[0]._live) >= most:
                raise psycopg.OperationalError("too many connections")
            return pool.kwargs() if callable(pool.kwargs) else pool.kwargs

        pools.append(Pool(PoolSpec(PoolKey("scarce", ()), connect, {"max_size": 8, "timeout": PATIENCE})))
        await pools[0].open()
        return pools[0]

    yield make
    for each in pools:
        await each.close()


@pytest.mark.parametrize("most", [1, 2, 3, 4])
async def test_one_is_given_back_where_the_server_has_no_more(
    scarce: Callable[[int], Awaitable[Pool]], most: int
) -> None:
    pool = await scarce(most)
    shared = sharing(pool, slow_after=5)
    for _ in range(3):
        await asyncio.gather(*[number(shared, value) for value in range(100)])
        conn = await lease(pool)
        assert wire_of(conn) is not None
        await conn.execute("SELECT 1")
        await asyncio.gather(*[number(shared, value) for value in range(10 * (most > 1))])
        await give_back(conn, pool)
    assert len(pool.lent()) == len(shared._lines) < most


async def test_what_is_under_way_is_answered_before_it_is_given_back(
    scarce: Callable[[int], Awaitable[Pool]],
) -> None:
    pool = await scarce(1)
    shared = sharing(pool, slow_after=5)
    await number(shared, 0)
    under_way = [asyncio.ensure_future(shared.run(SLEEP, (value, 0.1))) for value in range(3)]
    await asyncio.sleep(0)
    conn = await lease(pool)
    assert [each.done() and each.result().rows for each in under_way] == [[(n, "")] for n in range(3)]
    await give_back(conn, pool)


async def test_what_nobody_waits_for_is_stopped_before_it_is_given_back(
    scarce: Callable[[int], Awaitable[Pool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_STOP_TIMEOUT", PATIENCE)
    pool = await scarce(1)
    shared = sharing(pool, slow_after=5)
    await number(shared, 0)
    (line,) = shared._lines
    under_way = [asyncio.ensure_future(shared.run(SLEEP, (value, 30))) for value in range(3)]
    await asyncio.sleep(0.02)
    for each in under_way:
        each.cancel()
    conn: Any = await asyncio.wait_for(lease(pool), pool.timeout / 2)
    assert conn is line.conn
    for value in range(20):
        assert (await conn.wire.run(NUMBER, (value,))).rows == [(value,)]
    await give_back(conn, pool)


async def test_one_that_can_not_be_given_back_is_replaced(
    scarce: Callable[[int], Awaitable[Pool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("on purpose")

    pool = await scarce(1)
    shared = sharing(pool, slow_after=5)
    await number(shared, 0)
    monkeypatch.setattr(multiplex, "Wire", broken)
    conn = await asyncio.wait_for(lease(pool), pool.timeout / 2)
    assert pool._nconns == len(pool.lent()) == 1
    await give_back(conn, pool)


async def test_one_that_is_given_back_keeps_what_it_has_prepared(
    scarce: Callable[[int], Awaitable[Pool]],
) -> None:
    pool = await scarce(1)
    shared = sharing(pool, slow_after=5)
    await number(shared, 0)
    conn: Any = await lease(pool)
    assert len(conn.wire.prepared.names) == 1
    assert (await conn.wire.run(NUMBER, (1,))).rows == [(1,)]
    cursor = await conn.execute("SELECT count(*) FROM pg_prepared_statements")
    assert await cursor.fetchone() == (1,)
    await give_back(conn, pool)


async def test_after_a_while_more_are_shared_again(
    scarce: Callable[[int], Awaitable[Pool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await scarce(1)
    shared = sharing(pool, slow_after=5)
    await number(shared, 0)
    await give_back(await lease(pool), pool)
    await number(shared, 0)
    assert not shared._lines
    monkeypatch.setattr(multiplex, "_SCARCITY", 0.01)
    shared.refused()
    await asyncio.sleep(0.02)
    await number(shared, 0)
    assert len(shared._lines) == 1


async def test_who_waits_is_not_forgotten_for_one_that_was_to_be_shared(
    scarce: Callable[[int], Awaitable[Pool]],
) -> None:
    """A write whose connection was refused while there was one to wait for, which a read got then."""
    pool = await scarce(1)
    shared = sharing(pool, slow_after=5)
    conn = await lease(pool)
    read = asyncio.ensure_future(number(shared, 0))
    await asyncio.sleep(0.02)
    shared._share_all()
    write = asyncio.ensure_future(lease(pool))
    await asyncio.sleep(0.02)
    shared._share_all()  # it is long ago that the server refused one
    await give_back(conn, pool)
    await asyncio.wait_for(read, pool.timeout / 2)
    await give_back(await asyncio.wait_for(write, pool.timeout / 2), pool)


@pytest.mark.parametrize("before", [0, 1])
async def test_reads_share_what_there_is_while_a_block_has_the_others(
    scarce: Callable[[int], Awaitable[Pool]], before: int
) -> None:
    """They do not wait for one more, which the server refuses."""
    pool = await scarce(2)
    shared = sharing(pool, slow_after=5)
    await asyncio.gather(*[number(shared, value) for value in range(before)])
    conn = await lease(pool)
    for _ in range(2):
        reads = asyncio.gather(*[number(shared, value) for value in range(100)])
        await asyncio.wait_for(reads, pool.timeout / 2)
    assert len(shared._lines) <= 1
    await give_back(conn, pool)
    assert pool.lent() == shared.kept()


async def test_a_lost_connection(shared: Multiplexer, pool: Pool, observer: psycopg.Connection[Any]) -> None:
    await number(shared, 1)
    (line,) = shared._lines
    tasks = [asyncio.ensure_future(shared.run(SLEEP, (value, 30))) for value in range(3)]
    await until(lambda: asleep(observer))
    terminate(observer, line.conn.info.backend_pid)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], errors.AdminShutdown)
    assert all(isinstance(each, psycopg.OperationalError) for each in outcomes)
    await number(shared, 2)
    assert line not in shared._lines
    assert line.conn.closed


async def test_an_idle_connection_that_was_lost_is_replaced(
    shared: Multiplexer, observer: psycopg.Connection[Any]
) -> None:
    await number(shared, 1)
    for _ in range(3):
        (line,) = shared._lines
        terminate(observer, line.conn.info.backend_pid)
        await asyncio.sleep(0.01)
        await number(shared, 2)


async def test_stale_statements(shared: Multiplexer, pool: Pool) -> None:
    conn = await lease(pool)
    await conn.execute("CREATE TABLE multiplexed (a int)")
    try:
        every = statement("SELECT * FROM multiplexed", 0)
        await asyncio.gather(*[shared.run(every, ()) for _ in range(20)])
        await conn.execute("INSERT INTO multiplexed VALUES (1)")
        await conn.execute("ALTER TABLE multiplexed ADD COLUMN b text DEFAULT 'x'")
        answers = await asyncio.gather(*[shared.run(every, ()) for _ in range(50)])
        assert all(each.rows == [(1, "x")] for each in answers)
        await asyncio.gather(*[shared.run(statement("DEALLOCATE ALL", 0), ()) for _ in range(4)])
        answers = await asyncio.gather(*[shared.run(every, ()) for _ in range(50)])
        assert all(each.rows == [(1, "x")] for each in answers)
    finally:
        await conn.execute("DROP TABLE multiplexed")
        await give_back(conn, pool)


async def test_big_ones(shared: Multiplexer) -> None:
    echo = statement("SELECT %s::text", 1)
    big = "x" * 2_000_000
    answers = await asyncio.gather(*[shared.run(echo, (big + str(n),)) for n in range(30)])
    assert [each.rows for each in answers] == [[(big + str(n),)] for n in range(30)]


async def test_without_preparing(shared: Multiplexer) -> None:
    await number(shared, 1)
    (line,) = shared._lines
    line.conn.prepares = False
    line.prepared.forget_all()
    await asyncio.gather(*[number(shared, value) for value in range(20)])
    assert not line.prepared.names


async def test_prepared_statements_are_bounded(shared: Multiplexer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "PREPARED_MAX", 3)
    for value in range(20):
        assert (await shared.run(statement(f"SELECT {value}", 0), ())).rows == [(value,)]
    assert await kept(shared) <= 5


async def test_what_is_used_stays_prepared(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "PREPARED_MAX", 3)
    shared = sharing(pool, connections=1)
    for value in range(10):
        assert (await shared.run(statement(f"SELECT {value}", 0), ())).rows == [(value,)]
        await number(shared, value)
    (line,) = shared._lines
    assert line.prepared.new_name().endswith(b"_12"), "one for each of ten, and for what all have used"


async def test_large_statements_are_not_kept_prepared(shared: Multiplexer) -> None:
    many = statement(f"SELECT count(*)::int FROM (VALUES {', '.join(['(%s)'] * 600)}) AS v", 600)
    for _ in range(3):
        assert (await shared.run(many, tuple(range(600)))).rows == [(600,)]
    assert await kept(shared) == 1, "only what asks"


async def test_what_a_connection_had_prepared_before_is_used(pool: Pool) -> None:
    conn = await lease(pool)
    wire = wire_of(conn)
    assert wire is not None
    for value in range(3):
        await wire.run(statement(f"SELECT {value}", 0), ())
    await wire.run(NUMBER, (1,))
    await give_back(conn, pool)
    shared = sharing(pool, connections=1)
    await number(shared, 1)
    assert await kept(shared) == 5
    assert len(shared._lines[0].prepared.names) == 5


async def kept(shared: Multiplexer) -> int:
    rows = (await shared.run(statement("SELECT count(*)::int FROM pg_prepared_statements", 0), ())).rows
    assert rows is not None
    return int(rows[0][0])


async def test_copy_is_an_error(shared: Multiplexer) -> None:
    with pytest.raises(psycopg.Error, match="COPY"):
        await shared.run(statement("COPY (SELECT 1) TO STDOUT", 0), ())
    await number(shared, 1)


async def test_connections_past_their_life_are_replaced(shared: Multiplexer) -> None:
    await number(shared, 1)
    (line,) = shared._lines
    line.conn._expire_at = 0
    await number(shared, 2)
    assert line not in shared._lines


async def test_the_end_of_the_pool(shared: Multiplexer, pool: Pool) -> None:
    await number(shared, 1)
    task = asyncio.ensure_future(shared.run(SLEEP, (1, 1)))
    await asyncio.sleep(0.02)
    await close_pools()
    with pytest.raises(psycopg.OperationalError):
        await task
    assert pool.closed
