"""Several statements in one round trip."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel, errors
from psycopg.pq import TransactionStatus

from tests.runtime.wire.conftest import assert_clean
from tests.runtime.wire.test_prepared import Traffic
from turbo_orm.db import prepared
from turbo_orm.db.statements import Statement, statement
from turbo_orm.db.wire import Result, Wire

NUMBER = statement("SELECT %s::int", 1)
FRACTION = statement("SELECT 10 / %s::int", 1)
INSERT = statement("INSERT INTO numbers VALUES (%s)", 1)
COUNT = statement("SELECT count(*)::int FROM numbers", 0)


@pytest.fixture
async def numbers(wire: Wire) -> None:
    await wire.conn.execute("CREATE TEMP TABLE numbers (n int PRIMARY KEY)")


def plain(answers: list[Result | Exception]) -> list[Any]:
    return [type(each) if isinstance(each, Exception) else each.rows or each.rowcount for each in answers]


async def test_in_order_in_one_round_trip(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic(wire, monkeypatch)
    work: list[tuple[Statement, tuple[Any, ...]]] = [(NUMBER, (n,)) for n in range(50)]
    work.append((statement("SELECT 'x' WHERE false", 0), ()))
    answers = await wire.run_many(work)
    assert [each.rows for each in answers if isinstance(each, Result)] == [[(n,)] for n in range(50)] + [[]]
    assert traffic.round_trips == 1
    assert await wire.run_many([]) == []
    assert_clean(wire.conn)


async def test_what_is_used_stays_prepared(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "PREPARED_MAX", 3)
    for number in range(10):
        answers = await wire.run_many([(statement(f"SELECT {number}", 0), ()), (NUMBER, (1,))])
        assert plain(answers) == [[(number,)], [(1,)]]
    assert wire.prepared.new_name().endswith(b"_12"), "one for each of ten, and for what all have used"


@pytest.mark.parametrize("again", [False, True])
async def test_errors_stay_alone(wire: Wire, numbers: None, again: bool) -> None:
    work: list[tuple[Statement, tuple[Any, ...]]] = [
        (INSERT, (1,)),
        (INSERT, (1,)),
        (FRACTION, (0,)),
        (NUMBER, (object(),)),
        (statement("SELEC", 0), ()),
        (INSERT, (2,)),
        (FRACTION, (5,)),
        (COUNT, ()),
    ]
    if again:  # everything prepared
        await wire.run_many(work)
        await wire.conn.execute("TRUNCATE numbers")
    answers = await wire.run_many(work)
    assert plain(answers) == [
        1,
        errors.UniqueViolation,
        errors.DivisionByZero,
        psycopg.ProgrammingError,
        errors.SyntaxError,
        1,
        [(2,)],
        [(2,)],
    ]
    assert_clean(wire.conn)


async def test_in_a_transaction(wire: Wire, numbers: None) -> None:
    await wire.conn.set_autocommit(False)
    answers = await wire.run_many([(INSERT, (1,)), (COUNT, ())])
    assert plain(answers) == [1, [(1,)]]
    assert wire.pgconn.transaction_status == TransactionStatus.INTRANS
    refused = statement("SELECT left('abc', %s)", 1)
    answers = await wire.run_many([(INSERT, (2,)), (refused, (2**40,)), (COUNT, ())])
    assert plain(answers) == [1, errors.UndefinedFunction, [(2,)]], "a refusal breaks nothing"
    answers = await wire.run_many([(COUNT, ()), (NUMBER, (object(),)), (COUNT, ())])
    assert plain(answers) == [[(2,)], psycopg.ProgrammingError, [(2,)]], "it was not sent"
    answers = await wire.run_many([(INSERT, (3,)), (INSERT, (3,)), (COUNT, ())])
    assert plain(answers) == [1, errors.UniqueViolation, errors.InFailedSqlTransaction]
    assert wire.pgconn.transaction_status == TransactionStatus.INERROR
    await wire.conn.rollback()
    assert (await wire.run(COUNT, ())).rows == [(0,)]
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)


async def test_a_transaction_that_does_not_begin(wire: Wire, numbers: None) -> None:
    """As where its BEGIN is cancelled: none of the statements is executed, and committed, without it."""
    conn: Any = wire.conn
    await wire.run(INSERT, (0,))
    await conn.set_autocommit(False)
    conn._isolation_level, conn._begin_statement = IsolationLevel.SERIALIZABLE, b"BEGIN AND FAIL"
    with pytest.raises(errors.SyntaxError):
        await wire.run_many([(INSERT, (1,)), (INSERT, (2,))])
    assert_clean(conn)
    conn._autocommit, conn._isolation_level, conn._begin_statement = True, None, b""
    assert plain(await wire.run_many([(COUNT, ())])) == [[(1,)]]


async def test_what_follows_an_error_as_a_transaction_begins(wire: Wire, numbers: None) -> None:
    await wire.conn.set_autocommit(False)
    for _ in range(2):
        answers = await wire.run_many([(INSERT, (1,)), (FRACTION, (0,)), (COUNT, ())])
        assert plain(answers) == [1, errors.DivisionByZero, errors.InFailedSqlTransaction]
        assert "current transaction is aborted" in str(answers[2])
        await wire.conn.rollback()
    await wire.conn.set_autocommit(True)
    assert_clean(wire.conn)


@pytest.mark.parametrize("prepares", [True, False])
async def test_a_refusal_as_a_transaction_begins(wire: Wire, numbers: None, prepares: bool) -> None:
    wire.conn.prepares = prepares
    await wire.conn.set_autocommit(False)
    refused = statement("SELECT left('abc', %s)", 1)
    work: list[tuple[Statement, tuple[Any, ...]]] = [(INSERT, (1,)), (refused, (2**40,)), (COUNT, ())]
    assert plain(await wire.run_many(work)) == [1, errors.UndefinedFunction, [(1,)]]
    assert refused.refused
    assert wire.pgconn.transaction_status == TransactionStatus.INTRANS
    await wire.conn.rollback()
    await wire.conn.set_autocommit(True)
    assert (await wire.run(COUNT, ())).rows == [(0,)]


@pytest.mark.parametrize("autocommit", [True, False])
async def test_stale_statements(wire: Wire, numbers: None, autocommit: bool) -> None:
    every = statement("SELECT * FROM numbers", 0)
    work: list[tuple[Statement, tuple[Any, ...]]] = [(INSERT, (1,)), (every, ()), (NUMBER, (5,))]
    assert plain(await wire.run_many(work)) == [1, [(1,)], [(5,)]]
    for change, row in (("ALTER TABLE numbers ADD b int", (2, None)), ("DISCARD PLANS", (2, None))):
        await wire.conn.execute("DELETE FROM numbers")
        await wire.conn.execute(change)
        work[0] = (INSERT, (2,))
        if not autocommit:
            await wire.conn.set_autocommit(False)
        assert plain(await wire.run_many(work)) == [1, [row], [(5,)]]
        await wire.conn.commit()
        await wire.conn.set_autocommit(True)
    await wire.conn.execute("DELETE FROM numbers")
    await wire.conn.execute("DEALLOCATE ALL")
    assert plain(await wire.run_many(work)) == [1, [(2, None)], [(5,)]]
    assert_clean(wire.conn)


async def test_big_ones(wire: Wire) -> None:
    """More than fits into all the buffers on the way, in both directions."""
    echo = statement("SELECT %s::text", 1)
    big = "x" * 3_000_000
    answers = await wire.run_many([(echo, (big,)) for _ in range(20)])
    assert [each.rows for each in answers if isinstance(each, Result)] == [[(big,)]] * 20


async def test_cancellation(wire: Wire) -> None:
    sleep = statement("SELECT pg_sleep(%s)", 1)
    for _ in range(3):
        task = asyncio.ensure_future(wire.run_many([(NUMBER, (1,)), (sleep, (30,)), (sleep, (0.01,))]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert_clean(wire.conn)
        assert (await wire.run(NUMBER, (7,))).rows == [(7,)]
