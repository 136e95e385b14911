"""COPY: rows in and out, many to a step, and never a connection left in the middle of one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from datetime import date
from typing import Any

import psycopg
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import override_settings

from tests.project.library.models import Tag
from tests.runtime.support import assert_pool_is_clean, backend_pid, destroy_when
from turbo_orm import atomic, cursor, run_sync
from turbo_orm.bridge import held
from turbo_orm.errors import BlockDeadlockError
from turbo_orm.testing import capture_queries

IN = "COPY library_tag (label) FROM STDIN"
OUT = "COPY (SELECT n, 'é' || n, DATE '2020-01-01' + n FROM generate_series(1, {}) n) TO STDOUT"
TYPES = ["int4", "text", "date"]


async def numbers(count: int) -> AsyncIterator[tuple[str]]:
    for number in range(count):
        if number % 100 == 0:
            await asyncio.sleep(0)
        yield (f"{number:05}",)


async def lines(count: int) -> AsyncIterator[bytes]:
    async for (label,) in numbers(count):
        yield label.encode() + b"\n"


ROWS = {
    "tuples": lambda count: [(f"{number:05}",) for number in range(count)],
    "a generator": lambda count: ([f"{number:05}"] for number in range(count)),
    "an async generator": numbers,
    "blocks": lambda count: [f"{number:05}\n".encode() for number in range(count)],
    "async blocks": lines,
    "text": lambda count: [f"{number:05}\n" for number in range(count)],
    "one block": lambda count: "".join(f"{number:05}\n" for number in range(count)),
}


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
async def test_in(rows: Any, in_block: bool):
    async def copy(count: int) -> None:
        async with cursor() as c:
            assert await c.copy_in(IN, rows(count)) == count

    if in_block:
        async with atomic():
            await copy(1700)
            assert await Tag.objects.acount() == 1700
    else:
        await copy(1700)
    labels = [tag.label for tag in await Tag.objects.order_by("label").alist()]
    assert labels == [f"{number:05}" for number in range(1700)]
    await assert_pool_is_clean()


async def test_in_nothing():
    async with cursor() as c:
        assert await c.copy_in(IN, []) == 0
        await c.execute("SELECT 1")
        assert await c.fetchone() == (1,)


async def test_in_binary_and_with_parameters():
    async with cursor() as c:
        await c.execute("CREATE TEMP TABLE copied (a int4, b date)")
        sql = "COPY copied FROM STDIN (FORMAT BINARY)"
        assert await c.copy_in(sql, [(1, date(2020, 1, 1)), (None, None)], types=["int4", "date"]) == 2
        await c.execute("SELECT * FROM copied ORDER BY a")
        assert await c.fetchall() == [(1, date(2020, 1, 1)), (None, None)]
        sql = "COPY (SELECT * FROM copied WHERE a = %s) TO STDOUT"
        assert [row async for row in c.copy_out(sql, [1], types=["int4", "date"])] == [(1, date(2020, 1, 1))]
        await c.execute("DROP TABLE copied")


@pytest.mark.parametrize("in_block", [False, True])
async def test_in_a_failing_source(in_block: bool):
    async def failing() -> AsyncIterator[tuple[str]]:
        async for row in numbers(1200):
            yield row
        raise LookupError("mine")

    async with cursor() as c:
        with pytest.raises(LookupError, match="mine"):
            await c.copy_in(IN, failing())
        await c.execute("SELECT count(*) FROM library_tag")
        assert await c.fetchone() == (0,)
    with pytest.raises(LookupError, match="mine"):
        async with atomic(), cursor() as c:
            await c.copy_in(IN, failing())
    assert await Tag.objects.acount() == 0
    await assert_pool_is_clean()


async def test_in_broken_off_leaves_the_block_as_it_was():
    async def failing() -> AsyncIterator[tuple[str]]:
        yield ("x",)
        raise LookupError("mine")

    async def stuck() -> AsyncIterator[tuple[str]]:
        yield ("x",)
        await asyncio.sleep(30)

    async with atomic(), cursor() as c:
        await Tag.objects.acreate(label="before")
        with pytest.raises(LookupError, match="mine"):
            await c.copy_in(IN, failing())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(c.copy_in(IN, stuck()), 0.1)
        with pytest.raises(IntegrityError):
            await c.copy_in(IN, [("before",)])
    assert [tag.label for tag in await Tag.objects.alist()] == ["before"]
    await assert_pool_is_clean()


async def test_in_errors_are_djangos():
    async with cursor() as c:
        with pytest.raises(IntegrityError) as caught:
            await c.copy_in(IN, [("x",), ("x",)])
        assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)
        with pytest.raises(DataError):
            await c.copy_in(IN, [("x" * 100,)] * 3000)
        with pytest.raises(DataError):
            await c.copy_in(IN, [("x", "too many")])
        assert await c.copy_in(IN, [("x",)]) == 1
    async with atomic(), cursor() as c:
        with pytest.raises(IntegrityError):
            await c.copy_in(IN, [("y",), ("y",)])
        assert await c.copy_in(IN, [("z",)]) == 1
    async with atomic():
        await run_sync(transaction.set_rollback, True)
        async with cursor() as c:
            with pytest.raises(TransactionManagementError):
                await c.copy_in(IN, [("w",)])
    assert await Tag.objects.acount() == 2
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_block", [False, True])
async def test_in_cancelled(in_block: bool):
    started = asyncio.Event()

    async def stuck() -> AsyncIterator[tuple[str]]:
        async for row in numbers(1200):
            yield row
        started.set()
        await asyncio.sleep(30)

    async def copy() -> None:
        async with cursor() as c:
            await c.copy_in(IN, stuck())

    async def run() -> None:
        async with atomic() if in_block else nullcontext():
            await copy()

    task = asyncio.create_task(run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await Tag.objects.acount() == 0
    await assert_pool_is_clean()


async def test_in_cancelled_while_the_server_works():
    """The trigger sleeps on the last row: the COPY waits for its end."""
    async with cursor() as c:
        await c.execute("CREATE TABLE slow_copy (a float CHECK (pg_sleep(a) IS NOT NULL))")
        try:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(c.copy_in("COPY slow_copy FROM STDIN", [(30,)]), 0.2)
        finally:
            async with cursor() as other:
                await other.execute("DROP TABLE slow_copy")
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_block", [False, True])
async def test_the_coroutine_is_destroyed(in_block: bool):
    started = asyncio.Event()

    async def stuck() -> AsyncIterator[tuple[str]]:
        async for row in numbers(1200):
            yield row
        started.set()
        await asyncio.sleep(30)

    async def run() -> None:
        if in_block:
            async with atomic(), cursor() as c:
                await c.copy_in(IN, stuck())
        else:
            async with cursor() as c:
                await c.copy_in(IN, stuck())

    await destroy_when(started.is_set, run())
    gc.collect()
    await asyncio.sleep(0.01)
    assert await Tag.objects.acount() == 0
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_block", [False, True])
async def test_out_of_a_coroutine_that_is_destroyed(in_block: bool):
    """Wherever it waits: to take COPY's end down then would be to await, and Python refuses that."""

    async def run(label: str) -> None:
        async with atomic() if in_block else nullcontext():
            await Tag.objects.acreate(label=label)
            async with cursor() as c:
                async for _ in c.copy_out(OUT.format(1700)):
                    pass

    for suspensions in range(1, 100):
        coroutine = run(str(suspensions))
        try:
            for _ in range(suspensions):
                future: Any = coroutine.send(None)
                if future is not None:
                    future._asyncio_future_blocking = False
                    await asyncio.wait([future])
        except StopIteration:
            break
        coroutine.close()
        await asyncio.sleep(0.01)
        await assert_pool_is_clean()
    assert suspensions > 5


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("count", [0, 1, 500, 1700])
async def test_out(in_block: bool, count: int):
    async def rows(**kwargs: Any) -> list[Any]:
        async with cursor() as c:
            return [row async for row in c.copy_out(OUT.format(count), **kwargs)]

    async def check() -> None:
        typed = await rows(types=TYPES)
        assert len(typed) == count
        assert typed[:1] == [(1, "é1", date(2020, 1, 2))][:count]
        assert await rows() == [(str(n), text, day.isoformat()) for n, text, day in typed]
        blocks = await rows(raw=True)
        expected = "".join(f"{n}\t{text}\t{day}\n" for n, text, day in typed)
        assert b"".join(blocks).decode() == expected
        assert len(blocks) <= count // 500 + 1

    async with atomic() if in_block else nullcontext():
        await check()
    await assert_pool_is_clean()


