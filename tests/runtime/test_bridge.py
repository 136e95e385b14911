"""Sync code in the bridge behaves as in a thread of its own, but stays in the loop's thread."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import traceback
from collections.abc import Coroutine
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import IntegrityError, connection, connections, transaction
from django.db.models.signals import post_save
from django.dispatch import Signal

from tests.project.library.models import Author, Tag
from tests.runtime.conftest import terminate
from tests.runtime.support import assert_pool_is_clean, backend_pid, connect, pool, query, sleep
from turbo_orm import atomic, run_sync
from turbo_orm.bridge.greenlets import BridgeGreenlet, await_only
from turbo_orm.errors import BridgeError, ConnectionReleasedError

needs_async_receivers = pytest.mark.skipif(
    not hasattr(Signal, "asend"), reason="async receivers came with Django 5.0"
)


async def test_result_and_arguments():
    assert await run_sync(lambda a, b: (a, b), 1, b=2) == (1, 2)


async def test_async_functions_are_refused():
    for function in (Author.objects.acount, Author.objects.filter(age=1).aget, asyncio.sleep):
        with pytest.raises(TypeError, match=r"run_sync\(\) runs sync functions, and .* is an async one"):
            await run_sync(function, 0) if function is asyncio.sleep else await run_sync(function)
    with pytest.raises(TypeError, match="sleep"):
        await run_sync(lambda: asyncio.sleep(0))


async def test_runs_in_the_thread_of_the_loop():
    assert await run_sync(threading.get_ident) == threading.get_ident()


async def test_context_variables_flow_both_ways():
    variable = contextvars.ContextVar("variable", default=0)

    def work(expected: int, then: int) -> None:
        assert variable.get() == expected
        Author.objects.count()
        assert variable.get() == expected
        variable.set(then)

    variable.set(1)
    await run_sync(work, 1, 2)
    assert variable.get() == 2

    async def task(number: int) -> None:
        variable.set(number)
        for _ in range(3):
            await run_sync(work, number, number)

    await asyncio.gather(*map(task, range(20)))


async def test_the_loop_is_hidden_inside_and_back_outside():
    loop = asyncio.get_running_loop()

    def running() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    def work() -> tuple[bool, bool]:
        before = running()
        Author.objects.count()
        return before, running()

    assert await run_sync(work) == (False, False)
    assert asyncio.get_running_loop() is loop
    with pytest.raises(ZeroDivisionError):
        await run_sync(lambda: 1 / 0)
    assert asyncio.get_running_loop() is loop


async def test_sync_calls_outside_the_bridge_are_still_refused():
    await Author.objects.acount()
    for call in (Author.objects.count, Author(name="x").save, connection.cursor):
        with pytest.raises(SynchronousOnlyOperation):
            call()


async def test_errors_keep_their_class_cause_and_traceback():
    def duplicate() -> None:
        Author.objects.create(name="x")
        Author.objects.create(name="x")

    with pytest.raises(IntegrityError) as caught:
        await run_sync(duplicate)
    assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)
    text = "".join(traceback.format_exception(caught.value))
    assert "in duplicate" in text
    assert "in test_errors_keep" in text


async def test_the_exception_that_is_handled():
    """As in a function that is called; and in the coroutines of `async_to_sync()`."""

    def inside() -> tuple[object, object]:
        async def below() -> object:
            await asyncio.sleep(0)
            return sys.exc_info()[1]

        return sys.exc_info()[1], async_to_sync(below)()

    def failing() -> None:
        raise KeyError

    async def while_handling() -> None:
        error = sys.exc_info()[1]
        assert error is not None
        frames = traceback.extract_tb(error.__traceback__)
        assert await run_sync(inside) == (error, error)
        assert "LookupError: x" in await run_sync(traceback.format_exc)
        with pytest.raises(KeyError) as caught:
            await run_sync(failing)
        assert caught.value.__context__ is error
        assert traceback.extract_tb(error.__traceback__) == frames

    assert await run_sync(inside) == (None, None)
    try:
        raise LookupError("x")
    except LookupError:
        await while_handling()
    assert await run_sync(inside) == (None, None)


async def test_a_loop_of_its_own_below_sync_code():
    """Nothing can be awaited on this loop there, and nobody is to think that it were sync code."""
    for _ in range(3):
        assert await run_sync(Tag.objects.count) == 0  # it has a plan

    async def below(expected: type[Exception]) -> None:
        with pytest.raises(expected):
            Tag.objects.count()
        await asyncio.sleep(0)

    def connected() -> None:
        Tag.objects.count()
        asyncio.run(below(BridgeError))

    await run_sync(connected)
    await run_sync(lambda: asyncio.run(below(SynchronousOnlyOperation)))
    await assert_pool_is_clean()


async def test_stop_iteration_becomes_a_runtime_error():
    with pytest.raises(RuntimeError, match="StopIteration"):
        await run_sync(next, iter(()))


async def test_async_to_sync_is_awaited_in_place():
    async def helper(extra: int) -> int:
        await asyncio.sleep(0)
        return extra + await Author.objects.acount()

    def work() -> int:
        with transaction.atomic():
            Author.objects.create(name="x")
            return async_to_sync(helper)(10)

    assert await run_sync(work) == 11


async def test_sync_to_async_below_async_to_sync_comes_back():
    async def helper() -> tuple[int, int]:
        return await sync_to_async(threading.get_ident)(), await sync_to_async(backend_pid)()

    def work() -> tuple[int, tuple[int, int]]:
        with transaction.atomic():
            return backend_pid(), async_to_sync(helper)()

    pid, (thread, pid_below) = await run_sync(work)
    assert thread == threading.get_ident()
    assert pid_below == pid


async def test_errors_in_async_to_sync():
    async def fail() -> None:
        raise LookupError("here")

    def work() -> str:
        with pytest.raises(LookupError, match="here"):
            async_to_sync(fail)()
        return "caught"

    assert await run_sync(work) == "caught"


async def test_sync_receivers_run_on_the_transactions_connection():
    seen = []

    def receiver(instance: Author, **kwargs: object) -> None:
        seen.append((backend_pid(), Author.objects.count(), connection.in_atomic_block))

    post_save.connect(receiver, sender=Author)
    try:
        async with atomic():
            pid = await run_sync(backend_pid)
            await Author.objects.acreate(name="x")
    finally:
        post_save.disconnect(receiver, sender=Author)
    assert seen == [(pid, 1, True)]


@needs_async_receivers
async def test_async_receivers_see_the_open_transaction():
    seen = []

    async def reader(instance: Author, **kwargs: object) -> None:
        await asyncio.sleep(0)
        found = await Author.objects.aget(pk=instance.pk)
        seen.append((await run_sync(backend_pid), found.name))

    async def writer(instance: Author, **kwargs: object) -> None:
        async with atomic():
            await asyncio.sleep(0)
            await Tag.objects.acreate(label="from-a-receiver")

    post_save.connect(reader, sender=Author)
    post_save.connect(writer, sender=Author)
    try:
        async with atomic():
            pid = await run_sync(backend_pid)
            await Author.objects.acreate(name="x")
    finally:
        post_save.disconnect(reader, sender=Author)
        post_save.disconnect(writer, sender=Author)
    assert seen == [(pid, "x")]
    assert await Tag.objects.acount() == 1


async def test_objects_of_an_ended_operation_refuse():
    kept = {}

    def work() -> None:
        kept["wrapper"] = connections["default"]
        kept["cursor"] = connection.cursor()
        kept["cursor"].execute("SELECT 1")
        kept["raw"] = connection.connection

    await run_sync(work)
    with pytest.raises(ConnectionReleasedError, match="has ended"):
        await run_sync(lambda: kept["cursor"].execute("SELECT 1"))
    with pytest.raises(ConnectionReleasedError, match="has ended"):
        kept["cursor"].execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="closed"):
        await run_sync(lambda: kept["raw"].execute("SELECT 1"))
    with pytest.raises(BridgeError, match="belongs to another operation"):
        await run_sync(lambda: kept["wrapper"].cursor())
    await assert_pool_is_clean()


async def test_a_closed_connection_is_replaced_in_the_same_operation():
    def work() -> tuple[int, int]:
        first = backend_pid()
        connection.close()
        return first, backend_pid()

    await run_sync(work)
    await assert_pool_is_clean()


async def test_autocommit_off_is_rolled_back_and_reset():
    def work() -> None:
        transaction.set_autocommit(False)
        Author.objects.create(name="lost")

    await run_sync(work)
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_a_leaked_server_side_cursor_does_not_reach_the_next_user():
    await Author.objects.abulk_create([Author(name=str(number)) for number in range(50)])
    kept = []

    def work() -> int:
        rows = Author.objects.iterator(chunk_size=2)
        kept.append(rows)
        next(rows)
        return backend_pid()

    pid = await run_sync(work)
    assert await run_sync(query, "SELECT count(*) FROM pg_cursors") == [(0,)]
    assert pid not in [conn.info.backend_pid for conn in pool()._pool]
    kept.clear()
    gc.collect()


async def test_copy_pipeline_and_server_cursors_work():
    def work() -> tuple[int, int, list[int]]:
        connection.ensure_connection()
        raw = connection.connection
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE copied (a int)")
            with cursor.cursor.copy("COPY copied FROM STDIN") as copy:
                for number in range(100):
                    copy.write_row((number,))
            with cursor.cursor.copy("COPY copied TO STDOUT") as copy:
                out = sum(1 for _ in copy.rows())
            with raw.pipeline():
                raw.execute("INSERT INTO copied VALUES (100)")
                raw.execute("INSERT INTO copied VALUES (101)")
            cursor.execute("SELECT count(*) FROM copied")
            count = cursor.fetchone()[0]
            streamed = [row[0] for row in cursor.cursor.stream("SELECT a FROM copied ORDER BY a LIMIT 2")]
            cursor.execute("DROP TABLE copied")
        return out, count, streamed

    assert await run_sync(work) == (100, 102, [0, 1])
    await assert_pool_is_clean()


async def test_execute_wrappers_and_the_query_log_of_async_code_apply(settings_debug: None):
    calls = []

    def wrapper(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        calls.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        await Author.objects.acount()
    await Author.objects.acount()
    assert len(calls) == 1
    assert len(connection.queries) == 2


@pytest.fixture
def settings_debug():
    from django.test.utils import override_settings

    with override_settings(DEBUG=True):
        yield


async def test_a_killed_session_fails_once_and_the_next_operation_works(observer):
    def kill_myself() -> None:
        query("SELECT pg_terminate_backend(pg_backend_pid())")

    from django.db import OperationalError

    with pytest.raises(OperationalError):
        await run_sync(kill_myself)
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_idle_connections_the_server_closed_are_not_handed_out(observer):
    await connect(3)
    terminate(observer, *[conn.info.backend_pid for conn in pool()._pool])
    await asyncio.sleep(0.01)
    assert await asyncio.gather(*[Author.objects.acount() for _ in range(5)]) == [0] * 5


async def test_a_destroyed_coroutine_finishes_its_connection():
    seen = []

    def work() -> None:
        try:
            with transaction.atomic():
                Author.objects.create(name="x")
                sleep(10)
        finally:
            seen.append("finally")

    task = asyncio.ensure_future(asyncio.sleep(0))
    await task
    coroutine = run_sync(work)
    future = coroutine.send(None)
    for _ in range(200):
        if future is not None and not future.done():
            await asyncio.wait([future], timeout=0.01)
        else:
            await asyncio.sleep(0)
        if len(await _active_sleepers()) == 1:
            break
        if future is None or future.done():
            future = coroutine.send(None)
    coroutine.close()
    assert seen == ["finally"]
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def _suspended() -> Coroutine[Any, Any, None]:
    """A coroutine whose sync code waits for the server, and which nobody awaits."""
    coroutine = run_sync(sleep, 10)
    future: Any = coroutine.send(None)
    future._asyncio_future_blocking = False
    while not await _active_sleepers():  # a server that has not begun can't be told to stop
        await asyncio.sleep(0.005)
    return coroutine


@pytest.mark.parametrize("found_by_collector", [False, True])
async def test_a_coroutine_is_destroyed_in_another_bridge(found_by_collector: bool):
    await connect(2)
    abandoned = [await _suspended()]

    def work() -> int:
        cycle: list[Any] = [abandoned.pop()]
        if not found_by_collector:
            cycle[0].close()
        cycle.append(cycle)
        del cycle
        gc.collect()
        return Author.objects.count()

    assert await run_sync(work) == 0
    await assert_pool_is_clean()


def _greenlets_in_memory() -> int:
    gc.collect()
    return sum(type(each) is BridgeGreenlet for each in gc.get_objects())


async def test_destroyed_coroutines_leave_nothing_in_memory():
    await connect(1)
    before = _greenlets_in_memory()
    for _ in range(3):
        (await _suspended()).close()
        await assert_pool_is_clean()
    assert _greenlets_in_memory() <= before + 1


async def test_of_many_at_once_some_greenlets_are_kept_and_the_others_leave_memory():
    def work() -> None:
        await_only(asyncio.sleep(0))

    before = _greenlets_in_memory()
    for _ in range(3):
        await asyncio.gather(*(run_sync(work) for _ in range(100)))
    assert _greenlets_in_memory() <= before + 64


@pytest.mark.threads
def test_threads_take_their_greenlets_with_them():
    def work() -> None:
        asyncio.run(run_sync(int))

    before = _greenlets_in_memory()
    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        async_to_sync(run_sync)(int)  # in a thread of its own
    assert _greenlets_in_memory() <= before + 1  # asgiref does not wait for its last thread


async def test_a_destroyed_coroutine_takes_no_other_connection():
    seen = []

    def work() -> None:
        try:
            sleep(10)
        finally:
            with pytest.raises(BridgeError, match="being destroyed"):
                query("SELECT 1", [])
            seen.append("finally")

    await connect(2)
    coroutine = run_sync(work)
    coroutine.send(None)
    coroutine.close()
    assert seen == ["finally"]
    await assert_pool_is_clean()


async def _active_sleepers() -> list[object]:
    sql = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND state = 'active'"
    return await run_sync(query, sql + " AND datname = current_database()", [])


async def test_nothing_can_be_awaited_outside():
    with pytest.raises(BridgeError, match="run_sync"):
        await_only(asyncio.sleep(0))
