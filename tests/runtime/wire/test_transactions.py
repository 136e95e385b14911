"""In and out of transactions as psycopg's cursors."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel, errors
from psycopg.pq import TransactionStatus

from tests.runtime.wire.conftest import assert_clean, run_in_transaction
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import Wire

NAME = statement("SELECT current_setting(%s)", 1)
ONE = statement("SELECT 1", 0)


async def test_a_transaction_begins_with_its_first_statement(wire: Wire) -> None:
    conn = wire.conn
    await conn.set_autocommit(False)
    await conn.set_isolation_level(IsolationLevel.SERIALIZABLE)
    await conn.set_read_only(True)
    for expected in range(2):  # prepared in the first transaction, known in the second
        assert conn.pgconn.transaction_status == TransactionStatus.IDLE
        assert (await wire.run(NAME, ("transaction_isolation",))).rows == [("serializable",)]
        assert conn.pgconn.transaction_status == TransactionStatus.INTRANS
        assert (await wire.run(NAME, ("transaction_read_only",))).rows == [("on",)]
        if expected:
            await conn.rollback()
        else:
            await wire.run(statement("COMMIT", 0), ())
    await conn.set_isolation_level(None)
    await conn.set_read_only(None)
    await conn.set_autocommit(True)


@pytest.mark.parametrize("end", [b"COMMIT", b"ROLLBACK"])
async def test_settings_of_a_transaction_end_with_it(wire: Wire, end: bytes) -> None:
    conn = wire.conn
    text, day = statement("SELECT %s::text", 1), statement("SELECT '2001-02-03'::date", 0)
    await conn.set_autocommit(False)
    for _ in range(2):
        await conn.execute("SET LOCAL client_encoding TO 'LATIN1'")
        await conn.execute("SET LOCAL DateStyle TO 'German'")
        assert (await wire.run(text, ("ä",))).rows == [("ä",)]
        with pytest.raises(UnicodeEncodeError):
            await wire.run(text, ("€",))
        assert (await wire.run(day, ())).rows == [(date(2001, 2, 3),)]
        await wire.command(end)
        assert (await wire.run(text, ("ä€",))).rows == [("ä€",)]
        assert (await wire.run(day, ())).rows == [(date(2001, 2, 3),)]
        await wire.command(end)
    await conn.set_autocommit(True)
    assert_clean(conn)


async def test_commit_and_rollback(wire: Wire) -> None:
    conn = wire.conn
    await conn.execute("CREATE TEMP TABLE numbers (n int UNIQUE)")
    insert = statement("INSERT INTO numbers VALUES (%s)", 1)
    count = statement("SELECT count(*) FROM numbers", 0)
    await conn.set_autocommit(False)
    for end, expected in ((conn.commit, 1), (conn.rollback, 1), (conn.commit, 2)):
        await wire.run(insert, (expected + (end == conn.rollback) * 10,))
        await end()
        assert (await wire.run(count, ())).rows == [(expected,)]
        await conn.rollback()
    with pytest.raises(errors.UniqueViolation) as caught:
        await wire.run(insert, (1,))
    assert caught.value.diag.constraint_name == "numbers_n_key"
    assert conn.pgconn.transaction_status == TransactionStatus.INERROR
    with pytest.raises(errors.InFailedSqlTransaction):
        await wire.run(count, ())
    await conn.rollback()
    await conn.set_autocommit(True)
    assert_clean(conn)


async def test_begin_travels_with_the_statement(wire: Wire) -> None:
    for read_only, expected in ((None, "off"), (True, "on")):
        result = await run_in_transaction(wire, NAME, ("transaction_read_only",), read_only=read_only)
        assert result.rows == [(expected,)]
        assert wire.pgconn.transaction_status == TransactionStatus.INTRANS
        await wire.run(statement("ROLLBACK", 0), ())
    with pytest.raises(errors.DivisionByZero):
        await run_in_transaction(wire, statement("SELECT 1 / %s", 1), (0,))
    assert wire.pgconn.transaction_status == TransactionStatus.INERROR
    await wire.run(statement("ROLLBACK", 0), ())
    assert_clean(wire.conn)


async def test_savepoints_and_psycopgs_transaction(wire: Wire) -> None:
    conn = wire.conn
    async with conn.transaction():
        assert (await wire.run(ONE, ())).rows == [(1,)]
        with pytest.raises(errors.DivisionByZero):
            async with conn.transaction():
                await wire.run(statement("SELECT 1 / %s", 1), (0,))
        assert (await wire.run(ONE, ())).rows == [(1,)]
    assert_clean(conn)


async def test_read_only_transactions_refuse_writes(wire: Wire) -> None:
    with pytest.raises(errors.ReadOnlySqlTransaction):
        await run_in_transaction(wire, statement("CREATE TABLE nothing ()", 0), (), read_only=True)
    await wire.run(statement("ROLLBACK", 0), ())


async def test_errors_are_psycopgs(wire: Wire) -> None:
    cursor = psycopg.AsyncCursor(wire.conn)
    await cursor.execute("CREATE TEMP TABLE strict (n int NOT NULL CHECK (n > 0), t varchar(2))")
    cases: list[tuple[str, tuple[Any, ...]]] = [
        ("INSERT INTO strict VALUES (%s)", (None,)),
        ("INSERT INTO strict VALUES (%s)", (-1,)),
        ("INSERT INTO strict VALUES (1, %s)", ("abc",)),
        ("SELECT %s::int", ("x",)),
        ("SELECT %s::smallint", (2**20,)),
        ("SELEC %s", (1,)),
        ("SELECT nonexistent", ()),
    ]
    for sql, params in cases:
        with pytest.raises(psycopg.Error) as expected:
            await cursor.execute(sql, params, prepare=True)
        for _ in range(2):
            with pytest.raises(type(expected.value)) as got:
                await wire.run(statement(sql, len(params)), params)
            assert str(got.value) == str(expected.value)
            assert vars(got.value.diag).keys() == vars(expected.value.diag).keys()
            for part in (
                "sqlstate",
                "severity",
                "table_name",
                "column_name",
                "constraint_name",
                "source_line",
            ):
                assert getattr(got.value.diag, part) == getattr(expected.value.diag, part)
        assert_clean(wire.conn)


async def test_commands(wire: Wire) -> None:
    """What ends a transaction must not depend on a prepared statement that may have vanished."""
    for end, expected in ((b"ROLLBACK", 0), (b"COMMIT", 1)):
        await wire.command(b"CREATE TEMP TABLE IF NOT EXISTS ended (n int)")
        await run_in_transaction(wire, statement("INSERT INTO ended VALUES (1)", 0), ())
        await wire.conn.execute("DEALLOCATE ALL")
        await wire.command(end)
        assert_clean(wire.conn)
        assert (await wire.run(statement("SELECT count(*)::int FROM ended", 0), ())).rows == [(expected,)]
    with pytest.raises(errors.SyntaxError):
        await wire.command(b"COMIT")
    assert_clean(wire.conn)
