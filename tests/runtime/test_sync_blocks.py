"""Async code below sync code that is in a block of its thread's connection takes part in the block."""

from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import IntegrityError, connection, reset_queries, transaction
from django.db.models import Count, F
from django.db.models.signals import post_save
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from tests.project.library.models import Author, Book, Note, Tag
from tests.runtime.support import until
from turbo_orm import aprefetch_related_objects, atomic, batch, cursor, on_commit, run_sync
from turbo_orm.errors import SyncCallError
from turbo_orm.testing import assert_num_queries

pytestmark = [
    pytest.mark.threads,
    pytest.mark.usefixtures("django_databases"),
]  # asgiref runs its loop in one


def labels() -> list[str]:
    return sorted(Tag.objects.values_list("label", flat=True))


async def listed() -> list[str]:
    return [tag.label for tag in await Tag.objects.order_by("label").alist()]


async def created() -> list[str]:
    await Tag.objects.acreate(label="async")
    return await listed()


async def saved() -> list[str]:
    tag = Tag(label="first")
    await tag.asave()
    tag.label = "second"
    await tag.asave()
    await tag.arefresh_from_db()
    return [tag.label]


async def created_in_bulk() -> list[str]:
    for number in range(3):
        await Tag.objects.abulk_create([Tag(label=f"{number}a"), Tag(label=f"{number}b")])
    return await listed()


async def updated() -> Any:
    counts = [await Tag.objects.filter(label__startswith="s").aupdate(label=F("label")) for _ in range(3)]
    return counts, await Tag.objects.aupdate_or_create(label="sync", defaults={"label": "other"})


async def deleted() -> Any:
    await Tag.objects.acreate(label="x")
    return await Tag.objects.filter(label="sync").adelete(), await Tag.objects.filter(label="x").adelete()


async def answers() -> Any:
    return [
        (
            await Tag.objects.aget(label="sync"),
            await Tag.objects.filter(label="none").aexists(),
            await Tag.objects.acount(),
            await Tag.objects.aaggregate(number=Count("pk")),
            await Tag.objects.values("label").alist(),
        )
        for _ in range(3)
    ]


async def iterated() -> list[str]:
    return [tag.label async for tag in Tag.objects.order_by("label").aiterator(chunk_size=1)]


async def related() -> Any:
    author = await Author.objects.acreate(name="a")
    book = await Book.objects.acreate(title="b", author=author)
    await book.tags.aadd(await Tag.objects.aget(label="sync"))
    books = await Book.objects.select_related("author").prefetch_related("tags").alist()
    await aprefetch_related_objects([author], "books__tags")
    return [(each.author.name, [tag.label for tag in each.tags.all()]) for each in books]


async def locked() -> Any:
    await Tag.objects.filter(label="sync").aupdate(label="locked")
    return await Tag.objects.select_for_update().aget(label="locked")


async def gathered() -> Any:
    await asyncio.gather(*(Tag.objects.acreate(label=f"t{number}") for number in range(5)))
    return await listed()


async def batched() -> Any:
    return await batch(Tag.objects.acount(), Tag.objects.filter(label="sync").aexists())


async def bridged() -> Any:
    return await run_sync(labels), await sync_to_async(labels)()


async def by_cursor() -> Any:
    async with cursor() as cur:
        await cur.execute("SELECT label FROM library_tag ORDER BY label")
        return await cur.fetchall()


async def nested() -> Any:
    async with atomic():
        await Tag.objects.acreate(label="kept")
        with pytest.raises(IntegrityError):
            async with atomic():
                await Tag.objects.acreate(label="kept")
        with pytest.raises(ZeroDivisionError):
            async with atomic():
                await Tag.objects.acreate(label="rolled back")
                raise ZeroDivisionError
    return await listed()


