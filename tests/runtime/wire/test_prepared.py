"""Prepared statements: made in one round trip, bounded, and made anew when they went stale."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel, errors
from psycopg.pq import TransactionStatus

from tests.runtime.wire.conftest import assert_clean, run_in_transaction
from turbo_orm.db import prepared
from turbo_orm.db.leases import give_back, lease, put_idle, take_idle
from turbo_orm.db.statements import Statement, fetching, statement
from turbo_orm.db.wire import Wire, wire_of

NONE = statement("SELECT 1", 0)
ON_SERVER = statement(
    "SELECT count(*), count(*) FILTER (WHERE name LIKE 'turbo_%%') FROM pg_prepared_statements", 0
)


class Traffic:
    """Stands before a wire's `PGconn`, and counts the times all that was queued has been sent."""

    def __init__(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pgconn = wire.pgconn
        self.round_trips = 0
        monkeypatch.setattr(wire, "pgconn", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pgconn, name)

    def flush(self) -> int:
        left: int = self._pgconn.flush()
        self.round_trips += not left
        return left


@pytest.fixture
def traffic(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    return Traffic(wire, monkeypatch)


async def on_server(wire: Wire) -> set[str]:
    cursor = psycopg.AsyncCursor(wire.conn)
    await cursor.execute("SELECT name FROM pg_prepared_statements")
    return {name for (name,) in await cursor.fetchall()}


async def rows(wire: Wire, made: Statement, *params: Any) -> Any:
    return (await wire.run(made, params)).rows


async def test_the_first_use_costs_no_additional_round_trip(wire: Wire, traffic: Traffic) -> None:
    made = statement("SELECT %s::int", 1)
    assert await rows(wire, made, 1) == [(1,)]
    assert traffic.round_trips == 1
    assert await rows(wire, made, 2) == [(2,)]
    assert traffic.round_trips == 2
    assert len(await on_server(wire)) == 1


async def test_there_are_not_too_many(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "PREPARED_MAX", 5)
    made = [statement(f"SELECT {number}", 0) for number in range(20)]
    for number, each in enumerate(made):
        assert await rows(wire, each) == [(number,)]
        assert await rows(wire, made[0]) == [(0,)]
    assert len(wire.prepared.names) == 5
    assert len(await on_server(wire)) <= 6  # the last one goes with the next preparation
    assert made[0] in {known for known, _ in wire.prepared.names}, "used most often, and dropped"
    assert await rows(wire, made[1]) == [(1,)]
    assert_clean(wire.conn)


async def test_they_can_be_closed_by_sql(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libpq before version 17 needs it."""
    monkeypatch.setattr("turbo_orm.db.pipeline._CAN_CLOSE_PREPARED", False)
    monkeypatch.setattr(prepared, "PREPARED_MAX", 2)
    for number in range(10):
        assert await rows(wire, statement(f"SELECT {number}", 0)) == [(number,)]
    assert len(await on_server(wire)) <= 3


async def test_names_differ_from_psycopgs_and_other_connections(wire: Wire) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    wire.conn.prepare_threshold = 0
    await cursor.execute("SELECT 1")
    await rows(wire, statement("SELECT 1", 0))
    names = await on_server(wire)
    assert len([name for name in names if name.startswith("_pg3_")]) == len(names) - 1 > 0
    assert prepared.Prepared().new_name() != prepared.Prepared().new_name()


async def test_ddl_between_uses(wire: Wire) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    await cursor.execute("CREATE TEMP TABLE changing (a int)")
    await cursor.execute("INSERT INTO changing VALUES (1)")
    made = statement("SELECT * FROM changing", 0)
    assert await rows(wire, made) == [(1,)]
    await cursor.execute("ALTER TABLE changing ADD COLUMN b text DEFAULT 'x'")
    assert await rows(wire, made) == [(1, "x")]
    await cursor.execute("ALTER TABLE changing ALTER COLUMN a TYPE text")
    assert await rows(wire, made) == [("1", "x")]
    await cursor.execute("ALTER TABLE changing DROP COLUMN a")
    assert await rows(wire, made) == [("x",)]
    assert_clean(wire.conn)


async def test_ddl_before_the_first_statement_of_a_transaction(wire: Wire) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    await cursor.execute("CREATE TEMP TABLE changing (a int)")
    made = statement("SELECT * FROM changing", 0)
    await rows(wire, made)
    await cursor.execute("ALTER TABLE changing ADD COLUMN b text")
    await wire.conn.set_autocommit(False)
    assert await rows(wire, made) == []
    assert wire.pgconn.transaction_status == TransactionStatus.INTRANS
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)
    await cursor.execute("ALTER TABLE changing DROP COLUMN b")
    result = await run_in_transaction(wire, made, (), isolation_level=IsolationLevel.SERIALIZABLE)
    assert result.rows == []
    assert await rows(wire, statement("SHOW transaction_isolation", 0)) == [("serializable",)]
    await wire.run(statement("ROLLBACK", 0), ())


async def test_ddl_in_the_middle_of_a_transaction_is_an_error_once(wire: Wire) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    await cursor.execute("CREATE TEMP TABLE changing (a int)")
    made = statement("SELECT * FROM changing", 0)
    await rows(wire, made)
    await wire.conn.set_autocommit(False)
    await rows(wire, NONE)
    await cursor.execute("ALTER TABLE changing ADD COLUMN b text")
    with pytest.raises(errors.FeatureNotSupported, match="cached plan"):
        await rows(wire, made)
    assert wire.pgconn.transaction_status == TransactionStatus.INERROR
    await wire.conn.rollback()
    await cursor.execute("ALTER TABLE changing ADD COLUMN b text")
    assert await rows(wire, made) == []
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)


async def test_ddl_is_an_error_once_in_the_transactions_of_a_pool(make_pool: Any) -> None:
    pool = await make_pool()
    conns = [await lease(pool) for _ in range(3)]
    wires: Any = [wire_of(conn) for conn in conns]
    made = [statement(f"SELECT * FROM changing_for_all WHERE a > {number}", 0) for number in range(3)]
    await conns[0].execute("CREATE TABLE changing_for_all (a int)")
    try:
        for each in wires:
            for one in made:
                await rows(each, one)
        await conns[0].execute("ALTER TABLE changing_for_all ALTER COLUMN a TYPE bigint")
        assert put_idle(conns[2], pool)
        for conn in conns[:2]:
            await conn.set_autocommit(False)
        for each in wires[:2]:
            await rows(each, NONE)
        with pytest.raises(errors.FeatureNotSupported, match="cached plan"):
            await rows(wires[0], made[0])
        await conns[0].rollback()
        assert take_idle(pool) is conns[2]
        await conns[2].set_autocommit(False)
        for each in wires:
            await rows(each, NONE)
            for one in made:
                assert await rows(each, one) == []
            assert len(await on_server(each)) == 4, "the former ones are closed"
            await each.conn.rollback()
    finally:
        await conns[0].execute("DROP TABLE changing_for_all")
        await conns[0].commit()
        for conn in conns:
            await give_back(conn, pool)


async def test_a_type_that_was_created_again(wire: Wire) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    for _ in range(3):
        await cursor.execute("CREATE TYPE pg_temp.mood AS ENUM ('ok')")
        await cursor.execute("CREATE TEMP TABLE moods (m pg_temp.mood)")
        await cursor.execute("INSERT INTO moods VALUES ('ok')")
        made = statement("SELECT m FROM moods WHERE m = %s", 1)
        for _ in range(2):
            assert await rows(wire, made, "ok") == [("ok",)]
        await cursor.execute("DROP TABLE moods")
        await cursor.execute("DROP TYPE pg_temp.mood")


@pytest.mark.parametrize("command", ["DISCARD ALL", "DEALLOCATE ALL"])
async def test_when_others_drop_them(wire: Wire, command: str) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    made = statement("SELECT %s::int", 1)
    await rows(wire, made, 1)
    await cursor.execute(command)
    assert await rows(wire, made, 2) == [(2,)]
    assert await rows(wire, NONE) == [(1,)]
    await cursor.execute(command)
    await wire.conn.set_autocommit(False)
    assert await rows(wire, made, 3) == [(3,)], "the first statement of a transaction can be repeated"
    await cursor.execute("DEALLOCATE ALL")
    with pytest.raises(errors.InvalidSqlStatementName):
        await rows(wire, made, 4)
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)
    assert await rows(wire, made, 5) == [(5,)]


async def test_psycopg_dropping_them_all_is_noticed(wire: Wire) -> None:
    """It does so after a rollback if it has prepared statements of its own."""
    wire.conn.prepare_threshold = 0
    cursor = psycopg.AsyncCursor(wire.conn)
    made = statement("SELECT %s::int", 1)
    await rows(wire, made, 1)
    await wire.conn.set_autocommit(False)
    await cursor.execute("SELECT %s::int", (5,))
    await wire.conn.rollback()
    assert not wire.prepared.names
    await cursor.execute("SELECT 1")
    assert await rows(wire, made, 2) == [(2,)]
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)


async def test_when_they_keep_vanishing_none_are_prepared(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """As behind a pooler in transaction mode which does not know them."""
    cursor = psycopg.AsyncCursor(wire.conn)
    made = statement("SELECT %s::int", 1)
    for number in range(6):
        assert await rows(wire, made, number) == [(number,)]
        await cursor.execute("DISCARD ALL")
    assert "keep vanishing" in caplog.text
    assert not wire.conn.prepares
    assert not wire.conn._pool.prepares  # type: ignore[union-attr]  # it is lent by one
    assert await rows(wire, made, 7) == [(7,)]
    assert await on_server(wire) == set()


async def test_without_preparing(wire: Wire, traffic: Traffic) -> None:
    wire.conn.prepares = False
    made = statement("SELECT %s::int", 1)
    for number in range(3):
        assert await rows(wire, made, number) == [(number,)]
    assert traffic.round_trips == 3
    assert await rows(wire, statement("CREATE TEMP TABLE changing (a int)", 0)) is None
    every = statement("SELECT * FROM changing", 0)
    assert await rows(wire, every) == []
    await rows(wire, statement("ALTER TABLE changing ADD COLUMN b text", 0))
    await rows(wire, statement("INSERT INTO changing VALUES (1, 'x')", 0))
    assert await rows(wire, every) == [(1, "x")]
    assert await on_server(wire) == set()
    await wire.conn.set_autocommit(False)
    assert await rows(wire, made, 1) == [(1,)]
    with pytest.raises(errors.UndefinedFunction):
        await rows(wire, refused := statement("SELECT left('abc', %s)", 1), 2**40)
    assert refused.refused
    assert await rows(wire, made, 2) == [(2,)], "the transaction goes on"
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)


async def test_a_refusal(wire: Wire) -> None:
    made = statement("SELECT left('abc', %s)", 1)
    with pytest.raises(errors.UndefinedFunction):
        await rows(wire, made, 2**40)
    assert made.refused
    assert not made.proven
    assert_clean(wire.conn)
    unknown = statement("SELECT * FROM nonexistent", 0)
    with pytest.raises(errors.UndefinedTable):
        await rows(wire, unknown)
    assert not unknown.refused, "a cursor could not execute it either"


async def test_after_a_beginning(wire: Wire) -> None:
    made = statement("SELECT left('abc', %s)", 1)
    await wire.conn.set_autocommit(False)
    refused = made.after("DECLARE refused CURSOR FOR ")
    with pytest.raises(errors.UndefinedFunction):
        await rows(wire, refused, 2**40)
    assert refused.refused
    declaring = made.after("DECLARE declared CURSOR FOR ")
    assert await rows(wire, declaring, 2) is None, "the transaction goes on"
    assert await rows(wire, fetching("declared", 5, {})) == [("ab",)]
    types = wire.bind(made, [2]).key[1]
    assert made.accepted(types), "the server has seen as much of it as it would have alone"
    assert await on_server(wire) == set()
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)


async def test_a_refusal_does_not_break_a_transaction(wire: Wire, traffic: Traffic) -> None:
    await wire.conn.set_autocommit(False)
    made = statement("SELECT left('abc', %s)", 1)
    with pytest.raises(errors.UndefinedFunction):
        await rows(wire, made, 2**40)
    assert wire.pgconn.transaction_status == TransactionStatus.IDLE, "it was the first"
    await rows(wire, NONE)
    traffic.round_trips = 0
    await rows(wire, statement("SELECT 5", 0))
    assert traffic.round_trips == 1, "a new statement in a transaction"
    for _ in range(2):
        with pytest.raises(errors.UndefinedFunction):
            await rows(wire, statement("SELECT left('abc', %s)", 1), 2**40)
        assert wire.pgconn.transaction_status == TransactionStatus.INTRANS
    assert await rows(wire, NONE) == [(1,)]
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)


async def test_other_errors_break_a_transaction(wire: Wire) -> None:
    """As everywhere, also in a statement's first use."""
    await wire.conn.set_autocommit(False)
    for sql, params in (("SELECT 1 / %s", (0,)), ("SELECT * FROM nonexistent", ())):
        await rows(wire, NONE)
        with pytest.raises(psycopg.Error):
            await rows(wire, statement(sql, len(params)), *params)
        assert wire.pgconn.transaction_status == TransactionStatus.INERROR
        with pytest.raises(errors.InFailedSqlTransaction):
            await rows(wire, statement("SELECT 99", 0))
        await wire.conn.rollback()
    await wire.conn.set_autocommit(True)


async def test_an_interrupted_first_use_leaves_it_usable(wire: Wire) -> None:
    made = statement("SELECT pg_sleep(%s)", 1)
    task = asyncio.ensure_future(wire.run(made, (10,)))
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert_clean(wire.conn)
    assert await rows(wire, made, 0) == [("",)]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("can_close", [False, True])
async def test_interrupted_first_uses_leave_none_behind(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, several: bool, can_close: bool
) -> None:
    if not can_close:
        monkeypatch.setattr("turbo_orm.db.pipeline._CAN_CLOSE_PREPARED", False)
    made = statement("SELECT pg_sleep(%s)", 1)
    for _ in range(5):
        work = wire.run_many([(made, (30,))] * 2) if several else wire.run(made, (30,))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(work, 0.02)
    assert_clean(wire.conn)
    assert len(await on_server(wire)) <= 1, "the last one goes with the next preparation"


async def test_an_unknown_one_is_not_closed_in_a_transaction(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQL is needed for it, that would be an error."""
    monkeypatch.setattr("turbo_orm.db.pipeline._CAN_CLOSE_PREPARED", False)
    wire.prepared.unneeded.append(b"turbo_unknown")
    await wire.conn.set_autocommit(False)
    await rows(wire, statement("SELECT 1", 0))
    await rows(wire, statement("SELECT 2", 0))
    await wire.run_many([(statement("SELECT 3", 0), ())])
    assert wire.pgconn.transaction_status == TransactionStatus.INTRANS
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)
    assert await rows(wire, statement("SELECT 4", 0)) == [(4,)]
    assert wire.prepared.unneeded == []
    assert_clean(wire.conn)
