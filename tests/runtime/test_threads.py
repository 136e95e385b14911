"""Functions that `sync_to_async()` runs in threads take part in the blocks they are called in."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib import auth
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import IntegrityError, ProgrammingError, close_old_connections, connections, transaction
from django.db.models import F, prefetch_related_objects
from django.dispatch import Signal
from django.http import HttpRequest

from tests.project.library.models import Author, Plain
from tests.runtime.support import assert_pool_is_clean, backend_pid, cancelled_when, destroy_when, sleep
from turbo_orm import atomic, close_pools, on_commit, run_sync
from turbo_orm.bridge import threads, turns, user_code
from turbo_orm.errors import BlockDeadlockError, ConnectionReleasedError
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.threads


def names() -> list[str]:
    return sorted(Author.objects.values_list("name", flat=True))


def create(name: str) -> Author:
    return Author.objects.create(name=name)


class Gate:
    """Holds a thread up, without the database."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(10)

    async def wait_until_reached(self) -> None:
        while not self.reached.is_set():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("thread_sensitive", [True, False])
async def test_it_sees_the_block_and_goes_with_it(thread_sensitive: bool):
    threads = {threading.get_ident()}

    def work() -> tuple[list[str], int]:
        threads.add(threading.get_ident())
        create("b")
        Author.objects.filter(name="a").update(age=F("id"))
        return names(), backend_pid()

    with pytest.raises(ZeroDivisionError):
        async with atomic():
            author = await Author.objects.acreate(name="a")
            found, pid = await sync_to_async(work, thread_sensitive=thread_sensitive)()
            assert found == ["a", "b"]
            assert pid == await run_sync(backend_pid)
            await author.arefresh_from_db()
            assert author.age == author.pk
            raise ZeroDivisionError
    assert len(threads) == 2
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_outside_of_blocks_it_has_the_connection_of_its_thread():
    def work() -> bool:
        try:
            return backend_pid() == Author.objects.count()
        finally:
            connections.close_all()

    assert await sync_to_async(work)() is False
    async with atomic(using="other"):
        assert await sync_to_async(work)() is False
        assert await sync_to_async(lambda: connections["other"].in_atomic_block)()
        assert not await sync_to_async(lambda: connections["default"].in_atomic_block)()


async def test_two_databases():
    def work() -> None:
        Author.objects.using("other").create(name="kept")
        create("lost")
        connections["other"].close()

    with pytest.raises(ZeroDivisionError):
        async with atomic():
            await sync_to_async(work)()
            raise ZeroDivisionError
    assert await Author.objects.using("other").acount() == 1
    assert await Author.objects.acount() == 0


async def test_its_blocks_are_savepoints():
    called: list[str] = []

    def work() -> list[str]:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            create("lost")
            transaction.on_commit(lambda: called.append("lost"))
            raise ZeroDivisionError
        with transaction.atomic():
            create("kept")
            transaction.on_commit(lambda: called.append("kept"))
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic(durable=True):
            pass
        return names()

    async with atomic():
        await on_commit(lambda: called.append("first"))
        assert await sync_to_async(work)() == ["kept"]
        assert called == []
    assert called == ["first", "kept"]
    assert await run_sync(names) == ["kept"]


async def test_an_error_breaks_the_block_as_it_does_in_sync_code():
    def work() -> None:
        author = create("a")
        with pytest.raises(IntegrityError):
            Author.objects.create(pk=author.pk, name="twice")
        create("b")

    with pytest.raises(transaction.TransactionManagementError, match="until the end of the 'atomic' block"):
        async with atomic():
            await sync_to_async(work)()
    assert await Author.objects.acount() == 0


async def test_a_connection_that_is_closed_there_is_not_the_blocks():
    def work() -> None:
        try:
            create("a")
        finally:
            connections["default"].close()
            close_old_connections()
            connections.close_all()

    async with atomic():
        await sync_to_async(work)()
        assert await run_sync(names) == ["a"]
    assert await run_sync(names) == ["a"]


