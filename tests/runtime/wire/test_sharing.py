"""A wire and everything psycopg does alternate on one connection."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from tests.runtime.conftest import asleep, terminate
from tests.runtime.support import pool as pool_in_use
from tests.runtime.support import until
from tests.runtime.wire.conftest import assert_clean
from turbo_orm import atomic, run_sync
from turbo_orm.db.connections import close_now
from turbo_orm.db.leases import give_back, lease
from turbo_orm.db.pools import Pool
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import Wire, wire_of

NUMBER = statement("SELECT %s::int", 1)


async def number(wire: Wire, value: int) -> None:
    assert (await wire.run(NUMBER, (value,))).rows == [(value,)]


async def test_cursors(wire: Wire) -> None:
    for value in range(20):
        await number(wire, value)
        cursor = await wire.conn.execute("SELECT %s::int", (value,))
        assert await cursor.fetchall() == [(value,)]
    async with wire.conn.cursor("named", withhold=True) as cursor:
        await cursor.execute("SELECT generate_series(1, 10)")
        for value in range(5):
            await number(wire, value)
            assert await cursor.fetchone() == (value + 1,)
    async for row in psycopg.AsyncCursor(wire.conn).stream("SELECT generate_series(1, 3)"):
        assert row[0] in (1, 2, 3)
    await number(wire, 1)
    assert_clean(wire.conn)


async def test_copy(wire: Wire) -> None:
    await wire.conn.execute("CREATE TEMP TABLE numbers (n int)")
    for _ in range(2):
        async with wire.conn.cursor().copy("COPY numbers FROM STDIN") as copy:
            for value in range(1000):
                await copy.write_row((value,))
        await number(wire, 1)
        async with wire.conn.cursor().copy("COPY numbers TO STDOUT") as copy:
            assert len([row async for row in copy.rows()]) % 1000 == 0
        await number(wire, 2)


async def test_it_waits_for_the_end_of_a_copy_as_cursors_do(wire: Wire) -> None:
    await wire.conn.execute("CREATE TEMP TABLE numbers (n int)")
    await number(wire, 1)
    for made in (NUMBER, statement("SELECT %s::int, 'new'", 1)):
        async with wire.conn.cursor().copy("COPY numbers FROM STDIN") as copy:
            waiting = asyncio.ensure_future(wire.run(made, (1,)))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wire.run(made, (2,)), 0.01)
            await copy.write_row((2,))
        assert (await waiting).rowcount == 1
    assert (await wire.run(statement("SELECT count(*)::int FROM numbers", 0), ())).rows == [(2,)]


@pytest.mark.parametrize("sql", ["COPY (SELECT 1) TO STDOUT", "COPY numbers FROM STDIN"])
async def test_copy_as_a_statement_is_an_error(wire: Wire, sql: str) -> None:
    await wire.conn.execute("CREATE TEMP TABLE numbers (n int)")
    with pytest.raises(psycopg.ProgrammingError, match="COPY"):
        await wire.run(statement(sql, 0), ())
    assert wire.conn.closed


async def test_notices_and_notifications_reach_their_handlers(wire: Wire) -> None:
    notices: list[str | None] = []
    got: list[str] = []
    wire.conn.add_notice_handler(lambda diag: notices.append(diag.message_primary))
    wire.conn.add_notify_handler(lambda notify: got.append(notify.payload))
    await wire.run(statement("LISTEN wired", 0), ())
    raising = statement("DO $$ BEGIN RAISE NOTICE 'careful'; END $$", 0)
    for _ in range(2):
        await wire.run(raising, ())
    assert notices == ["careful"] * 2
    notify = statement("SELECT pg_notify('wired', %s)", 1)
    for payload in ("a", "b"):
        await wire.run(notify, (payload,))
    await wire.run_many([(notify, ("c",)), (notify, ("d",))])
    assert got == ["a", "b", "c", "d"]


async def test_notifications_from_others_are_kept_for_psycopg(pool: Pool, wire: Wire) -> None:
    other = await lease(pool)
    await wire.run(statement("LISTEN wired", 0), ())
    await other.execute("NOTIFY wired, 'idle'")
    await until(lambda: not wire.attached)
    await number(wire, 1)
    await other.execute("NOTIFY wired, 'later'")
    seen = [each.payload async for each in wire.conn.notifies(timeout=5, stop_after=2)]
    assert seen == ["idle", "later"]
    await number(wire, 2)
    await wire.conn.execute("UNLISTEN *")
    await give_back(other, pool)


async def test_tasks_take_turns(wire: Wire) -> None:
    async def query(value: int) -> None:
        cursor = await wire.conn.execute("SELECT %s::int, pg_sleep(0.001)", (value,))
        assert (await cursor.fetchall())[0][0] == value

    async def many(value: int) -> None:
        answers = await wire.run_many([(NUMBER, (value,)), (NUMBER, (value + 1,))])
        assert [getattr(each, "rows", each) for each in answers] == [[(value,)], [(value + 1,)]]

    await asyncio.gather(
        *[do(value) for value in range(30) for do in (query, lambda v: number(wire, v), many)]
    )
    assert_clean(wire.conn)


async def test_psycopgs_pipeline(wire: Wire) -> None:
    async with wire.conn.pipeline():
        assert wire_of(wire.conn) is None
        await wire.conn.execute("SELECT 1")
    assert wire_of(wire.conn) is wire
    await number(wire, 1)


async def test_connections_which_are_not_ours_have_none(pool: Pool) -> None:
    plain = await psycopg.AsyncConnection.connect(**await pool._resolve_kwargs())
    assert wire_of(plain) is None
    close_now(plain)
    assert plain.closed


async def test_other_client_encodings_are_left_to_cursors(pool: Pool) -> None:
    conn = await lease(pool)
    await conn.execute("SET client_encoding = 'LATIN1'")
    assert wire_of(conn) is None
    await conn.execute("RESET client_encoding")
    wire = wire_of(conn)
    assert wire is not None
    await number(wire, 1)
    await give_back(conn, pool)


@pytest.mark.parametrize("way", ["close_now", "close", "give_back", "killed"])
async def test_a_new_socket_with_the_number_of_a_closed_one(
    pool: Pool, way: str, observer: psycopg.Connection[Any]
) -> None:
    """A closed socket that is still registered would break the next one of that number."""
    closed: set[int] = set()
    numbers: set[int] = set()
    for _ in range(5):
        conn = await lease(pool)
        wire = wire_of(conn)
        assert wire is not None
        await number(wire, 1)
        closed.add(conn.fileno())
        if way == "close_now":
            close_now(conn)
        elif way == "close":
            await conn.close()
        elif way == "give_back":
            await give_back(conn, pool, soiled=True)
        else:
            terminate(observer, conn.info.backend_pid)
            with pytest.raises(psycopg.OperationalError):
                await number(wire, 2)
        kwargs = await pool._resolve_kwargs()
        assert conn.closed
        others = [await psycopg.AsyncConnection.connect(**kwargs) for _ in range(3)]
        numbers.update(other.fileno() for other in others)
        for other in others:
            await other.execute("SELECT 1")
            close_now(other)
        if way != "give_back":
            await give_back(conn, pool)
    assert closed & numbers, "the test is about numbers used again"


async def test_in_blocks_beside_djangos_cursors() -> None:
    """The connection of a block serves Django's sync code in the bridge, and the wire."""

    def pid() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            found: int = cursor.fetchone()[0]
            return found

    mine = statement("SELECT pg_backend_pid()", 0)
    async with atomic():
        aconn: Any = await run_sync(lambda: connection.connection._aconn if pid() else None)
        wire = wire_of(aconn)
        assert wire is not None
        for _ in range(3):
            assert (await wire.run(mine, ())).rows == [(await run_sync(pid),)]
        async with atomic():
            assert (await wire.run(mine, ())).rows == [(await run_sync(pid),)]
        assert await run_sync(lambda: transaction.get_connection().in_atomic_block)
    assert (await wire.run(mine, ())).rowcount == 1
    assert aconn in pool_in_use()._pool


