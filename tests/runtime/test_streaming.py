"""`aiterator()`: a server-side cursor that is gone, with its connection back, however the loop ends."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import DataError, connections, transaction

from tests.project.library.models import Author, Book, Tag
from tests.runtime.conftest import asleep
from tests.runtime.support import assert_pool_is_clean, backend_pid, destroy_when, pool, query, sleep, until
from turbo_orm import AsyncQuerySet, atomic, run_sync
from turbo_orm.bridge import connection
from turbo_orm.errors import ConnectionReleasedError, LoopMismatchError
from turbo_orm.testing import capture_queries

LABELS = [f"{number:02}" for number in range(25)]


async def tags() -> AsyncQuerySet:
    await Tag.objects.abulk_create([Tag(label=label) for label in LABELS])
    return Tag.objects.order_by("label")


def open_cursors() -> int:
    count: int = query("SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_django%%'", [])[0][0]
    return count


def no_open_cursors() -> bool:
    return open_cursors() == 0


async def assert_given_back() -> None:
    """The iterator's clean-up may take a few turns of the loop; then all is as before."""
    await assert_pool_is_clean()
    for conn in pool()._pool:
        cursor = await conn.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_django%'")
        assert await cursor.fetchone() == (0,)


@pytest.mark.parametrize("chunk_size", [1, 7, 25, 100])
@pytest.mark.parametrize("in_block", [False, True])
async def test_all_rows_in_order(chunk_size: int, in_block: bool):
    rows = await tags()
    if in_block:
        async with atomic():
            found = [tag.label async for tag in rows.aiterator(chunk_size)]
            assert await run_sync(open_cursors) == 0
    else:
        found = [tag.label async for tag in rows.aiterator(chunk_size)]
    assert found == LABELS
    assert rows._result_cache is None
    await assert_given_back()


@pytest.mark.parametrize("in_block", [False, True])
async def test_fetches_chunk_by_chunk(in_block: bool):
    rows = (await tags()).aiterator(chunk_size=10)

    async def first() -> tuple[int, list[tuple[Any, ...]]]:
        await rows.__anext__()
        # The connection is the block's, or busy elsewhere.
        return await run_sync(open_cursors), await run_sync(query, "SELECT count(*) FROM library_tag")

    if in_block:
        async with atomic():
            assert await first() == (1, [(25,)])
            await rows.aclose()
            assert await run_sync(open_cursors) == 0
    else:
        assert await first() == (0, [(25,)])
        in_use = [conn for conn in pool()._live if not conn.closed and conn not in pool()._pool]
        assert len(in_use) == 1
        await rows.aclose()
    await assert_given_back()


async def test_chunk_size_must_be_positive():
    with pytest.raises(ValueError, match=r"[Cc]hunk.size"):
        await Tag.objects.aiterator(chunk_size=0).__anext__()


async def test_an_empty_result():
    assert [tag async for tag in Tag.objects.aiterator()] == []
    assert [tag async for tag in Tag.objects.none().aiterator()] == []


async def test_values_and_values_list():
    rows = await tags()
    assert [row async for row in rows.values_list("label", flat=True).aiterator(4)] == LABELS
    assert [row async for row in rows.values("label").aiterator(4)] == [{"label": label} for label in LABELS]


@pytest.mark.parametrize("in_block", [False, True])
async def test_prefetch_per_chunk(in_block: bool):
    authors = await Author.objects.abulk_create([Author(name=str(number)) for number in range(5)])
    await Book.objects.abulk_create(
        [Book(title=f"{author.name}-{n}", author=author) for author in authors for n in range(2)]
    )
    rows = Author.objects.prefetch_related("books").aiterator(chunk_size=2)

    async def titles() -> list[list[str]]:
        return [[book.title for book in author.books.all()] async for author in rows]

    with capture_queries() as queries:
        async with atomic() if in_block else nullcontext():
            found = await titles()
    assert found == [[f"{n}-0", f"{n}-1"] for n in range(5)]
    prefetches = [each["sql"] for each in queries if "library_book" in each["sql"]]
    assert len(prefetches) == 3, "one query for each chunk of two authors"
    await assert_given_back()


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("leave", ["break", "raise"])
async def test_leaving_early(in_block: bool, leave: str):
    rows = await tags()

    async def consume() -> None:
        async for tag in rows.aiterator(chunk_size=3):
            if tag.label == "04":
                if leave == "raise":
                    raise LookupError("mine")
                break

    async def run() -> None:
        if in_block:
            async with atomic():
                await consume()
                await Tag.objects.acreate(label="after")
        else:
            await consume()

    if leave == "raise":
        with pytest.raises(LookupError, match="mine"):
            await run()
    else:
        await run()
    assert await Tag.objects.filter(label="after").aexists() is (in_block and leave == "break")
    await assert_given_back()