async def test_one_after_another():
    def work(name: str) -> int:
        with transaction.atomic():
            count = Author.objects.count()
            sleep(0.005)
            create(name)
            return Author.objects.count() - count

    async with atomic():
        calls = [sync_to_async(work, thread_sensitive=bool(number % 2))(f"{number}") for number in range(8)]
        creating = [Author.objects.acreate(name=f"a{number}") for number in range(8)]
        assert (await asyncio.gather(*calls, *creating))[:8] == [1] * 8
    assert await Author.objects.acount() == 16


async def test_a_function_that_does_not_query_holds_nobody_up():
    gate = Gate()
    async with atomic():
        waiting = asyncio.create_task(sync_to_async(gate)())
        await gate.wait_until_reached()
        await asyncio.wait_for(Author.objects.acreate(name="a"), 5)
        gate.open.set()
        await waiting


@pytest.mark.parametrize("threads_of_their_own", [False, True])
@pytest.mark.parametrize("thread_sensitive", [True, False])
async def test_many_blocks(thread_sensitive: bool, threads_of_their_own: bool):
    """Each with its function: with one thread for all, one for each, or some."""

    def work(label: str) -> int:
        create(label + "b")
        with transaction.atomic():
            create(label + "c")
        return Author.objects.filter(name__startswith=label).count()

    async def block(number: int) -> None:
        async with AsyncExitStack() as stack:
            if threads_of_their_own:
                await stack.enter_async_context(ThreadSensitiveContext())
            await stack.enter_async_context(atomic())
            await Author.objects.acreate(name=f"{number}: a")
            assert await sync_to_async(work, thread_sensitive=thread_sensitive)(f"{number}: ") == 3
            if number % 3 == 0:
                raise ZeroDivisionError

    outcomes = await asyncio.gather(*map(block, range(60)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, type(None), type(None)] * 20
    assert await Author.objects.acount() == 40 * 3
    await assert_pool_is_clean()


@pytest.mark.parametrize("queried", [False, True])
async def test_async_code_below_it(queried: bool):
    async def below() -> list[str]:
        await Author.objects.acreate(name="below")
        async with atomic():
            await asyncio.gather(*(Author.objects.acreate(name=f"{number}") for number in range(2)))
        await sync_to_async(create)("deep")
        await sync_to_async(create, thread_sensitive=False)("deeper")
        return [author.name async for author in Author.objects.order_by("name")]

    def work() -> tuple[list[str], list[str]]:
        if queried:
            create("before")
        found = async_to_sync(below)()
        create("then")
        return found, names()

    expected = ["0", "1", "below", "deep", "deeper"] + ["before"] * queried
    with pytest.raises(ZeroDivisionError):
        async with atomic():
            found, after = await asyncio.wait_for(sync_to_async(work)(), 10)
            assert found == sorted(expected)
            assert after == sorted([*expected, "then"])
            raise ZeroDivisionError
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_async_code_in_the_bridge():
    """The bridge is in the place of a thread."""

    async def below() -> list[str]:
        await sync_to_async(create)("below")
        return await sync_to_async(names)()

    with pytest.raises(ZeroDivisionError):
        async with atomic():
            assert await asyncio.wait_for(run_sync(lambda: async_to_sync(below)()), 10) == ["below"]
            raise ZeroDivisionError
    assert await Author.objects.acount() == 0


async def test_a_function_that_outlives_the_block():
    gate = Gate()

    def work() -> list[str]:
        gate()
        return names()

    async with atomic():
        task = asyncio.create_task(sync_to_async(work)())
        await gate.wait_until_reached()
    gate.open.set()
    with pytest.raises(ConnectionReleasedError, match="await it in the block"):
        await asyncio.wait_for(task, 10)


async def test_a_task_that_outlives_the_async_code_below_it():
    started: list[asyncio.Task[Any]] = []

    async def later() -> None:
        await asyncio.sleep(0.01)
        await Author.objects.acreate(name="later")

    async def below() -> None:
        started.append(asyncio.create_task(later()))

    def work() -> list[str]:
        create("first")
        async_to_sync(below)()
        sleep(0.05)
        return names()

    async with atomic():
        assert await sync_to_async(work)() == ["first"]
        await started[0]
        assert await run_sync(names) == ["first", "later"]


@pytest.mark.skipif(not hasattr(Signal, "asend"), reason="asend() came with Django 5.0")
async def test_receivers_of_signals():
    def receiver(**kwargs: Any) -> None:
        Author.objects.filter(name="a").update(name="b")

    signal = Signal()
    signal.connect(receiver)
    async with atomic():
        await Author.objects.acreate(name="a")
        await asyncio.wait_for(signal.asend(sender=None), 10)
        assert await run_sync(names) == ["b"]


@pytest.mark.skipif(not hasattr(auth, "alogin"), reason="alogin() came with Django 5.0")
async def test_somebody_signs_up():
    """`alogin()` has a sync receiver, which writes to the row that only the block sees."""
    request: Any = HttpRequest()
    request.session = SessionStore()
    with pytest.raises(ZeroDivisionError):
        async with atomic():
            await User.objects.acreate_user("ada", password="secret")
            user = await auth.aauthenticate(request, username="ada", password="secret")
            await asyncio.wait_for(auth.alogin(request, user), 10)
            await user.arefresh_from_db()
            assert user.last_login is not None
            raise ZeroDivisionError
    assert await run_sync(User.objects.count) == 0


async def test_djangos_iterator_and_prefetches_of_plain_models():
    async with atomic():
        author = await Author.objects.acreate(name="x")
        await run_sync(Plain.objects.bulk_create, [Plain(name=name, author=author) for name in "abc"])
        rows = Plain.objects.order_by("name")
        assert [plain.name async for plain in rows.aiterator(chunk_size=2)] == ["a", "b", "c"]
        await sync_to_async(prefetch_related_objects)([author], "plains")
        assert len(author.plains.all()) == 3


async def test_what_it_executes_is_recorded():
    async with atomic():
        with capture_queries() as queries:
            await sync_to_async(create)("a")
            assert await sync_to_async(names)() == ["a"]
    assert ["INSERT" in each["sql"] for each in queries] == [True, False]


async def test_a_cancellation_does_not_wait_for_a_function_that_has_not_queried():
    gate = Gate()
    outcome: list[Any] = []

    def work() -> None:
        gate()
        try:
            outcome.append(names())
        except BaseException as exc:
            outcome.append(exc)

    async with atomic():
        await cancelled_when(gate.reached.is_set, sync_to_async(work, thread_sensitive=False)())
        await Author.objects.acreate(name="a")
    gate.open.set()
    while not outcome:
        await asyncio.sleep(0.001)
    assert isinstance(outcome[0], ConnectionReleasedError)
    assert "sync_to_async()" in str(outcome[0])
    assert await Author.objects.acount() == 1


async def test_a_cancellation_in_a_statement():
    def work() -> None:
        create("a")
        with transaction.atomic():
            sleep(20)

    async with atomic():
        await Author.objects.acreate(name="kept")
        with pytest.raises(asyncio.TimeoutError):
            async with atomic():
                await asyncio.wait_for(sync_to_async(work)(), 0.1)
        assert await run_sync(names) == ["kept"]
    await assert_pool_is_clean()


class HeldUp:
    """A block whose function in a thread has queried, is held up, and queries again."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.seen: list[BaseException] = []

    def work(self) -> None:
        create("a")
        self.gate()
        try:
            create("b")
        except BaseException as exc:
            self.seen.append(exc)
            raise

    async def block(self, *, thread_sensitive: bool = True) -> None:
        async with atomic():
            await sync_to_async(self.work, thread_sensitive=thread_sensitive)()

    async def assert_cancelled_once_it_goes_on(self, task: asyncio.Task[None]) -> None:
        _, pending = await asyncio.wait([task], timeout=0.05)
        assert pending
        self.gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert [type(each) for each in self.seen] == [asyncio.CancelledError]
        assert await Author.objects.acount() == 0
        await assert_pool_is_clean()


async def test_a_cancellation_waits_for_a_function_that_has_queried():
    held_up = HeldUp()
    task = asyncio.create_task(held_up.block())
    await held_up.gate.wait_until_reached()
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()  # it changes nothing
    await held_up.assert_cancelled_once_it_goes_on(task)


async def test_a_cancellation_of_all_tasks_waits_for_it_too():
    """As at the end of `asyncio.run()`, when a task was cancelled before."""
    held_up = HeldUp()
    task = asyncio.create_task(held_up.block())
    await held_up.gate.wait_until_reached()
    before = asyncio.all_tasks() - {task}
    task.cancel()
    await asyncio.sleep(0.01)
    for each in asyncio.all_tasks() - before:
        each.cancel()
    await held_up.assert_cancelled_once_it_goes_on(task)


async def test_a_cancellation_as_async_code_below_it_ends(monkeypatch: pytest.MonkeyPatch):
    """It goes on when it has its turn again, and not beside a task which that code has started."""
    nested, leave_nested, gate = asyncio.Event(), asyncio.Event(), Gate()
    call = user_code._call_outside

    def call_and_wait(*args: Any) -> object:
        result = call(*args)
        gate()
        return result

    tasks: list[asyncio.Task[None]] = []
    events: list[str] = []

    async def child() -> None:
        async with atomic():
            nested.set()
            await leave_nested.wait()
            events.append("child")

    async def below() -> None:
        tasks.append(asyncio.create_task(child()))
        await nested.wait()

    def work() -> None:
        create("a")
        try:
            async_to_sync(below)()
        except BaseException as exc:
            events.append(type(exc).__name__)
            raise

    async def block() -> None:
        async with atomic():
            await sync_to_async(work)()

    monkeypatch.setattr(user_code, "_call_outside", call_and_wait)
    task = asyncio.create_task(block())
    await gate.wait_until_reached()
    (part,) = threads._parts
    for _ in range(100):  # asgiref keeps the first one for itself
        task.cancel()
        await asyncio.sleep(0)
    assert part._cancelling
    gate.open.set()
    await asyncio.wait([task], timeout=0.05)
    leave_nested.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert events == ["child", "CancelledError"]
    await tasks[0]
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_a_cancellation_while_it_waits_for_its_turn():
    gate = Gate()

    def first() -> None:
        create("first")
        gate()

    async with atomic():
        has_turn = asyncio.create_task(sync_to_async(first, thread_sensitive=False)())
        await gate.wait_until_reached()
        waits = asyncio.create_task(sync_to_async(create, thread_sensitive=False)("second"))
        await asyncio.sleep(0.05)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waits, 10)
        gate.open.set()
        await has_turn
        assert await run_sync(names) == ["first"]


async def test_a_coroutine_that_is_closed():
    held_up = HeldUp()
    await destroy_when(held_up.gate.reached.is_set, held_up.block(thread_sensitive=False))
    held_up.gate.open.set()
    while not held_up.seen:
        await asyncio.sleep(0.001)
    # What Django says of a block whose connection is lost.
    assert isinstance(held_up.seen[0], ProgrammingError)
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_tasks_below_a_function_whose_block_is_destroyed():
    """They are not executed outside of it."""
    tasks: list[asyncio.Task[Any]] = []

    async def below() -> None:
        tasks.append(asyncio.create_task(run_sync(sleep, 30)))
        tasks.append(asyncio.create_task(Author.objects.acreate(name="alone")))
        await asyncio.sleep(0)
        started.set()
        await asyncio.wait(tasks)

    def work() -> None:
        create("lost")
        async_to_sync(below)()

    async def block() -> None:
        async with atomic():
            await sync_to_async(work, thread_sensitive=False)()

    started = asyncio.Event()
    await destroy_when(started.is_set, block())
    for task in tasks:
        with pytest.raises(transaction.TransactionManagementError):
            await task
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


@pytest.mark.parametrize("waits", [False, True])
async def test_a_coroutine_that_is_closed_before_its_turn(waits: bool):
    gate = Gate()
    outcome: list[BaseException] = []

    def first() -> None:
        create("first")
        gate()

    def second() -> None:
        try:
            create("second")
        except BaseException as exc:
            outcome.append(exc)

    async with atomic():
        has_turn = asyncio.create_task(sync_to_async(first, thread_sensitive=False)())
        await gate.wait_until_reached()
        coroutine = sync_to_async(second, thread_sensitive=False)()
        coroutine.send(None)
        if waits:
            await asyncio.sleep(0.05)
        coroutine.close()
        gate.open.set()
        await has_turn
        assert await asyncio.wait_for(asyncio.create_task(run_sync(names)), 10) == ["first"]
        while not outcome:
            await asyncio.sleep(0.001)
    assert isinstance(outcome[0], ConnectionReleasedError)
    assert await run_sync(names) == ["first"]


async def test_a_coroutine_that_is_closed_in_a_statement(caplog: pytest.LogCaptureFixture):
    begun = threading.Event()
    outcome: list[BaseException] = []

    def work() -> None:
        create("a")
        begun.set()
        try:
            sleep(20)
        except BaseException as exc:
            outcome.append(exc)

    with pytest.raises(transaction.TransactionManagementError):
        async with atomic():
            coroutine = sync_to_async(work, thread_sensitive=False)()
            coroutine.send(None)
            while not begun.is_set():
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            coroutine.close()
            while not outcome:
                await asyncio.sleep(0.001)
    assert isinstance(outcome[0], ConnectionReleasedError)
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_deadlock_is_noticed():
    async def outside() -> None:
        await asyncio.sleep(0.01)
        await sync_to_async(create)("never")

    async with atomic():
        task = asyncio.create_task(outside())
        async with atomic():
            with pytest.raises(BlockDeadlockError):
                await asyncio.wait_for(task, 10)


async def test_a_deadlock_for_a_thread_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "RECHECK_AFTER", 0.01)
    begun = asyncio.Event()
    gate = Gate()

    def first() -> None:
        gate()
        create("first")

    async def nested() -> None:
        async with atomic():
            begun.set()
            await sync_to_async(create)("nested")

    async with atomic():
        has_thread = asyncio.create_task(sync_to_async(first)())
        await gate.wait_until_reached()
        has_connection = asyncio.create_task(nested())
        await begun.wait()
        gate.open.set()
        with pytest.raises(BlockDeadlockError, match="the thread of this one"):
            await asyncio.wait_for(has_thread, 10)
        await asyncio.wait_for(has_connection, 10)
        assert await run_sync(names) == ["nested"]


def test_from_sync_code(empty_tables: Callable[[], None]):
    """The thread of sync code runs it, while the event loop is in another one."""

    async def main() -> tuple[list[str], int]:
        async with atomic():
            await Author.objects.acreate(name="a")
            await sync_to_async(create)("b")
            return await sync_to_async(names)(), await sync_to_async(threading.get_ident)()

    assert async_to_sync(main)() == (["a", "b"], threading.get_ident())


def test_a_loop_that_is_not_running_when_it_queries(empty_tables: Callable[[], None]):
    gate = Gate()
    outcome: list[BaseException] = []

    def work() -> None:
        gate()
        try:
            names()
        except BaseException as exc:
            outcome.append(exc)

    async def block() -> None:
        async with atomic():
            await cancelled_when(gate.reached.is_set, sync_to_async(work, thread_sensitive=False)())

    loop = asyncio.new_event_loop()
    loop.run_until_complete(block())
    gate.open.set()
    for _ in range(500):
        if outcome:
            break
        time.sleep(0.01)
    refused = list(outcome)
    loop.run_until_complete(close_pools())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert isinstance(refused[0], ConnectionReleasedError)


def test_a_loop_that_is_closed_before_it_ends(empty_tables: Callable[[], None]):
    held_up = HeldUp()
    loop = asyncio.new_event_loop()
    task = loop.create_task(held_up.block(thread_sensitive=False))
    loop.run_until_complete(held_up.gate.wait_until_reached())
    others = asyncio.all_tasks(loop) - {task}
    for other in others:
        other.cancel()
    loop.run_until_complete(asyncio.gather(*others, return_exceptions=True))
    loop.close()
    held_up.gate.open.set()
    for _ in range(1000):
        if held_up.seen:
            break
        time.sleep(0.01)
    assert isinstance(held_up.seen[0], ConnectionReleasedError)
    task.get_coro().close()  # type: ignore[union-attr]
    asyncio.run(run_sync(int))  # the sockets of the closed loop go
