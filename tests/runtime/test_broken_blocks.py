"""Blocks that can't go on: statements that were cut short, sessions that the server has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import django
import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, Error, IntegrityError, OperationalError, connections, transaction

from tests.project.library.models import Author, Tag
from tests.runtime.conftest import asleep, sessions, terminate
from tests.runtime.support import (
    assert_pool_is_clean,
    author_names,
    cancelled_when,
    destroy_when,
    query,
    sleep,
    until,
)
from turbo_orm import atomic, batch, run_sync
from turbo_orm.errors import ConnectionReleasedError
from turbo_orm.testing import capture_queries


async def in_nested_block(work: Callable[[], Awaitable[Any]]) -> Any:
    async with atomic():
        return await work()


@pytest.fixture
def timed_out(observer: psycopg.Connection[Any]) -> Callable[[Awaitable[Any]], Awaitable[None]]:
    """Cuts something short as it sleeps in the server."""
    return partial(cancelled_when, lambda: asleep(observer))


async def test_a_timeout_that_is_caught_is_noticed_at_the_end(begin: Any, timed_out: Any):
    with pytest.raises(
        transaction.TransactionManagementError, match="a statement in it was cancelled"
    ) as caught:
        async with atomic():
            await begin()
            await timed_out(run_sync(sleep, 30))
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_and_by_whatever_comes_after_it(begin: Any, timed_out: Any):
    with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
        async with atomic():
            await begin()
            await timed_out(run_sync(sleep, 30))
            for work in (Author.objects.acount, lambda: run_sync(query, "SELECT 1")):
                with pytest.raises(transaction.TransactionManagementError, match="An error occurred in"):
                    await work()
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_whatever_comes_after_one_that_closed_the_connection(
    begin: Any, janitors: list[psycopg.Connection[Any]]
):
    """One that is cancelled again before the server has stopped it."""
    await Author.objects.abulk_create([Author(name=name) for name in "ab"])
    rows = Author.objects.order_by("pk").aiterator(chunk_size=1)
    steps: tuple[Callable[[], Awaitable[Any]], ...] = (
        rows.__anext__,
        lambda: run_sync(query, "SELECT 1"),
        Author.objects.acount,
        lambda: Author.objects.acreate(name="x"),
        lambda: in_nested_block(lambda: Author.objects.acreate(name="nested")),
    )
    with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
        async with atomic():
            await begin()
            await rows.__anext__()
            task = asyncio.create_task(run_sync(sleep, 30))
            await until(lambda: asleep(janitors[0]))
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for step in steps:
                with pytest.raises(transaction.TransactionManagementError, match="An error occurred in"):
                    await step()
            await rows.aclose()
    assert await author_names() == ["a", "b"]
    await assert_pool_is_clean()


async def test_an_error_that_leaves_the_block_is_its_own(begin: Any, timed_out: Any):
    with pytest.raises(LookupError):
        async with atomic():
            await begin()
            await timed_out(run_sync(sleep, 30))
            raise LookupError
    await assert_pool_is_clean()


async def test_a_timeout_in_a_block_without_a_savepoint(begin: Any, timed_out: Any):
    async def part() -> None:
        async with atomic(savepoint=False):
            await Author.objects.acreate(name="second")
            await run_sync(sleep, 30)

    with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
        async with atomic():
            await begin()
            await timed_out(part())
            with pytest.raises(transaction.TransactionManagementError, match="An error occurred in"):
                await Author.objects.acount()
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_a_timeout_between_statements_of_a_block_without_a_savepoint(begin: Any):
    async def part() -> None:
        async with atomic(savepoint=False):
            await Author.objects.acreate(name="second")
            waiting.set()
            await asyncio.Event().wait()

    waiting = asyncio.Event()
    with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
        async with atomic():
            await begin()
            await cancelled_when(waiting.is_set, part())
            with pytest.raises(transaction.TransactionManagementError, match="An error occurred in"):
                await Author.objects.acount()
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_an_error_in_a_block_without_a_savepoint_is_djangos_matter(begin: Any):
    async with atomic():
        await begin()
        with suppress(LookupError):
            async with atomic(savepoint=False):
                raise LookupError
        with pytest.raises(transaction.TransactionManagementError, match="An error occurred in"):
            await Author.objects.acount()
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_a_timeout_in_a_nested_block_is_noticed_there(begin: Any, timed_out: Any):
    async def nested() -> None:
        async with atomic():
            await Author.objects.acreate(name="nested")
            await timed_out(run_sync(sleep, 30))

    async with atomic():
        await begin()
        with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
            await nested()
        await Author.objects.acreate(name="second")
    assert await author_names() == ["first", "second"]
    await assert_pool_is_clean()


async def test_a_timeout_of_a_nested_block_is_no_matter(begin: Any, timed_out: Any):
    async with atomic():
        await begin()
        await timed_out(in_nested_block(lambda: run_sync(sleep, 30)))
        await Author.objects.acreate(name="second")
    assert await author_names() == ["first", "second"]
    await assert_pool_is_clean()


@pytest.mark.parametrize("part", [nullcontext, partial(atomic, savepoint=False)])
async def test_a_timeout_of_a_nested_block_whose_session_is_lost(
    begin: Any, part: Any, observer: psycopg.Connection[Any]
):
    """What the block around it has written is lost as well, and nothing there says so."""

    async def nested() -> None:
        async with part():
            await Author.objects.acreate(name="nested")
            terminate(observer, *(pid for pid, *_ in sessions(observer)))
            waiting.set()
            await asyncio.Event().wait()

    waiting = asyncio.Event()
    with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
        async with atomic():
            await begin()
            await cancelled_when(waiting.is_set, in_nested_block(nested))
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_a_timeout_of_a_nested_block_of_sync_code_is_no_matter(begin: Any, timed_out: Any):
    def nested() -> None:
        with transaction.atomic():
            Author.objects.create(name="nested")
            sleep(30)

    async with atomic():
        await begin()
        await timed_out(run_sync(nested))
        await Author.objects.acreate(name="second")
    assert await author_names() == ["first", "second"]
    await assert_pool_is_clean()


async def test_cancelled_at_the_savepoint(begin: Any):
    """Whether it was set nobody knows, so the block around it can't be saved either."""
    started = asyncio.Event()

    def slow_savepoint(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("SAVEPOINT"):
            started.set()
            execute("SELECT pg_sleep(30)", *rest)
        return execute(sql, *rest)

    with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
        async with atomic():
            await begin()
            with transaction.get_connection().execute_wrapper(slow_savepoint):
                nested = asyncio.create_task(in_nested_block(Author.objects.acount))
                await started.wait()
                nested.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await nested
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_errors_of_statements_are_djangos_matter(begin: Any):
    """Django rolls back at the end, and says nothing."""
    async with atomic():
        await begin()
        with suppress(DatabaseError):
            await Author.objects.acreate(name="first")
    assert await author_names() == []
    await assert_pool_is_clean()


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("in_bridge", [False, True])
async def test_of_bulk_create_too(watched: bool, in_bridge: bool):
    """Since 6.0 it opens no transaction around one statement, and marks none."""

    async def create() -> None:
        if in_bridge:
            await run_sync(Author.objects.bulk_create, [Author(name="first")])
        else:
            await Author.objects.abulk_create([Author(name="first")])

    await create()
    for _ in range(3):
        seen: list[Any] = []
        with capture_queries() if watched else nullcontext(), suppress(DatabaseError):
            async with atomic(), atomic():
                with pytest.raises(IntegrityError):
                    await create()
                seen.append(await run_sync(lambda: transaction.get_connection().needs_rollback))
            seen.append("said nothing")
        assert seen == ([True, "said nothing"] if django.VERSION < (6, 0) else [False])


async def test_an_error_after_a_cancellation_that_is_over(begin: Any, timed_out: Any):
    """It is Django's matter too: the savepoint has ended what was cut short."""

    def nested() -> None:
        with transaction.atomic():
            sleep(30)

    async with atomic():
        await begin()
        await timed_out(run_sync(nested))
        with suppress(DatabaseError):
            await Author.objects.acreate(name="first")
    assert await author_names() == []
    await assert_pool_is_clean()


@pytest.mark.parametrize("next_step", ["read", "write", "nested block", "sync code"])
async def test_a_lost_session(begin: Any, next_step: str, janitors: list[psycopg.Connection[Any]]):
    """Nothing is written outside of the block's transaction, which is lost."""
    steps: dict[str, Callable[[], Awaitable[Any]]] = {
        "read": lambda: Author.objects.filter(name="x").acount(),
        "write": lambda: Author.objects.acreate(name="x"),
        "nested block": lambda: in_nested_block(lambda: Author.objects.acreate(name="nested")),
        "sync code": lambda: run_sync(query, "SELECT 1"),
    }
    for step in steps.values():
        for _ in range(3):  # as they have plans, where they can
            await step()
            await Author.objects.all().adelete()
    refused = 0
    async with atomic():
        await begin()
        janitors[0].execute(
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        await asyncio.sleep(0.01)
        for step in (steps[next_step], *steps.values(), *steps.values()):
            with pytest.raises(Error):  # Django's
                await step()
            refused += 1
    assert refused == 9
    assert await author_names() == []


async def test_the_end_of_a_block_whose_session_is_lost(begin: Any, janitors: list[psycopg.Connection[Any]]):
    with pytest.raises(OperationalError):
        async with atomic():
            await begin()
            janitors[0].execute(
                "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND state = 'idle in transaction'"
            )
            await asyncio.sleep(0.01)
    assert await author_names() == []


async def test_a_coroutine_that_is_destroyed(begin: Any):
    for _ in range(3):
        await Author.objects.filter(name="x").acount()
    with pytest.raises(transaction.TransactionManagementError):
        async with atomic():
            await begin()
            count = Author.objects.filter(name="x").acount()
            count.send(None)
            count.close()
            for name in ("x", "y"):
                with pytest.raises(transaction.TransactionManagementError):
                    await Author.objects.acreate(name=name)
                with pytest.raises(transaction.TransactionManagementError):
                    await in_nested_block(lambda: Tag.objects.acreate(label="x"))
    assert await author_names() == []
    assert await Tag.objects.acount() == 0
    await asyncio.sleep(0.05)
    await assert_pool_is_clean()


async def test_a_task_of_a_block_that_is_destroyed():
    """It has the turn as that happens: what it asks for then would be committed, and never given back."""

    def create() -> None:
        async_to_sync(going_on.wait)()
        Author.objects.create(name="x")

    async def block() -> None:
        async with atomic():
            tasks.append(asyncio.ensure_future(run_sync(create)))
            await asyncio.sleep(0)

    going_on, tasks = asyncio.Event(), list[Any]()
    await Author.objects.acount()
    coroutine = block()
    coroutine.send(None)
    await asyncio.sleep(0)
    coroutine.close()
    going_on.set()
    with pytest.raises(ConnectionReleasedError, match="destroyed"):
        await tasks[0]
    assert await author_names() == []
    await asyncio.sleep(0.05)
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_nested", [False, True])
async def test_tasks_that_wait_in_a_block_that_is_destroyed(begin: Any, in_nested: bool):
    """Elsewhere they would be committed on their own."""

    async def iterate() -> list[Author]:
        return [author async for author in Author.objects.aiterator()]

    async def start() -> None:
        works: tuple[Coroutine[Any, Any, object], ...] = (
            run_sync(sleep, 30),
            Tag.objects.acreate(label="plan"),
            run_sync(Tag.objects.create, label="sync"),
            in_nested_block(lambda: Tag.objects.acreate(label="nested")),
            batch(Tag.objects.acreate(label="batch"), Author.objects.acount()),
            iterate(),
        )
        tasks.extend(map(asyncio.ensure_future, works))
        await asyncio.Event().wait()

    async def block() -> None:
        async with atomic():
            await begin()
            await (in_nested_block(start) if in_nested else start())

    tasks: list[asyncio.Future[Any]] = []
    for number in range(3):  # as they have plans, where they can
        await Tag.objects.acreate(label=str(number))
    await destroy_when(lambda: bool(tasks), block())
    with pytest.raises(transaction.TransactionManagementError, match="An error occurred in"):
        await tasks[0]
    for task in tasks[1:]:
        with pytest.raises(transaction.TransactionManagementError, match="its coroutine was closed"):
            await task
    assert await author_names() == []
    assert await Tag.objects.acount() == 3
    await assert_pool_is_clean()


async def test_a_task_that_waits_below_sync_code_that_is_destroyed():
    async def start() -> None:
        tasks.append(asyncio.ensure_future(run_sync(sleep, 30)))
        tasks.append(asyncio.ensure_future(Tag.objects.acreate(label="x")))
        await asyncio.Event().wait()

    def work() -> None:
        with transaction.atomic():
            Author.objects.create(name="x")
            async_to_sync(start)()

    tasks: list[asyncio.Future[Any]] = []
    await destroy_when(lambda: bool(tasks), run_sync(work))
    for task in tasks:
        with pytest.raises(transaction.TransactionManagementError):
            await task
    assert await author_names() == []
    assert await Tag.objects.acount() == 0
    await assert_pool_is_clean()


async def test_sync_code_that_is_destroyed(begin: Any):
    with pytest.raises(transaction.TransactionManagementError):
        async with atomic():
            await begin()
            sleeping = run_sync(sleep, 30)
            sleeping.send(None)
            sleeping.close()
            with pytest.raises(transaction.TransactionManagementError):
                await Author.objects.acreate(name="x")
            assert connections["default"].needs_rollback
    assert await author_names() == []
    await asyncio.sleep(0.05)
    await assert_pool_is_clean()