async def test_cursors_in_the_bridge_use_the_socket_as_it_is_registered(
    observer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[object] = []
    original = psycopg.waiting.wait_async

    async def wait_async(gen: Any, *args: Any, **kwargs: Any) -> Any:
        waits.append(gen)
        return await original(gen, *args, **kwargs)

    def ask(sql: str, *params: object) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchone()

    assert await run_sync(ask, "SELECT %s::int", 0) == (0,)  # once, to connect
    monkeypatch.setattr(psycopg.waiting, "wait_async", wait_async)
    for value in range(3):
        assert await run_sync(ask, "SELECT %s::int, pg_sleep(0.01)", value) == (value, "")
    assert await run_sync(ask, "SELECT repeat('x', 10000000)") == ("x" * 10_000_000,)
    with pytest.raises(DatabaseError, match="division by zero"):
        await run_sync(ask, "SELECT 1 / 0")
    assert not waits
    wires = {conn.__dict__["wire"] for conn in pool_in_use()._pool}
    assert [(wire.listening, wire.attached) for wire in wires] == [(True, False)]

    # More than the socket takes at once, and an interrupted statement, are psycopg's.
    assert await run_sync(ask, "SELECT length(%s)", "x" * 30_000_000) == (30_000_000,)
    assert len(waits) == 1
    task = asyncio.ensure_future(run_sync(ask, "SELECT pg_sleep(30)"))
    await until(lambda: asleep(observer))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(waits) >= 3
    assert await run_sync(ask, "SELECT 1") == (1,)
    assert {conn.__dict__["wire"] for conn in pool_in_use()._pool} == wires, "none had to be closed"


async def test_the_server_ends_the_session_while_a_cursor_in_the_bridge_waits(
    observer: psycopg.Connection[Any],
) -> None:
    def sleep() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.append(cursor.fetchone()[0])
            cursor.execute("SELECT pg_sleep(30)")

    pids: list[int] = []
    task = asyncio.ensure_future(run_sync(sleep))
    await until(lambda: asleep(observer))
    terminate(observer, *pids)
    with pytest.raises(OperationalError) as caught:
        await task
    assert isinstance(caught.value.__cause__, psycopg.errors.AdminShutdown)


async def test_a_task_can_run_the_loop_with_nest_asyncio(
    make_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in notebooks: what reads the socket is not under way while a task goes on."""
    loop: Any = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        pytest.skip("nest_asyncio patches asyncio's loops only")
    monkeypatch.setattr(type(loop), "_nest_patched", True, raising=False)
    pool = await make_pool()
    conn = await lease(pool)
    wire = wire_of(conn)
    assert wire is not None
    for value in range(3):
        await number(wire, value)
        reader, _ = loop._selector.get_key(wire.socket).data
        reader._context.run(lambda: None)
    await give_back(conn, pool)