async def test_leaving_the_loop_is_the_last_thing_in_a_block():
    """The cursor ends with the block, before the generator does; nobody has to hear of it."""
    rows = await tags()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

    async def first() -> str:
        async with atomic():
            async for tag in rows.all().aiterator(2):
                return str(tag.label)
        raise AssertionError

    for _ in range(3):
        assert await first() == LABELS[0]
        await asyncio.sleep(0.01)
    opened = pool().get_stats()["connections_num"]
    assert await first() == LABELS[0]
    await asyncio.sleep(0.01)
    gc.collect()
    assert told == []
    assert pool().get_stats()["connections_num"] == opened
    await assert_given_back()


@pytest.mark.parametrize("savepoint", [True, False])
@pytest.mark.parametrize("begun", ["on the wire", "declared"])
async def test_leaving_the_loop_is_the_last_thing_in_a_nested_block(savepoint: bool, begun: str):
    """The cursor is still there, and closed in what is left of the transaction."""
    rows = await tags()
    async with atomic():
        if begun == "declared":
            await run_sync(Tag.objects.count)
        async with atomic(savepoint=savepoint):
            async for _ in rows.aiterator(2):
                break
        await until(lambda: run_sync(no_open_cursors))
        await Tag.objects.acreate(label="after")
    assert await Tag.objects.filter(label="after").aexists()
    await assert_given_back()


async def test_a_cursor_that_went_with_its_savepoint():
    """To close it would be an error, and break the block around."""
    rows = await tags()
    async with atomic():
        with pytest.raises(LookupError):
            async with atomic():
                iterator = rows.aiterator(2)
                await anext(iterator)
                raise LookupError
        await iterator.aclose()
        await Tag.objects.acreate(label="after")
    assert await Tag.objects.filter(label="after").aexists()
    await assert_given_back()


async def test_closed_in_another_nested_block():
    rows = await tags()
    async with atomic():
        async with atomic():
            iterator = rows.aiterator(2)
            await anext(iterator)
        async with atomic():
            await iterator.aclose()
            assert await run_sync(open_cursors) == 0
            await Tag.objects.acreate(label="after")
    assert await Tag.objects.filter(label="after").aexists()
    await assert_given_back()


@pytest.mark.parametrize("in_block", [False, True])
async def test_cancelled_in_the_body(in_block: bool):
    rows = await tags()
    inside = asyncio.Event()

    async def consume() -> None:
        async for _ in rows.aiterator(chunk_size=3):
            inside.set()
            await asyncio.sleep(30)

    async def run() -> None:
        async with atomic() if in_block else nullcontext():
            await consume()

    task = asyncio.create_task(run())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_given_back()


def slow(rows: AsyncQuerySet) -> AsyncQuerySet:
    return rows.extra(where=["pg_sleep(30) IS NOT NULL"])


@pytest.mark.parametrize("in_block", [False, True])
async def test_cancelled_while_it_fetches(in_block: bool, observer: psycopg.Connection[Any]):
    rows = slow(await tags())

    async def run() -> None:
        async with atomic() if in_block else nullcontext():
            await rows.aiterator(chunk_size=3).__anext__()

    task = asyncio.create_task(run())
    await until(lambda: asleep(observer))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not asleep(observer)
    await assert_given_back()


async def _read_to_the_end(rows: AsyncQuerySet) -> None:
    async for _ in rows.aiterator(chunk_size=20):
        pass


async def _leave_early(rows: AsyncQuerySet) -> None:
    def work() -> None:
        for _ in rows.iterator(chunk_size=3):
            break

    await run_sync(work)


