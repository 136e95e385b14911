"""Event loops come and go, in threads and in children: none leaves anything behind.

That no session, thread or transaction is left is checked after every test (`conftest._tidy`);
here unraisable errors and `ResourceWarning` fail a test too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.db.models import F, Func, TextField
from django.test import override_settings

from tests.project.library.models import Author
from tests.runtime.conftest import sessions
from tests.runtime.support import backend_pid, sleep
from turbo_orm import atomic, close_pools, open_pools, run_sync
from turbo_orm.db import loop_pools


@pytest.fixture(autouse=True)
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """No error and no warning may vanish in a destructor."""
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: found.append(repr(args.exc_value)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield found
        gc.collect()
    assert found == []


@pytest.fixture(autouse=True)
def _no_pools_left() -> Iterator[None]:
    yield
    assert [loop for loop in loop_pools._loops if not loop.is_closed()] == []


async def use() -> int:
    """A little of everything: a query, a block, an iterator left early, concurrency."""
    async with atomic():
        author = await Author.objects.acreate(name="x")
        await author.adelete()
    async for _ in Author.objects.aiterator():
        break
    await asyncio.gather(*(Author.objects.acount() for _ in range(3)))
    return await run_sync(backend_pid)


def test_asyncio_run_twice(observer: psycopg.Connection[Any]) -> None:
    first = asyncio.run(use())
    assert _settles(observer)
    assert asyncio.run(use()) != first


def _settles(observer: psycopg.Connection[Any]) -> bool:
    """The server notices a closed socket a moment later."""
    for _ in range(500):
        if not sessions(observer):
            return True
        threading.Event().wait(0.01)
    return False


@pytest.mark.slow
def test_asyncio_run_many_times(observer: psycopg.Connection[Any]) -> None:
    for _ in range(100):
        asyncio.run(use())
    assert _settles(observer)
    assert len(loop_pools._loops) == 0


@pytest.mark.threads  # asgiref runs each such loop in a thread
def test_async_to_sync_from_sync_code(observer: psycopg.Connection[Any]) -> None:
    for _ in range(5):
        assert async_to_sync(Author.objects.all().acount)() == 0
    assert _settles(observer)


@pytest.mark.slow
@pytest.mark.threads
def test_async_to_sync_many_times(observer: psycopg.Connection[Any]) -> None:
    for _ in range(100):
        async_to_sync(use)()
    assert _settles(observer)


def test_an_error_ends_the_loop_cleanly(observer: psycopg.Connection[Any]) -> None:
    async def fail() -> None:
        async with atomic():
            await Author.objects.acreate(name="x")
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        asyncio.run(fail())
    assert _settles(observer)
    assert asyncio.run(Author.objects.acount()) == 0


@pytest.mark.parametrize("milliseconds", [0, 4, 8, 12, 16, 20, 25, 30, 40, 60, 100])
def test_tasks_cancelled_at_the_end_of_the_loop(milliseconds: int, observer: psycopg.Connection[Any]) -> None:
    """While they connect, while the pool stores the connection, in a statement, in a block."""

    async def main() -> None:
        background = [asyncio.ensure_future(_slow_block()) for _ in range(5)]
        await asyncio.sleep(milliseconds / 1000)
        assert not any(task.done() for task in background)

    asyncio.run(main())
    assert _settles(observer)
    assert asyncio.run(Author.objects.acount()) == 0


async def _slow_block() -> None:
    async with atomic():
        await Author.objects.acreate(name=f"{id(asyncio.current_task())}")
        await asyncio.sleep(60)


@pytest.mark.parametrize("turns", [0, 1])
def test_a_coroutine_destroyed_at_the_end_of_the_loop(turns: int, observer: psycopg.Connection[Any]) -> None:
    async def main() -> None:
        assert await Author.objects.acount() == 0
        coroutine = run_sync(sleep, 0.5)
        future: Any = coroutine.send(None)
        future._asyncio_future_blocking = False
        coroutine.close()
        for _ in range(turns):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert _settles(observer)


@pytest.mark.threads
def test_a_loop_in_each_thread() -> None:
    pids: list[int] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            pids.extend(asyncio.run(_own_author()) for _ in range(3))
        except BaseException as exc:
            errors.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert len(pids) == 15
    assert asyncio.run(Author.objects.acount()) == 15


async def _own_author() -> int:
    async with atomic():
        await Author.objects.acreate(name=os.urandom(8).hex())
        return await run_sync(backend_pid)


@pytest.mark.threads
def test_a_thread_of_the_loop_runs_a_loop_of_its_own() -> None:
    async def main() -> tuple[int, int]:
        mine = await run_sync(backend_pid)

        def other() -> int:
            try:
                return asyncio.run(use())
            finally:
                connections.close_all()

        return mine, await sync_to_async(other, thread_sensitive=False)()

    mine, theirs = asyncio.run(main())
    assert mine != theirs


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> str:
        await use()
        return type(asyncio.get_running_loop()).__module__

    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(main()) == "uvloop"
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def test_a_loop_closed_without_ceremony(observer: psycopg.Connection[Any]) -> None:
    """Nobody called shutdown_asyncgens(): the pool's sockets go when the next loop is used."""
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(Author.objects.acount()) == 0
        _cancel_all(loop)
    finally:
        loop.close()
    assert len(sessions(observer)) == 1
    asyncio.run(Author.objects.acount())
    assert _settles(observer)


