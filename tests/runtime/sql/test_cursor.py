"""`cursor()` is Django's cursor, awaited."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, connection, transaction
from django.test import override_settings
from django.utils.connection import ConnectionDoesNotExist

from tests.project.library.models import Author, Tag
from tests.runtime.support import assert_pool_is_clean, backend_pid, destroy_when, query
from turbo_orm import atomic, cursor, run_sync
from turbo_orm.errors import ConnectionReleasedError, LoopMismatchError


async def test_fetching():
    async with cursor() as c:
        assert await c.execute("SELECT n, n * %s FROM generate_series(1, 5) n", [10]) is c
        assert [column.name for column in c.description] == ["n", "?column?"]
        assert c.rowcount == 5
        assert await c.fetchone() == (1, 10)
        assert await c.fetchmany() == [(2, 20)]
        assert await c.fetchmany(2) == [(3, 30), (4, 40)]
        assert await c.fetchall() == [(5, 50)]
        assert await c.fetchone() is None
        await c.execute("SELECT %(a)s::int", {"a": 7})
        assert [row async for row in c] == [(7,)]
    await assert_pool_is_clean()


async def test_executemany_and_callproc():
    async with cursor() as c:
        await c.executemany("INSERT INTO library_tag (label) VALUES (%s)", [["a"], ["b"]])
        assert c.rowcount == 2
        await c.callproc("length", ["four"])
        assert await c.fetchall() == [(4,)]
    assert await Tag.objects.acount() == 2


async def test_has_one_connection_of_its_own():
    async with cursor() as c:
        pids = {(await (await c.execute("SELECT pg_backend_pid()")).fetchone())[0] for _ in range(3)}
        assert len(pids) == 1
        assert await run_sync(backend_pid) not in pids
        await c.execute("CREATE TEMP TABLE mine (a int)")
        await c.execute("INSERT INTO mine VALUES (1)")
        await c.execute("DROP TABLE mine")
    await assert_pool_is_clean()


async def test_joins_the_block():
    with pytest.raises(LookupError):
        async with atomic(), cursor() as c:
            await c.execute("SELECT pg_backend_pid()")
            assert await c.fetchone() == (await run_sync(backend_pid),)
            await c.execute("INSERT INTO library_tag (label) VALUES ('x')")
            assert await Tag.objects.acount() == 1
            raise LookupError
    assert await Tag.objects.acount() == 0
    await assert_pool_is_clean()


async def test_other_aliases():
    async with cursor("other") as c:
        await c.execute("INSERT INTO library_tag (label) VALUES ('there')")
    assert await Tag.objects.acount() == 0
    assert await Tag.objects.using("other").acount() == 1
    with pytest.raises(ConnectionDoesNotExist, match="nope"):
        async with cursor("nope"):
            pass


async def test_steps_of_several_tasks():
    async with cursor() as c:

        async def add(number: int) -> None:
            await c.execute("INSERT INTO library_tag (label) VALUES (%s)", [str(number)])

        await asyncio.gather(*map(add, range(10)))
    async with atomic(), cursor() as c:
        await asyncio.gather(*map(add, range(10, 20)), *[Author.objects.acount() for _ in range(5)])
    assert await Tag.objects.acount() == 20
    await assert_pool_is_clean()


async def test_errors_are_djangos():
    async with cursor() as c:
        await c.execute("INSERT INTO library_tag (label) VALUES ('x')")
        with pytest.raises(IntegrityError) as caught:
            await c.execute("INSERT INTO library_tag (label) VALUES ('x')")
        assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)
        with pytest.raises(DatabaseError, match="nothing"):
            await c.execute("SELECT nothing")
        await c.execute("SELECT 1")
        assert await c.fetchone() == (1,)
    async with atomic(), cursor() as c:
        await run_sync(transaction.set_rollback, True)
        with pytest.raises(transaction.TransactionManagementError):
            await c.execute("SELECT 1")
    await assert_pool_is_clean()


async def test_execute_wrappers_and_the_query_log():
    calls: list[Any] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        calls.append((sql, params, many))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note), override_settings(DEBUG=True):
        connection.queries_log.clear()
        async with cursor() as c:
            await c.execute("SELECT %s::int", [1])
            await c.executemany("SELECT %s::int", [[1], [2]])
    assert calls == [("SELECT %s::int", [1], False), ("SELECT %s::int", [[1], [2]], True)]
    assert [each["sql"] for each in connection.queries_log] == [
        "SELECT 1::int",
        "2 times: SELECT %s::int",
    ]


async def test_left_in_a_transaction(caplog: pytest.LogCaptureFixture):
    async with cursor() as c:
        await c.execute("BEGIN")
        await c.execute("INSERT INTO library_tag (label) VALUES ('lost')")
    assert await Tag.objects.acount() == 0
    assert "was left in a transaction" in caplog.text
    await assert_pool_is_clean()


async def test_cancelled():
    async def sleep() -> None:
        async with cursor() as c:
            await c.execute("SELECT pg_sleep(30)")

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(sleep(), 0.1)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    assert await run_sync(query, sleeping) == [(0,)]
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_block", [False, True])
async def test_the_coroutine_is_destroyed(in_block: bool):
    asleep = asyncio.Event()

    async def use() -> None:
        async with cursor() as c:
            await c.execute("SELECT 1")
            asleep.set()
            await asyncio.sleep(30)

    async def run() -> None:
        async with atomic() if in_block else nullcontext():
            await use()

    await destroy_when(asleep.is_set, run())
    await asyncio.sleep(0)
    await assert_pool_is_clean()


async def test_after_its_end():
    async with cursor() as c:
        await c.execute("SELECT 1")
    with pytest.raises(ConnectionReleasedError, match=r"cursor\(\) was closed"):
        await c.execute("SELECT 1")
    with pytest.raises(InterfaceError, match="closed"):
        await c.fetchone()
    assert repr(c) == "<AsyncCursor closed on 'default'>"


async def test_after_the_block():
    block = atomic()
    await block.__aenter__()
    async with cursor() as c:
        await block.__aexit__(None, None, None)
        with pytest.raises(ConnectionReleasedError, match="block in which this cursor"):
            await c.execute("SELECT 1")
    await assert_pool_is_clean()


def test_in_another_loop(django_databases: None):
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    opening = cursor()
    try:
        c = first.run_until_complete(opening.__aenter__())

        async def use() -> None:
            with pytest.raises(LoopMismatchError, match="another event loop"):
                await c.execute("SELECT 1")

        second.run_until_complete(use())
        first.run_until_complete(c.execute("SELECT 1"))
        first.run_until_complete(opening.__aexit__(None, None, None))
        first.run_until_complete(assert_pool_is_clean())
    finally:
        for loop in (first, second):
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
