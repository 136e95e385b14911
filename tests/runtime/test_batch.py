"""`batch()`: statements of several operations in one round trip."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import QuerySet
from django.test.utils import override_settings
from psycopg_pool import PoolTimeout

from tests.project.library.models import Author, Tag
from tests.runtime.support import assert_pool_is_clean, pool, until
from turbo_orm import atomic, batch, close_pools
from turbo_orm.db.wire import Wire
from turbo_orm.testing import capture_queries


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements each call of `run_many()` sent."""
    sent: list[int] = []
    run_many = Wire.run_many

    async def counting(self: Wire, work: Sequence[Any]) -> Any:
        sent.append(len(work))
        return await run_many(self, work)

    monkeypatch.setattr(Wire, "run_many", counting)
    return sent


async def seen_twice() -> None:
    for _ in range(3):
        await Author.objects.filter(name="a").alist()
        await Author.objects.filter(name="a").acount()
        await Tag.objects.filter(label="t").aexists()
        await Author.objects.filter(name="a").aupdate(age=1)
        await Author.objects.filter(name="a").afirst()


async def test_results_in_order_and_one_trip(trips: list[int]):
    author = await Author.objects.acreate(name="a")
    await seen_twice()
    rows, count, exists, first = await batch(
        Author.objects.filter(name="a").alist(),
        Author.objects.filter(name="a").acount(),
        Tag.objects.filter(label="t").aexists(),
        Author.objects.filter(name="a").afirst(),
    )
    assert (rows, count, exists, first) == ([author], 1, False, author)
    assert trips == [4]
    await assert_pool_is_clean()


async def test_nothing_and_one():
    assert await batch() == ()
    assert await batch(Author.objects.acount()) == (0,)


async def test_querysets_stand_for_their_lists(trips: list[int]):
    author = await Author.objects.acreate(name="Ada")
    for _ in range(3):
        trips.clear()
        rows, none, count = await batch(
            Author.objects.filter(name="Ada"), Author.objects.filter(name="Eva"), Author.objects.acount()
        )
        assert (rows, none, count) == ([author], [], 1)
    assert trips == [3]


async def test_what_is_neither_a_queryset_nor_awaitable():
    made = Author.objects.acreate(name="never")
    with pytest.raises(
        TypeError, match=r"such as queryset\.acount.* QuerySet of Author has no alist\(\): give"
    ):
        await batch(made, QuerySet(Author))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"such as queryset\.acount.* a list is neither"):
        await batch([Author.objects.all()])  # type: ignore[list-item]
    assert await Author.objects.acount() == 0


async def test_operations_without_a_plan_take_part(trips: list[int]):
    await seen_twice()

    async def several() -> list[int]:
        return [await Author.objects.filter(name="a").acount() for _ in range(2)]

    made, counts, raw = await batch(
        Author.objects.aget_or_create(name="b"),
        several(),
        Author.objects.araw("SELECT * FROM library_author"),
    )
    assert made[1] is True
    assert counts == [0, 0]
    assert len(raw) in (0, 1)
    await assert_pool_is_clean()


@pytest.mark.parametrize("in_block", [False, True])
async def test_an_error_does_not_lose_the_others(in_block: bool, trips: list[int]):
    await Author.objects.acreate(name="a")
    await Author.objects.acreate(name="taken")
    await seen_twice()

    async def work() -> Any:
        return await batch(
            Author.objects.filter(name="a").acount(),
            Author.objects.filter(name="a").aupdate(name="taken"),
            Tag.objects.filter(label="t").aexists(),
            return_exceptions=True,
        )

    if not in_block:
        count, error, exists = await work()
        assert (count, exists) == (1, False)
        assert isinstance(error, IntegrityError)
    else:
        async with atomic():
            count, error, _ = await work()
            assert count == 1
            assert isinstance(error, IntegrityError)
            with pytest.raises(transaction.TransactionManagementError):
                await Author.objects.acount()
    await assert_pool_is_clean()


async def test_the_first_error_is_raised_when_all_have_ended():
    await Author.objects.acreate(name="a")
    done: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0.05)
        done.append("slow")

    with pytest.raises(IntegrityError):
        await batch(Author.objects.acreate(name="a"), slow())
    assert done == ["slow"]
    await assert_pool_is_clean()


async def test_in_a_block(trips: list[int]):
    await seen_twice()
    with pytest.raises(LookupError):
        async with atomic():
            await Author.objects.acreate(name="a")
            count, updated = await batch(
                Author.objects.filter(name="a").acount(), Author.objects.filter(name="a").aupdate(age=5)
            )
            assert (count, updated) == (1, 1)
            raise LookupError
    assert trips == [2]
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_a_watched_batch_shows_every_statement():
    await seen_twice()
    with capture_queries() as queries:
        await batch(Author.objects.filter(name="a").acount(), Tag.objects.filter(label="t").aexists())
    assert len(queries) == 2
    await assert_pool_is_clean()


async def test_cancelled():
    await seen_twice()

    async def work() -> None:
        await batch(Author.objects.filter(name="a").acount(), asyncio.sleep(30))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_pool_is_clean()