async def _leave_early_and_go_on(rows: AsyncQuerySet) -> None:
    def work() -> None:
        for _ in rows.iterator(chunk_size=3):
            break
        sleep(10)

    await run_sync(work)


async def _leave_early_and_close(rows: AsyncQuerySet) -> None:
    def work() -> None:
        for _ in rows.iterator(chunk_size=3):
            break
        connections["default"].close()

    await run_sync(work)


async def _leave_early_and_call(rows: AsyncQuerySet) -> None:
    def work() -> None:
        for _ in rows.iterator(chunk_size=3):
            break
        async_to_sync(asyncio.sleep)(0)

    await run_sync(work)


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize(
    "read",
    [_read_to_the_end, _leave_early, _leave_early_and_go_on, _leave_early_and_close, _leave_early_and_call],
)
async def test_cancelled_while_it_closes_its_cursor(
    in_block: bool, planned: bool, read: Any, monkeypatch: pytest.MonkeyPatch
):
    """Which happens as a generator is finalized, where Python drops exceptions."""
    rows = await tags()
    ignored: list[Any] = []
    serve = connection.serve

    async def cancel(channel: Any, gen: Any) -> Any:
        if gen.__name__ == "_close_gen":
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
        return await serve(channel, gen)

    async def run() -> None:
        async with atomic() if in_block else nullcontext():
            await read(rows if planned else rows.extra(where=["true"]))
            await asyncio.sleep(30)

    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    monkeypatch.setattr(connection, "serve", cancel)
    task = asyncio.create_task(run())
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled()
    del task  # and the frames that its exception keeps
    gc.collect()
    assert ignored == []
    monkeypatch.undo()
    await assert_given_back()


@pytest.mark.parametrize("in_block", [False, True])
async def test_garbage_collected(in_block: bool):
    rows = await tags()

    async def start() -> None:
        iterator = rows.aiterator(chunk_size=3)
        await iterator.__anext__()
        cycle: list[Any] = [iterator]
        cycle.append(cycle)

    if in_block:
        async with atomic():
            await start()
            gc.collect()
            await asyncio.sleep(0.01)
            assert await run_sync(open_cursors) == 0
            assert await Tag.objects.acount() == 25
    else:
        await start()
        gc.collect()
    await assert_given_back()


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("fetching", [False, True])
async def test_the_coroutine_is_destroyed(in_block: bool, fetching: bool, observer: psycopg.Connection[Any]):
    rows = slow(await tags()) if fetching else await tags()
    inside = asyncio.Event()

    async def consume() -> None:
        async for _ in rows.aiterator(chunk_size=3):
            inside.set()
            await asyncio.sleep(30)

    async def run() -> None:
        async with atomic() if in_block else nullcontext():
            await consume()

    await destroy_when(partial(asleep, observer) if fetching else inside.is_set, run())
    gc.collect()
    await asyncio.sleep(0)
    await assert_given_back()
    await until(lambda: not asleep(observer))


@pytest.mark.parametrize("closing", [False, True])
async def test_destroyed_while_it_waits_for_its_turn(closing: bool, monkeypatch: pytest.MonkeyPatch):
    """The block goes on, and closes its cursor when its turn comes."""
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    rows = await tags()
    async with atomic():
        iterator = rows.aiterator(chunk_size=1)
        await iterator.__anext__()
        has_turn = asyncio.create_task(run_sync(sleep, 0.05))
        await asyncio.sleep(0)
        waiting: Any = (iterator.aclose() if closing else iterator.__anext__()).__await__()
        next(waiting)
        waiting.close()
        del waiting
        await has_turn
        await until(lambda: run_sync(no_open_cursors))
        with pytest.raises(StopAsyncIteration):
            await iterator.__anext__()
        await Tag.objects.acreate(label="more")
    assert await Tag.objects.acount() == 26
    assert ignored == []
    await assert_given_back()