async def test_a_row_does_not_cost_a_switch(monkeypatch: pytest.MonkeyPatch):
    steps = 0
    drive = held.drive

    async def counting(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        return await drive(*args)

    monkeypatch.setattr(held, "drive", counting)
    async with cursor() as c:
        assert await c.copy_in(IN, ROWS["tuples"](5000)) == 5000
        assert steps < 20
        steps = 0
        assert len([row async for row in c.copy_out("COPY library_tag TO STDOUT")]) == 5000
        assert steps < 20


async def test_binary_out_and_in_again():
    await Tag.objects.abulk_create([Tag(label=f"{number}") for number in range(1100)])
    async with atomic(), cursor() as c:
        sql = "COPY library_tag TO STDOUT (FORMAT BINARY)"
        blocks = [block async for block in c.copy_out(sql, raw=True)]
        assert len([row async for row in c.copy_out(sql, types=["int8", "text"])]) == 1100
        await c.execute("DELETE FROM library_tag")
        assert await c.copy_in("COPY library_tag FROM STDIN (FORMAT BINARY)", blocks) == 1100
    assert await Tag.objects.acount() == 1100


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("leave", ["break", "raise", "collect"])
async def test_out_left_early(leave: str, in_block: bool):
    async def consume() -> None:
        async with cursor() as c:
            rows = c.copy_out(OUT.format(1_000_000))
            async for row in rows:
                assert row[0] == "1"
                break
            if leave == "raise":
                raise LookupError
            if leave == "collect":
                cycle: list[Any] = [rows]
                cycle.append(cycle)
                del cycle, rows
                gc.collect()

    async def run() -> None:
        if not in_block:
            await consume()
            return
        async with atomic():
            pid = await run_sync(backend_pid)
            try:
                await consume()
            finally:
                await Tag.objects.acreate(label="after")
                assert await run_sync(backend_pid) == pid

    if leave == "raise":
        with pytest.raises(LookupError):
            await run()
    else:
        await run()
    assert await Tag.objects.acount() == int(in_block and leave != "raise")
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_block", [False, True])
async def test_the_same_cursor_goes_on_after_a_break(in_block: bool):
    async def run() -> None:
        async with cursor() as c:
            for _ in range(3):
                async for row in c.copy_out(OUT.format(10_000), types=TYPES):
                    if row[0] == 700:
                        break
                await c.execute("SELECT 1")
                assert await c.fetchone() == (1,)

    if in_block:
        async with atomic():
            await run()
            await Tag.objects.acreate(label="after")
        assert await Tag.objects.acount() == 1
    else:
        await run()
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_block", [False, True])
async def test_out_cancelled(in_block: bool):
    async def copy() -> None:
        async with cursor() as c:
            async for _ in c.copy_out("COPY (SELECT pg_sleep(30)) TO STDOUT"):
                pass

    async def run() -> None:
        async with atomic() if in_block else nullcontext():
            await copy()

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(run(), 0.2)
    await assert_pool_is_clean()


async def test_out_errors_are_djangos():
    async with cursor() as c:
        with pytest.raises(DataError, match="division"):
            async for _ in c.copy_out("COPY (SELECT 1/(3-n) FROM generate_series(1, 5) n) TO STDOUT"):
                pass
        await c.execute("SELECT 1")
        assert await c.fetchone() == (1,)
    await assert_pool_is_clean()


async def test_queries_on_the_same_connection_meanwhile():
    async def asking() -> AsyncIterator[tuple[str]]:
        yield (str(await Tag.objects.acount()),)

    # Outside a block other queries have other connections.
    async with cursor() as c:
        assert await c.copy_in(IN, asking()) == 1
        with pytest.raises(BlockDeadlockError, match="COPY"):
            async for _ in c.copy_out(OUT.format(3)):
                await c.execute("SELECT 1")
    async with atomic(), cursor() as c:
        async for _ in c.copy_out(OUT.format(3)):
            with pytest.raises(BlockDeadlockError, match="Query before or after it"):
                await Tag.objects.acount()
        with pytest.raises(BlockDeadlockError, match="operation of its own"):
            async with atomic():
                await c.copy_in(IN, asking())
        assert await Tag.objects.acount() == 1
    await assert_pool_is_clean()


async def test_other_tasks_of_the_block_wait():
    async with atomic(), cursor() as c:
        results = await asyncio.gather(c.copy_in(IN, numbers(1200)), Tag.objects.acount())
        assert results == [1200, 1200]


def log() -> Iterator[str]:
    return (each["sql"] for each in connection.queries_log)


async def test_is_logged():
    with override_settings(DEBUG=True), capture_queries() as queries:
        connection.queries_log.clear()
        async with cursor() as c:
            await c.copy_in(IN, [("x",)])
            async for _ in c.copy_out("COPY library_tag TO STDOUT"):
                pass
    assert list(log()) == [IN, "COPY library_tag TO STDOUT"]
    assert [each["sql"] for each in queries] == list(log())
