"""Each time an operation waits it may be cancelled or destroyed: nothing is lost then, or done by half."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction

from tests.project.library.models import Author, Book, Tag
from tests.runtime.support import assert_pool_is_clean, query, until, watched
from turbo_orm import advisory_lock, atomic, batch, close_pools, cursor, run_sync

Operation = Callable[[], Coroutine[Any, Any, object]]

#: With the labels of the tags which are there if it was executed.
OPERATIONS: list[tuple[Operation, set[str]]] = []


def leaves(*labels: str) -> Callable[[Operation], Operation]:
    def note(operation: Operation) -> Operation:
        OPERATIONS.append((operation, set(labels)))
        return operation

    return note


@leaves()
async def reads() -> None:
    await asyncio.gather(*[Author.objects.aget(name=name) for name in "xyxy"])
    assert len(await Book.objects.prefetch_related("tags", "author", "contributors").alist()) == 2
    assert len([book async for book in Book.objects.prefetch_related("author")]) == 2


@leaves("a", "b", "c", "d")
async def block() -> None:
    async with atomic():
        await Tag.objects.acreate(label="a")
        await Tag.objects.abulk_create([Tag(label=label) for label in "bc"], batch_size=1)
        async with atomic():
            await run_sync(Tag.objects.create, label="d")


@leaves("a", "b", "c")
async def parts_of_a_block() -> None:
    async with atomic():
        async with atomic(savepoint=False):
            await Tag.objects.acreate(label="a")
            await Tag.objects.acreate(label="b")
        await (await Author.objects.aget(name="x")).books.aset([await Book.objects.alatest("pk")])
        async with atomic(savepoint=False):
            await Tag.objects.acreate(label="c")


@leaves("a", "b", "c")
async def tasks_in_a_block() -> None:
    async with atomic(isolation_level="serializable"):
        await asyncio.gather(*[Tag.objects.acreate(label=label) for label in "ab"])
        await batch(Tag.objects.acreate(label="c"), Author.objects.acount())


@leaves("a", "b", "c")
async def sync_block() -> None:
    async def create_another() -> None:
        await Tag.objects.acreate(label="b")

    def create() -> None:
        with transaction.atomic():
            Tag.objects.create(label="a")
            async_to_sync(create_another)()
            with transaction.atomic():
                Tag.objects.create(label="c")

    await run_sync(create)


@leaves()
async def iterators() -> None:
    async for _ in Author.objects.aiterator(chunk_size=1):
        pass
    rows = Author.objects.aiterator(chunk_size=1)
    await rows.__anext__()
    await rows.aclose()


@leaves("a", "b")
async def copies() -> None:
    async with atomic(), cursor() as c:
        await c.copy_in("COPY library_tag (label) FROM STDIN", [("a",), ("b",)])
        async for _ in c.copy_out("COPY (SELECT generate_series(1, 600)) TO STDOUT"):
            pass


@leaves("a", "b")
async def locks() -> None:
    async with advisory_lock(1, session=True), atomic(), advisory_lock(2):
        await Tag.objects.acreate(label="a")
        await Author.objects.select_for_update().aget(name="x")
        await Tag.objects.acreate(label="b")


@leaves()
async def ends_of_pools() -> None:
    await Author.objects.acount()
    await close_pools()
    await Author.objects.acount()


async def interrupt(operation: Operation, way: str, at: int) -> bool:
    """Interrupt *operation* where it waits for the *at*-th time; return whether it waited so often."""
    count = 0

    def waits(future: Any) -> bool:
        nonlocal count
        count += 1
        if count == at and way == "cancel":
            task.cancel()
        elif count == at and way == "together":
            if future is None:
                task.cancel()
            else:
                future.add_done_callback(lambda _: task.cancel())
        return count == at and way == "destroy"

    async def run() -> None:
        await watched(operation(), waits)

    task = asyncio.ensure_future(run())
    await asyncio.wait({task}, timeout=10)
    assert task.done(), "it waits for ever"
    if not task.cancelled():
        assert task.exception() is None
    assert way == "destroy" or task.cancelled() == (count >= at)
    return count >= at


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What asyncio had to say of tasks and futures nobody looked at."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


@pytest.mark.parametrize("way", ["cancel", "together", "destroy"])
@pytest.mark.parametrize(("operation", "labels"), OPERATIONS, ids=lambda each: getattr(each, "__name__", ""))
async def test_wherever_it_waits(
    operation: Operation, labels: set[str], way: str, complaints: list[dict[str, Any]]
) -> None:
    if operation is tasks_in_a_block and way == "destroy":
        pytest.skip("tasks that go on are no part of what is destroyed")
    authors = await Author.objects.abulk_create([Author(name=name) for name in "xy"])
    await Book.objects.abulk_create([Book(title=each.name, author=each) for each in authors])
    for _ in range(2):  # connections, plans
        await operation()
        await run_sync(_remove_tags)
    for at in range(1, 100):
        interrupted = await interrupt(operation, way, at)
        assert await Author.objects.acount() == 2
        await assert_pool_is_clean()
        left = {label async for label in Tag.objects.values_list("label", flat=True)}
        assert left in ([set(), labels] if interrupted else [labels])
        await until(_no_locks)
        await run_sync(_remove_tags)
        if not interrupted:
            break
    gc.collect()
    assert complaints == []


async def _no_locks() -> bool:
    """Whether the server holds none; it notices a closed socket a moment later."""
    sql = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    return await run_sync(query, sql) == []


def _remove_tags() -> None:
    with connection.cursor() as c:
        c.execute("DELETE FROM library_tag")
