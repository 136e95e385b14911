"""A cancelled task leaves no half-done transaction and no lost connection, wherever it was."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DatabaseError, transaction
from django.db.models import Func, TextField, Value

from tests.project.library.models import Author
from tests.runtime.conftest import asleep
from tests.runtime.support import (
    assert_pool_is_clean,
    backend_pid,
    cancelled_when,
    query,
    sleep,
    until,
    watched,
)
from turbo_orm import atomic, run_sync
from turbo_orm.bridge.turns import Turns
from turbo_orm.db import leases
from turbo_orm.db.pools import Pool


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_at_acquire():
    """A task that waits for a connection gives up its place in the queue."""
    release = asyncio.Event()
    holding: list[None] = []

    async def hold() -> None:
        async with atomic():
            await Author.objects.acount()
            holding.append(None)
            await release.wait()

    holders = [asyncio.create_task(hold()) for _ in range(20)]
    while len(holding) < 20:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(Author.objects.acount())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await cancelled(waiting)
    release.set()
    await asyncio.gather(*holders)
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_at_execute():
    def work() -> None:
        with transaction.atomic():
            Author.objects.create(name="x")
            sleep(30)

    task = asyncio.create_task(run_sync(work))
    await until_active("SELECT pg_sleep")
    await cancelled(task)
    assert await Author.objects.acount() == 0
    assert await active("SELECT pg_sleep") == 0
    await assert_pool_is_clean()


async def test_at_commit():
    """Cancelled during COMMIT: committed or not, but never in between."""

    async def work() -> None:
        async with atomic():
            await Author.objects.acreate(name="x")
            await run_sync(query, _SLOW_COMMIT)

    await run_sync(_install_slow_commit)
    try:
        task = asyncio.create_task(work())
        await until_active("COMMIT")
        await cancelled(task)
        assert await Author.objects.acount() in (0, 1)
        await assert_pool_is_clean()
    finally:
        await run_sync(_remove_slow_commit)


async def test_twice_at_commit_in_sync_code_that_goes_on_after_errors():
    """Of the database, that is: the cancellation is none, whatever Django does last in the block."""

    def work() -> None:
        with suppress(DatabaseError), transaction.atomic():
            query(_SLOW_COMMIT)

    await run_sync(_install_slow_commit)
    try:
        task = asyncio.create_task(run_sync(work))
        await until_active("COMMIT")
        task.cancel()
        await asyncio.sleep(0)
        await cancelled(task)
        await assert_pool_is_clean()
    finally:
        await run_sync(_remove_slow_commit)


async def test_between_a_begin_and_its_statement(observer: psycopg.Connection[Any]):
    """And once more, as the server has the statement: who closes the connection sees to its end."""
    waited: list[Any] = []

    def waits(future: Any) -> bool:
        if not waited:
            future.add_done_callback(lambda _: task.cancel())
        waited.append(future)
        return False

    def work() -> None:
        with transaction.atomic():
            sleep(30)

    async def run() -> None:
        await watched(run_sync(work), waits)

    await Author.objects.acount()
    task = asyncio.create_task(run())
    await until(lambda: asleep(observer))
    await cancelled(task)
    await until(lambda: not asleep(observer), 5)
    await assert_pool_is_clean()


_SLOW_COMMIT = "INSERT INTO slow_commit VALUES (1) RETURNING 1"


def _install_slow_commit() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE slow_commit (a int)")
        cursor.execute(
            "CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM pg_sleep(5); RETURN NULL; END$$"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON slow_commit "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit()"
        )


def _remove_slow_commit() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE slow_commit")
        cursor.execute("DROP FUNCTION slow_commit()")


@pytest.fixture
def returning(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Connections go back slowly; set once one does."""
    putconn = Pool.putconn
    returning = asyncio.Event()

    async def slow_putconn(self: Pool, conn: Any) -> None:
        returning.set()
        await asyncio.sleep(0.05)
        await putconn(self, conn)

    monkeypatch.setattr(Pool, "putconn", slow_putconn)
    # As if the pool had to do more with it than to keep it.
    monkeypatch.setattr("turbo_orm.bridge.connection.put_idle", lambda conn, pool: False)
    return returning


@pytest.mark.parametrize("fail", [False, True])
async def test_at_release(returning: asyncio.Event, monkeypatch: pytest.MonkeyPatch, fail: bool):
    """Cancelled while the connection goes back: it arrives all the same."""
    work = run_sync(query, "SELECT 1/0" if fail else "SELECT 1")
    task = asyncio.create_task(work)
    await returning.wait()
    await cancelled(task)
    monkeypatch.undo()
    await assert_pool_is_clean()


async def test_twice_at_release(returning: asyncio.Event, monkeypatch: pytest.MonkeyPatch):
    task = asyncio.create_task(run_sync(query, "SELECT 1"))
    await returning.wait()
    task.cancel()
    await asyncio.sleep(0.01)
    await cancelled(task)
    monkeypatch.undo()
    await assert_pool_is_clean()


async def test_destroyed_at_release(returning: asyncio.Event, monkeypatch: pytest.MonkeyPatch):
    """The connection arrives all the same, and nothing is said of it."""
    work = run_sync(query, "SELECT 1")
    while not returning.is_set():
        future: Any = work.send(None)
        if future is not None:
            future._asyncio_future_blocking = False
            if not returning.is_set():
                await asyncio.wait([future])
    work.close()
    await asyncio.sleep(0.1)
    monkeypatch.undo()
    await assert_pool_is_clean()