@pytest.mark.parametrize("how", ["wire", "bridge", "multiplexed"])
def test_a_loop_closed_while_statements_are_under_way(how: str, observer: psycopg.Connection[Any]) -> None:
    """Nothing wakes their tasks any more, and the next loop's first query has nothing to do with them."""
    seconds = Func(F("age"), function="pg_sleep", output_field=TextField())
    slow = Author.objects.annotate(slept=seconds)
    tasks: list[asyncio.Task[Any]] = []

    async def begin() -> None:
        author = await Author.objects.acreate(name="x", age=0)
        for _ in range(3):
            await slow.all().alist()
        author.age = 60
        await author.asave()
        work = [run_sync(list, slow.all()) if how == "bridge" else slow.all().alist() for _ in range(2)]
        tasks.extend(map(asyncio.ensure_future, work))
        while sum(state == "active" for _, state, _ in sessions(observer)) < 2:
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    with override_settings(TURBO_ORM={"MULTIPLEX": {"grow_at": 1} if how == "multiplexed" else None}):
        try:
            loop.run_until_complete(begin())
        finally:
            loop.close()
        assert asyncio.run(Author.objects.acount()) == 1
    for pid, *_ in sessions(observer):  # which would notice when the statement ends
        observer.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert _settles(observer)
    for task in tasks:
        assert not task.done()
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_loop_closed_after_its_pools_while_connections_are_in_use(
    observer: psycopg.Connection[Any],
) -> None:
    """As where an exception out of a signal handler ends `asyncio.run()` before the tasks have ended."""
    tasks: list[asyncio.Task[Any]] = []

    async def begin() -> None:
        tasks.append(asyncio.ensure_future(_slow_block()))
        while not any(state == "idle in transaction" for _, state, _ in sessions(observer)):
            await asyncio.sleep(0)
        await close_pools()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(begin())
    finally:
        loop.close()
    assert asyncio.run(Author.objects.acount()) == 0
    assert _settles(observer)
    tasks[0]._log_destroy_pending = False  # type: ignore[attr-defined]
    assert loop_pools._closed_in_use == []


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def test_pools_can_be_closed_and_open_again(observer: psycopg.Connection[Any]) -> None:
    async def main() -> None:
        await open_pools()
        first = await run_sync(backend_pid)
        await close_pools()
        assert _settles(observer)
        assert await run_sync(backend_pid) != first
        await close_pools()
        await close_pools()

    asyncio.run(main())


def test_open_pools_fills_them(observer: psycopg.Connection[Any]) -> None:
    async def main() -> None:
        await open_pools("default")
        for _ in range(500):
            if len(sessions(observer)) == 2:  # TURBO_ORM["POOL"]["min_size"] of the settings
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"min_size is 2, and there are {sessions(observer)}")

    asyncio.run(main())


def test_a_pool_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**connections["default"].settings_dict["OPTIONS"], "pool": {"min_size": 0, "max_size": 1}}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)

    async def main() -> set[int]:
        assert await asyncio.gather(*(Author.objects.acount() for _ in range(20))) == [0] * 20
        async with atomic():
            await asyncio.gather(*(Author.objects.acount() for _ in range(5)))
        return set(await asyncio.gather(*(run_sync(backend_pid) for _ in range(10))))

    assert len(asyncio.run(main())) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_between_two_loops() -> None:
    asyncio.run(use())
    assert _in_child(lambda: asyncio.run(Author.objects.acount())) == 0
    asyncio.run(use())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_inside_a_loop_leaves_the_parents_sessions_alone() -> None:
    async def main() -> None:
        async with atomic():
            await Author.objects.acreate(name="parent")
            pid = await run_sync(backend_pid)
            assert _in_child(_count_in_new_loop) == 0
            assert await run_sync(backend_pid) == pid
        assert await Author.objects.acount() == 1

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_another_thread_makes_pools() -> None:
    def count() -> None:
        signal.alarm(20)  # ends it, if it waits for ever
        assert asyncio.run(Author.objects.acount()) == 0

    with loop_pools._lock:
        assert _in_child(count) == 0


def _count_in_new_loop() -> None:
    asyncio._set_running_loop(None)
    assert asyncio.run(Author.objects.acount()) == 0  # not committed by the parent
    gc.collect()


def _in_child(work: Callable[[], Any]) -> int:
    """Run *work* in a forked child; return its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