OPERATIONS = [
    listed,
    created,
    saved,
    created_in_bulk,
    updated,
    deleted,
    answers,
    iterated,
    related,
    locked,
    gathered,
    batched,
    bridged,
    by_cursor,
    nested,
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("in_thread_of_a_loop", [False, True])
def test_takes_part(operation: Callable[[], Awaitable[Any]], in_thread_of_a_loop: bool):
    """It sees the block's rows, as it does in a block of the bridge, and its own go with the block."""

    def work() -> Any:
        with transaction.atomic():
            first = Tag.objects.create(label="sync")
            found = async_to_sync(operation)()
            after = labels()
            transaction.set_rollback(True)
        return _without_key(found, first.pk), after

    expected = async_to_sync(run_sync)(work)
    assert labels() == []
    if in_thread_of_a_loop:
        # An ASGI server's: the async code runs in the server's loop.
        assert async_to_sync(sync_to_async(work))() == expected
    else:
        assert work() == expected
    assert labels() == []
    assert not connection.in_atomic_block


def _without_key(found: Any, key: Any) -> Any:
    """*found* as text, with the keys counted from *key* on: they go up with each run."""
    if isinstance(found, Tag):
        return ("tag", found.pk - key, found.label)
    if isinstance(found, list | tuple):
        return [_without_key(each, key) for each in found]
    return found


def test_commits_with_the_block():
    with transaction.atomic():
        async_to_sync(created)()
        assert labels() == ["async"]
        async_to_sync(nested)()
    assert labels() == ["async", "kept"]


def test_outside_of_a_block_it_has_connections_of_its_own():
    Tag.objects.create(label="sync")
    assert async_to_sync(created)() == ["async", "sync"]


@pytest.mark.parametrize("robust", [False, True])
def test_on_commit(robust: bool):
    called: list[str] = []

    async def later() -> None:
        called.append(f"async, {await Tag.objects.acount()}")

    class Later:
        async def __call__(self) -> None:
            await later()

    async def work() -> None:
        await Tag.objects.acreate(label="x")
        await on_commit(later, robust=robust)
        await on_commit(lambda: called.append("sync"), robust=robust)
        await on_commit(lambda: later(), robust=robust)
        await on_commit(Later(), robust=robust)
        with pytest.raises(TypeError):
            await on_commit(None, robust=robust)  # type: ignore[arg-type]
        assert called == []

    with transaction.atomic():
        async_to_sync(work)()
        assert called == []
    assert called == ["async, 1", "sync", "async, 1", "async, 1"]


def test_the_log_names_what_fails_on_commit(caplog: pytest.LogCaptureFixture):
    async def fail() -> None:
        raise ZeroDivisionError

    with transaction.atomic():
        async_to_sync(on_commit)(fail, robust=True)
    assert "fail in on_commit()" in caplog.text


@pytest.mark.skipif(django.VERSION < (5, 0), reason="async receivers came with Django 5.0")
def test_receivers():
    async def receive(instance: Tag, **kwargs: Any) -> None:
        await Note.objects.acreate(text=f"{instance.label}: {await Tag.objects.acount()}", target=instance)

    post_save.connect(receive, sender=Tag)
    try:
        with transaction.atomic():
            Tag.objects.create(label="x")
            assert [note.text for note in Note.objects.all()] == ["x: 1"]
            transaction.set_rollback(True)
    finally:
        post_save.disconnect(receive, sender=Tag)
    assert not Note.objects.exists()


def test_statements_are_recorded_once():
    """Also those of async code below sync code of async code, as of receivers."""

    async def work() -> None:
        with assert_num_queries(2):
            await run_sync(sync)

    def sync() -> None:
        Tag.objects.count()
        async_to_sync(counted)()

    async def counted() -> int:
        return await Tag.objects.acount()

    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        async_to_sync(work)()
    assert len(queries) == 2


def test_the_log_of_django_is_reset_while_statements_are_recorded():
    def request() -> None:
        Tag.objects.count()
        reset_queries()

    async def work() -> None:
        with assert_num_queries(1):
            await run_sync(request)

    with transaction.atomic():
        async_to_sync(work)()


def test_errors_break_the_block():
    async def twice() -> None:
        await Tag.objects.acreate(label="x")
        await Tag.objects.acreate(label="x")

    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        with pytest.raises(IntegrityError):
            async_to_sync(twice)()
        Tag.objects.count()
    assert labels() == []


def test_stop_iteration_becomes_a_runtime_error():
    """As in the bridge."""
    with transaction.atomic(), pytest.raises(RuntimeError, match="StopIteration"):
        async_to_sync(run_sync)(next, iter(()))


def test_sync_calls_are_refused_as_ever():
    async def work() -> None:
        with pytest.raises(SyncCallError, match="aget"):
            Tag.objects.get()

    with transaction.atomic():
        async_to_sync(work)()


def test_a_task_that_outlives_the_code():
    """It has connections of its own from then on, and its statement of before has ended."""
    started = asyncio.Event()

    async def in_background() -> None:
        for number in range(20):
            await Tag.objects.acreate(label=f"b{number}")
            started.set()
            await asyncio.sleep(0)

    async def server() -> None:
        tasks: list[asyncio.Task[None]] = []

        async def start() -> None:
            tasks.append(asyncio.create_task(in_background()))
            await started.wait()

        def view() -> None:
            with transaction.atomic():
                async_to_sync(start)()
                inside.extend(labels())
                transaction.set_rollback(True)

        await sync_to_async(view)()
        await tasks[0]

    inside: list[str] = []
    async_to_sync(server)()
    kept = labels()
    assert inside
    assert set(inside).isdisjoint(kept)
    assert len(inside) + len(kept) == 20


def test_cancelled():
    """What the thread is at goes on, as below Django's own a-methods; the block does, too."""

    async def slow() -> None:
        async with cursor() as cur:
            await cur.execute("SELECT pg_sleep(0.3)")

    async def work() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(slow(), 0.05)
        await Tag.objects.acreate(label="after")

    with transaction.atomic():
        async_to_sync(work)()
        assert labels() == ["after"]


class Gate:
    """Holds the thread up."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(30)

    def after(self, beginning: str) -> Callable[..., Any]:
        """Return an execute_wrapper for which it is after the statements with this *beginning*."""

        def wrapper(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            result = execute(sql, *rest)
            if sql.startswith(beginning):
                self()
            return result

        return wrapper


def goes_on_after(work: Callable[[], Awaitable[Any]], wrapper: Callable[..., Any] | None = None) -> list[str]:
    """Run *work* below a block, and return the labels that the block commits."""
    with transaction.atomic():
        Tag.objects.create(label="sync")
        with connection.execute_wrapper(wrapper) if wrapper is not None else nullcontext():
            async_to_sync(work)()
        assert (connection.savepoint_ids, connection.needs_rollback) == ([], False)
    assert (connection.in_atomic_block, connection.get_autocommit()) == (False, True)
    return labels()


@pytest.mark.parametrize(("statement", "inner"), [("SAVEPOINT", []), ("RELEASE", ["inner"])])
def test_a_block_cancelled_at_its_begin_or_end(statement: str, inner: list[str]):
    """The thread begins or ends it all the same."""

    async def block() -> None:
        async with atomic():
            await Tag.objects.acreate(label="inner")

    async def work() -> None:
        task = asyncio.create_task(block())
        await until(gate.reached.is_set)
        task.cancel()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await Tag.objects.acreate(label="after")

    gate = Gate()
    assert goes_on_after(work, gate.after(statement)) == ["after", *inner, "sync"]


def test_a_block_cancelled_before_the_thread_ends_it():
    async def block(written: asyncio.Event, busy: asyncio.Event) -> None:
        async with atomic():
            await Tag.objects.acreate(label="inner")
            written.set()
            await busy.wait()

    async def work() -> None:
        written, is_busy = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(block(written, is_busy))
        await written.wait()
        gate = Gate()
        busy = asyncio.create_task(sync_to_async(gate)())
        await until(gate.reached.is_set)
        is_busy.set()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        await busy
        await Tag.objects.acreate(label="after")

    assert goes_on_after(work) == ["after", "sync"]


def test_a_block_of_a_task_that_outlives_the_code():
    """The thread has ended it when the sync code goes on."""

    async def block(written: asyncio.Event) -> None:
        async with atomic():
            await Tag.objects.acreate(label="first")
            written.set()
            for _ in range(10):
                await asyncio.sleep(0)
            await Tag.objects.acreate(label="second")

    async def work() -> None:
        written = asyncio.Event()
        tasks.append(asyncio.create_task(block(written)))
        await written.wait()

    tasks: list[asyncio.Task[None]] = []
    assert goes_on_after(work) == ["first", "second", "sync"]
    assert not tasks[0].cancelled()


def test_a_block_in_a_generator_that_is_left_early():
    async def generator() -> AsyncGenerator[int, None]:
        async with atomic():
            await Tag.objects.acreate(label="inner")
            yield 1

    async def work() -> None:
        numbers = generator()
        async for _ in numbers:
            break
        await numbers.aclose()
        await Tag.objects.acreate(label="after")

    assert goes_on_after(work) == ["after", "sync"]


def test_django_test_case():
    """Its tests are in a block of a sync connection, and so is what they await."""

    class Case(TestCase):
        @classmethod
        def setUpTestData(cls) -> None:
            Tag.objects.create(label="class")

        async def test_one(self) -> None:
            assert await created() == ["async", "class"]

        async def test_two(self) -> None:
            assert await nested() == ["class", "kept"]

        def test_number_of_queries(self) -> None:
            with self.assertNumQueries(2):
                async_to_sync(created)()

        async def test_number_of_async_queries(self) -> None:
            with assert_num_queries(2) as queries:
                await created()
            assert "SELECT" in queries[1]["sql"]

        async def test_requests(self) -> None:
            await self.async_client.get("/write", {"name": "x"})
            assert await Author.objects.acount() == 1

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert (result.testsRun, result.errors, result.failures) == (5, [], [])
    assert labels() == []
    assert not Author.objects.exists()