@pytest.mark.parametrize("straight", [False, True])
async def test_twice_while_the_server_is_told(straight: bool, observer: psycopg.Connection[Any]):
    """It is told all the same: it would not notice that nobody waits before it is done."""
    rows = Author.objects.annotate(slept=Func(Value(30.0), function="pg_sleep", output_field=TextField()))
    await Author.objects.acreate(name="x")
    task = asyncio.create_task(rows.values_list("slept").alist() if straight else run_sync(sleep, 30))
    await until_active("SELECT pg_sleep")
    task.cancel()
    await asyncio.sleep(0)
    await cancelled(task)
    await until(lambda: not asleep(observer))
    await assert_pool_is_clean()


async def test_a_timeout_in_a_savepoint_rolls_back_to_it(observer: psycopg.Connection[Any]):
    async def inner() -> None:
        async with atomic():
            await Author.objects.acreate(name="inner")
            await run_sync(sleep, 30)

    async with atomic():
        await Author.objects.acreate(name="outer")
        await cancelled_when(lambda: asleep(observer), inner())
        await Author.objects.acreate(name="after")
    assert await Author.objects.order_by("name").values_list("name", flat=True).alist() == ["after", "outer"]
    await assert_pool_is_clean()


async def test_cancelled_while_children_run():
    """The block waits for its children before it ends, and is cancelled nevertheless."""
    started = asyncio.Event()

    async def child() -> None:
        started.set()
        await run_sync(sleep, 0.2)

    async def block() -> asyncio.Task[None]:
        async with atomic():
            await Author.objects.acreate(name="x")
            task = asyncio.create_task(child())
            await started.wait()
            await asyncio.sleep(0.05)
        return task

    task = asyncio.create_task(block())
    await started.wait()
    await asyncio.sleep(0.1)
    await cancelled(task)
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_storm():
    """Four hundred transactions, each cancelled at a random moment, half of them twice."""
    chance = random.Random(5)

    def work() -> None:
        with transaction.atomic():
            author = Author.objects.create(name=str(chance.random()))
            with transaction.atomic():
                author.age = 1
                author.save()
            sleep(0.002)
            list(Author.objects.all()[:10])

    outcomes: list[object] = []
    for _ in range(40):
        tasks = [asyncio.create_task(run_sync(work)) for _ in range(10)]
        for task in tasks:
            await asyncio.sleep(chance.random() * 0.004)
            task.cancel()
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.002)
                task.cancel()
        outcomes += await asyncio.gather(*tasks, return_exceptions=True)
    done = sum(outcome is None for outcome in outcomes)
    lost = sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert done + lost == 400
    # A cancellation during COMMIT may come too late to undo it.
    assert done <= await Author.objects.acount() <= done + lost
    await assert_pool_is_clean()


async def test_cancelling_one_of_many_leaves_the_others_alone():
    tasks = [asyncio.create_task(run_sync(backend_pid)) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 9


async def test_a_coroutine_destroyed_while_it_waits_for_its_turn():
    """The turn goes to who comes next."""
    for _ in range(3):
        await Author.objects.filter(name="a").acount()

    async def work() -> int:
        async with atomic():
            running = asyncio.create_task(run_sync(sleep, 0.05))
            await asyncio.sleep(0.01)
            waiting = Author.objects.filter(name="a").acount().__await__()
            next(waiting)
            waiting.close()
            await running
            return await Author.objects.filter(name="a").acount()

    assert await asyncio.wait_for(work(), 10) == 0
    await assert_pool_is_clean()


async def test_a_sync_function_that_async_code_in_the_bridge_waits_for(observer: psycopg.Connection[Any]):
    """Its statement is stopped: what comes next on the connection would wait for its end."""

    async def below() -> None:
        await cancelled_when(lambda: asleep(observer), sync_to_async(sleep)(30))

    await asyncio.wait_for(run_sync(async_to_sync(below)), 20)
    await assert_pool_is_clean()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_wait_for_a_turn_is_cancelled_as_it_ends(ended: bool):
    """It has the turn then, to pass it on, if it came; not if it was told that none will come."""
    turns = Turns(asyncio.get_running_loop())
    assert turns.take()
    waiting = asyncio.create_task(turns.acquire())
    await asyncio.sleep(0)
    if ended:
        turns.end()
    else:
        turns.release()
    await cancelled(waiting)
    assert turns.taken is ended


async def test_the_turns_end_as_one_comes():
    turns = Turns(asyncio.get_running_loop())
    assert turns.take()
    waiting = asyncio.create_task(turns.acquire())
    await asyncio.sleep(0)
    turns.release()
    turns.end(LookupError)
    turns.end()
    with pytest.raises(LookupError):
        await waiting


def test_give_back_is_named_in_one_place():
    """The tests above patch `Pool.putconn`: it must be what the leases use."""
    assert "putconn" in leases.give_back.__code__.co_names


async def active(prefix: str) -> int:
    sql = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE state = 'active' AND query LIKE %s AND datname = current_database()"
    )
    return (await run_sync(query, sql, [prefix + "%"]))[0][0]


async def until_active(prefix: str) -> None:
    await until(lambda: active(prefix))