async def test_a_cancelled_batch_is_silent():
    await seen_twice()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    task = asyncio.create_task(batch(Author.objects.filter(name="a").acount(), asyncio.sleep(30)))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    del task
    gc.collect()
    assert told == []


@pytest.mark.parametrize("context", [contextvars.copy_context(), None])
async def test_a_destroyed_batch_ends_its_operations(context: contextvars.Context | None):
    """Also where the garbage collector destroys it, as it does in any context."""
    await seen_twice()
    ended: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("waiting")

    running = batch(waiting()).__await__()
    if context is None:
        next(running)
    else:
        context.run(next, running)
    await asyncio.sleep(0)
    running.close()
    await asyncio.sleep(0.01)
    assert ended == ["waiting"]


@pytest.fixture
async def one_connection_each() -> AsyncIterator[None]:
    """Of the two databases; what `two_of()` counts has a plan."""
    with override_settings(TURBO_ORM={"POOL": {"max_size": 1}}):
        for alias in ("default", "other"):
            for _ in range(3):
                await Author.objects.using(alias).filter(name="a").acount()
                await Author.objects.using(alias).filter(name="a").aexists()
        yield
        await close_pools()


def two_of(alias: str) -> list[Any]:
    authors = Author.objects.using(alias).filter(name="a")
    return [authors.acount(), authors.aexists()]


async def test_a_database_without_a_connection_fails_only_its_own(one_connection_each: None):
    done: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0.5)
        done.append("slow")

    async with atomic(using="other"):
        await Author.objects.using("other").acount()
        pool("other").timeout = 0.3
        running = contextvars.Context().run(
            asyncio.ensure_future,
            batch(*two_of("other"), slow(), *two_of("default"), return_exceptions=True),
        )
        first, second, _, *others = await running
    assert done == ["slow"]
    assert others == [0, False]
    assert isinstance(first, OperationalError)
    assert isinstance(second, OperationalError)
    assert first is not second
    assert str(first) == str(second) == "couldn't get a connection after 0.30 sec"
    assert isinstance(second.__cause__, PoolTimeout)
    assert await batch(*two_of("other")) == (0, False)


async def test_two_databases_at_the_same_time(one_connection_each: None):
    async with atomic(using="other"):
        await Author.objects.using("other").acount()
        answered: list[Any] = []

        async def noting(operation: Any) -> None:
            answered.append(await operation)

        operations = [*two_of("other"), *map(noting, two_of("default"))]
        running = contextvars.Context().run(asyncio.ensure_future, batch(*operations))
        await until(lambda: answered == [0, False])  # they do not wait for the other database
    assert await running == (0, False, None, None)


async def test_a_block_of_an_operation_is_its_own(trips: list[int]):
    """Its statements run on the block's connection, and go with it."""
    await seen_twice()
    for _ in range(3):
        await Author.objects.acreate(name="kept", age=1)
        await Author.objects.filter(name="kept").adelete()

    async def failing() -> None:
        async with atomic():
            await Author.objects.acreate(name="rolled back")
            await Author.objects.filter(name="kept").aupdate(age=2)
            raise LookupError

    async def kept() -> bool:
        async with atomic():
            await Author.objects.acreate(name="kept", age=1)
            return await Author.objects.filter(name="kept").aexists()

    error, seen, count, exists = await batch(
        failing(),
        kept(),
        Author.objects.filter(name="a").acount(),
        Tag.objects.filter(label="t").aexists(),
        return_exceptions=True,
    )
    assert isinstance(error, LookupError)
    assert (seen, count, exists) == (True, 0, False)
    assert trips == [2]
    assert await Author.objects.values_list("name", "age").alist() == [("kept", 1)]
    await assert_pool_is_clean()


async def test_a_nested_block_of_an_operation_in_a_block():
    await seen_twice()

    async def failing() -> None:
        async with atomic():
            await Author.objects.acreate(name="rolled back")
            raise LookupError

    async with atomic():
        error, _ = await batch(failing(), Author.objects.acreate(name="kept"), return_exceptions=True)
        assert isinstance(error, LookupError)
    assert await Author.objects.values_list("name", flat=True).alist() == ["kept"]
    await assert_pool_is_clean()


async def test_a_task_that_outlives_the_batch():
    await seen_twice()
    over = asyncio.Event()
    tasks: list[asyncio.Task[int]] = []

    async def count_later() -> int:
        await over.wait()
        return await Author.objects.filter(name="a").acount()

    async def starting() -> None:
        tasks.append(asyncio.create_task(count_later()))

    await batch(starting(), Author.objects.filter(name="a").acount())
    over.set()
    assert await asyncio.wait_for(tasks[0], 10) == 0
    await assert_pool_is_clean()


@pytest.mark.parametrize("turns", range(6))
async def test_a_task_that_waits_when_the_batch_ends(turns: int):
    await seen_twice()
    tasks: list[asyncio.Task[int]] = []

    async def count() -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await Author.objects.filter(name="a").acount()

    async def starting() -> None:
        tasks.append(asyncio.create_task(count()))

    await batch(starting())
    assert await asyncio.wait_for(tasks[0], 10) == 0
    await assert_pool_is_clean()