async def test_other_queries_in_the_body_share_the_block():
    rows = await tags()
    seen = []
    async with atomic():
        pid = await run_sync(backend_pid)
        async for tag in rows.aiterator(chunk_size=2):
            seen.append(await run_sync(backend_pid))
            await Tag.objects.filter(pk=tag.pk).aupdate(label=f"new-{tag.label}")
            if tag.label == "10":
                async with atomic():
                    await Tag.objects.acreate(label="nested")
    assert set(seen) == {pid}
    assert len(seen) == 25
    assert await Tag.objects.filter(label__startswith="new-").acount() == 25
    assert await Tag.objects.filter(label="nested").aexists()
    await assert_given_back()


async def test_goes_on_inside_a_nested_block():
    iterator = (await tags()).aiterator(chunk_size=2)
    async with atomic():
        found = [(await iterator.__anext__()).label]
        with pytest.raises(LookupError):
            async with atomic():
                found += [(await iterator.__anext__()).label for _ in range(3)]
                raise LookupError
        found += [tag.label async for tag in iterator]
    assert found == LABELS
    await assert_given_back()


async def test_two_iterators_and_tasks_in_one_block():
    rows = await tags()

    async def labels(chunk_size: int) -> list[str]:
        return [tag.label async for tag in rows.aiterator(chunk_size)]

    async with atomic():
        results = await asyncio.gather(*(labels(size) for size in (1, 2, 3, 30)), Tag.objects.acount())
    assert results == [LABELS] * 4 + [25]
    await assert_given_back()


@pytest.mark.parametrize("disabled", [False, True])
async def test_disable_server_side_cursors(monkeypatch: pytest.MonkeyPatch, disabled: bool):
    rows = await tags()
    monkeypatch.setitem(connections.settings["default"], "DISABLE_SERVER_SIDE_CURSORS", disabled)
    async with atomic():
        iterator = rows.aiterator(chunk_size=2)
        await iterator.__anext__()
        assert await run_sync(open_cursors) == (0 if disabled else 1)
        rest = [tag.label async for tag in iterator]
    assert rest == LABELS[1:]
    await assert_given_back()


async def test_used_after_the_block():
    async with atomic():
        iterator = (await tags()).aiterator(chunk_size=2)
        await iterator.__anext__()
        await iterator.__anext__()
    with pytest.raises(ConnectionReleasedError, match=r"block in which this aiterator\(\)"):
        await iterator.__anext__()
    await assert_given_back()


def test_used_in_another_loop(django_databases: None):
    async def start() -> tuple[AsyncIterator[Any], AsyncIterator[Any]]:
        rows = await tags()
        kept = rows.aiterator(chunk_size=2)
        await kept.__anext__()
        await kept.__anext__()
        return kept

    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        iterator: Any = first.run_until_complete(start())

        async def use() -> None:
            with pytest.raises(LoopMismatchError, match=r"aiterator\(\) was started in another event loop"):
                await iterator.__anext__()

        second.run_until_complete(use())
        first.run_until_complete(assert_given_back())
    finally:
        for loop in (first, second):
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def test_its_loop_ends_half_way(django_databases: None):
    kept = []

    async def start() -> None:
        iterator = (await tags()).aiterator(chunk_size=2)
        kept.append(iterator)
        await iterator.__anext__()

    asyncio.run(start())  # _tidy looks for sessions that are left
    kept.clear()
    gc.collect()


async def test_a_failing_query():
    broken = (await tags()).extra(where=["1/(id - id) = 1"])
    with pytest.raises(DataError, match="division by zero"):
        await broken.aiterator().__anext__()
    async with atomic():
        with pytest.raises(DataError, match="division by zero"):
            async with atomic():
                await broken.aiterator().__anext__()
        assert await Tag.objects.acount() == 25
        await run_sync(transaction.set_rollback, True)
        with pytest.raises(transaction.TransactionManagementError):
            await Tag.objects.aiterator().__anext__()
    await assert_given_back()


async def test_many_iterators_at_once():
    rows = await tags()

    async def consume(number: int) -> int:
        seen = 0
        async for _ in rows.aiterator(chunk_size=2):
            seen += 1
            if seen == number:
                break
        return seen

    counts = await asyncio.gather(*(consume(1 + number % 25) for number in range(60)))
    assert counts == [1 + number % 25 for number in range(60)]
    await run_sync(sleep, 0)
    await assert_given_back()
