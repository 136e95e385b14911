"""One transaction for turbo_orm and django-async-backend, whichever opened it."""

from __future__ import annotations

import asyncio
import contextvars
import json
import subprocess
import sys
import unittest
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from typing import Any

import psycopg
import pytest
from asgiref.local import Local
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.db.models.signals import post_save

from tests.project.library.models import Author, Book, Tag
from tests.runtime.support import (
    assert_pool_is_clean,
    author_names,
    backend_pid,
    destroy_when,
    pool,
    query,
    sleep,
)
from turbo_orm import advisory_lock, atomic, on_commit, run_sync
from turbo_orm.bridge.async_backend.guest import Guest
from turbo_orm.db import loop_pools
from turbo_orm.errors import BlockDeadlockError, BridgeError, ConnectionReleasedError
from turbo_orm.testing import TestCase

if not settings.DATABASES["default"]["ENGINE"].startswith("django_async_backend"):
    pytest.skip("needs TURBO_TEST_ENGINE=async_backend and django-async-backend", allow_module_level=True)

from django_async_backend.db import async_connections, close_old_async_connections
from django_async_backend.db.transaction import async_atomic
from django_async_backend.test import AsyncCaptureQueriesContext, AsyncioTestCase

try:
    from django_async_backend.db import async_new_connection
except ImportError:  # 6.0
    async_new_connection = async_connections._independent_connection

NATIVE = Author.async_objects


@pytest.fixture(autouse=True)
def _nothing_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without connections.

    Request signals of other tests leave some in the main thread's context, which all later
    tests inherit; the first one to use such a connection would own it.
    """
    hooked = async_connections._connections
    monkeypatch.setitem(vars(hooked), "original", Local(thread_critical=True))


@pytest.fixture
async def one_pool(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Both libraries use the pool; at the end all is back in it, and there is no other one."""
    given = settings.DATABASES["default"]["OPTIONS"]
    monkeypatch.setitem(given, "pool", {"min_size": 0, "max_size": 4, "timeout": 5})
    created: list[Any] = []
    create = async_connections.create_connection

    def recording_create(alias: str) -> Any:
        created.append(create(alias))
        return created[-1]

    monkeypatch.setattr(async_connections, "create_connection", recording_create)
    await Author.objects.acount()
    yield
    for wrapper in created:
        assert not isinstance(wrapper, Guest)
        await wrapper.close()
    await assert_pool_is_clean()
    assert [key.alias for key in loop_pools._loops[asyncio.get_running_loop()]] == ["default"]


async def native_pid() -> int:
    async with await async_connections["default"].cursor() as cursor:
        await cursor.execute("SELECT pg_backend_pid()")
        (pid,) = await cursor.fetchone()
    return pid


async def native_names() -> list[str]:
    return [author.name async for author in NATIVE.order_by("name")]


@pytest.mark.usefixtures("one_pool")
class TestOurQueriesInTheirBlock:
    async def test_join_it(self):
        async with async_atomic():
            assert await run_sync(backend_pid) == await native_pid()
            assert await run_sync(lambda: (connection.in_atomic_block, connection.get_autocommit())) == (
                True,
                False,
            )
            await NATIVE.acreate(name="native")
            await Author.objects.acreate(name="ours")
            assert await author_names() == await native_names() == ["native", "ours"]
        assert await author_names() == ["native", "ours"]
        assert async_connections["default"].autocommit

    async def test_roll_back_with_it(self):
        with pytest.raises(LookupError):
            async with async_atomic():
                await NATIVE.acreate(name="native")
                await Author.objects.acreate(name="ours")
                raise LookupError
        assert await author_names() == []

    async def test_leave_no_trace(self):
        async with async_atomic():
            await Author.objects.acreate(name="ours")
            theirs = async_connections["default"]
            assert theirs.connection is not None
            assert not theirs.connection.closed
            kept = await run_sync(lambda: connection.connection)
            with pytest.raises(psycopg.OperationalError, match="closed"):
                await run_sync(kept.execute, "SELECT 1")
            assert await NATIVE.acount() == 1
        assert await run_sync(lambda: connection.in_atomic_block) is False

    async def test_outside_a_block_each_has_its_own_connection(self):
        assert await native_pid() != await run_sync(backend_pid)

    async def test_savepoints(self):
        def sync_savepoints() -> None:
            with transaction.atomic():
                Author.objects.create(name="kept")
                with pytest.raises(LookupError), transaction.atomic():
                    Author.objects.create(name="dropped")
                    raise LookupError

        async with async_atomic():
            await run_sync(sync_savepoints)
            assert async_connections["default"].savepoint_ids == []
            assert async_connections["default"].savepoint_state == 2
            with pytest.raises(LookupError):
                async with async_atomic():
                    await Author.objects.acreate(name="dropped")
                    async with atomic():
                        await NATIVE.acreate(name="dropped too")
                        async with async_atomic():
                            await Author.objects.acreate(name="and this")
                    raise LookupError
            with pytest.raises(LookupError):
                async with atomic():
                    await NATIVE.acreate(name="dropped again")
                    raise LookupError
            assert async_connections["default"].in_atomic_block
        assert await author_names() == ["kept"]

    async def test_a_failed_query_breaks_it_for_both(self):
        with pytest.raises(IntegrityError):
            async with async_atomic():
                await Author.objects.acreate(name="a")
                with pytest.raises(IntegrityError):
                    await Author.objects.acreate(name="a")
                assert async_connections["default"].needs_rollback
                for count in (NATIVE.acount, Author.objects.acount):
                    with pytest.raises(transaction.TransactionManagementError):
                        await count()
                raise IntegrityError
        with pytest.raises(LookupError):
            async with async_atomic():
                with pytest.raises(IntegrityError):
                    await asyncio.wait_for(_create_twice(), 5)
                with pytest.raises(transaction.TransactionManagementError):
                    await Author.objects.acount()
                raise LookupError
        assert await author_names() == []

    async def test_an_inner_block_without_savepoint_marks_it(self):
        async with async_atomic():
            await NATIVE.acreate(name="lost")
            with pytest.raises(LookupError):
                async with atomic(savepoint=False):
                    raise LookupError
            with pytest.raises(transaction.TransactionManagementError):
                await NATIVE.acount()
        assert await author_names() == []

    async def test_durable_is_refused(self):
        async with async_atomic():
            with pytest.raises(RuntimeError, match="durable"):
                async with atomic(durable=True):
                    pass
            await NATIVE.acreate(name="fine")
        assert await author_names() == ["fine"]

    async def test_on_commit(self):
        log: list[Any] = []

        async def async_hook() -> None:
            log.append(("async", await Author.objects.acount(), await NATIVE.acount()))

        async with async_atomic():
            pid = await native_pid()
            await on_commit(async_hook)
            await on_commit(lambda: log.append(("sync", Author.objects.count(), backend_pid() == pid)))
            await async_connections["default"].on_commit(async_hook)
            for block in (atomic(), async_atomic()):
                with pytest.raises(LookupError):
                    async with block:
                        await on_commit(lambda: log.append("never"))
                        raise LookupError
            await Author.objects.acreate(name="a")
            assert log == []
        assert log == [("async", 1, 1), ("sync", 1, True), ("async", 1, 1)]

    async def test_on_commit_errors(self, caplog: pytest.LogCaptureFixture):
        def fail() -> None:
            raise LookupError("on purpose")

        async with async_atomic():
            await on_commit(fail, robust=True)
            await NATIVE.acreate(name="a")
        assert "test_on_commit_errors.<locals>.fail" in caplog.text
        with pytest.raises(LookupError, match="on purpose"):
            async with async_atomic():
                await on_commit(fail)
                await NATIVE.acreate(name="b")
        await async_connections["default"].close()
        assert await author_names() == ["a", "b"]

    async def test_receivers_join_too(self):
        seen: list[int] = []

        async def receive(sender: Any, **kwargs: Any) -> None:
            seen.append(await run_sync(backend_pid))

        def receive_sync(sender: Any, **kwargs: Any) -> None:
            seen.append(backend_pid())

        post_save.connect(receive, sender=Author)
        post_save.connect(receive_sync, sender=Author)
        try:
            async with async_atomic():
                await Author.objects.acreate(name="a")
                assert seen == [await native_pid()] * 2
        finally:
            post_save.disconnect(receive, sender=Author)
            post_save.disconnect(receive_sync, sender=Author)

    async def test_streams_and_prefetches(self):
        async with async_atomic():
            authors = [await NATIVE.acreate(name=f"a{number}") for number in range(5)]
            book = await Book.objects.acreate(title="t", author=authors[0])
            await book.tags.aadd(await Tag.objects.acreate(label="x"))
            await book.contributors.aadd(authors[1])
            (found,) = await Book.objects.prefetch_related("tags", "contributors").alist()
            assert [tag.label for tag in found.tags.all()] == ["x"]
            assert [author.name for author in found.contributors.all()] == ["a1"]
            pairs = []
            async for one in Author.objects.aiterator(chunk_size=2):
                pairs += [
                    (one.name, other.name, await NATIVE.acount())
                    async for other in Author.objects.aiterator(chunk_size=3)
                ]
            assert len(set(pairs)) == 25
            async for _one in Author.objects.aiterator(chunk_size=2):
                break

    async def test_a_task_started_in_it_is_refused(self):
        async def child() -> None:
            await Author.objects.acount()

        async with async_atomic():
            await NATIVE.acreate(name="a")
            with pytest.raises(BridgeError, match="async_new_connection"):
                await asyncio.create_task(child())
            assert await asyncio.wait_for(Author.objects.acount(), 5) == 1
        assert await author_names() == ["a"]

    async def test_a_task_with_a_connection_of_its_own(self):
        async def child() -> tuple[int, int]:
            async with async_new_connection():
                apart = await Author.objects.acount()
                async with async_atomic():
                    await Author.objects.acreate(name="child")
                    return apart, await NATIVE.acount()

        async with async_atomic():
            await Author.objects.acreate(name="parent")
            assert await asyncio.create_task(child()) == (0, 1)
            assert await Author.objects.acount() == 2
        assert await author_names() == ["child", "parent"]

    async def test_a_task_started_in_a_block_of_ours_inside_it(self):
        async def child(number: int) -> int:
            async with atomic():
                await Author.objects.acreate(name=f"child {number}")
                return await run_sync(backend_pid)

        async def native_child() -> None:
            async with async_atomic():
                pass

        async with async_atomic():
            async with atomic():
                assert set(await asyncio.gather(*map(child, range(3)))) == {await native_pid()}
                with pytest.raises(RuntimeError, match=r"nested tasks|owned by another task"):
                    await asyncio.create_task(native_child())
            await Author.objects.filter(name="child 0").adelete()
        assert await author_names() == ["child 1", "child 2"]

    async def test_a_task_that_outlives_it(self):
        go = asyncio.Event()

        async def late() -> bool:
            await go.wait()
            return await run_sync(lambda: connection.in_atomic_block)

        async with async_atomic():
            await Author.objects.acount()
            task = asyncio.create_task(late())
        go.set()
        assert await task is False

    async def test_cancelled(self):
        async with async_atomic():
            await Author.objects.acreate(name="lost")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run_sync(sleep, 20), 0.05)
            for count in (NATIVE.acount, Author.objects.acount):
                with pytest.raises(transaction.TransactionManagementError):
                    await count()
        assert await author_names() == []

        async def victim() -> None:
            async with async_new_connection(), async_atomic():
                await Author.objects.acreate(name="lost")
                await run_sync(sleep, 20)

        task = asyncio.create_task(victim())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await author_names() == []

    async def test_an_operation_that_is_destroyed(self):
        async with async_atomic():
            await Author.objects.acreate(name="lost")
            operation = run_sync(sleep, 20)
            operation.send(None)
            operation.close()
            with pytest.raises(ProgrammingError, match="in an atomic block"):
                await Author.objects.acount()
        assert await author_names() == []

    async def test_closed_inside(self):
        async with async_atomic():
            await Author.objects.acreate(name="lost")
            await run_sync(lambda: connection.close())
            for count in (NATIVE.acount, Author.objects.acount):
                with pytest.raises(ProgrammingError, match="in an atomic block"):
                    await count()
        assert await author_names() == []

    async def test_what_asks_for_a_session_of_its_own_gets_it(self):
        async with async_atomic():
            await NATIVE.acreate(name="a")
            async with advisory_lock(1, session=True) as taken:
                assert taken
                assert pool()._nconns - len(pool()._pool) == 2
            async with advisory_lock(2):
                assert await run_sync(query, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [
                    (1,)
                ]

    async def test_one_connection_serves_both(self, monkeypatch: pytest.MonkeyPatch):
        await loop_pools.close_pools()
        monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"]["pool"], "max_size", 1)
        async with async_atomic():
            await NATIVE.acreate(name="a")
            assert await Author.objects.acount() == 1
            async with atomic():
                await on_commit(lambda: Author.objects.create(name="b"))
                await NATIVE.acreate(name="c")
        await async_connections["default"].close()
        assert await author_names() == ["a", "b", "c"]


async def _create_twice() -> None:
    await NATIVE.acreate(name="twice")
    await NATIVE.acreate(name="twice")


@pytest.mark.usefixtures("one_pool")
class TestTheirCallsInOurBlock:
    async def test_join_it(self):
        async with atomic():
            assert await native_pid() == await run_sync(backend_pid)
            await NATIVE.acreate(name="native")
            await Author.objects.acreate(name="ours")
            author = Author(name="saved")
            await author.async_save()
            assert await author_names() == await native_names() == ["native", "ours", "saved"]
            assert async_connections["default"].in_atomic_block
        assert await author_names() == ["native", "ours", "saved"]

    async def test_roll_back_with_it(self):
        with pytest.raises(LookupError):
            async with atomic():
                await NATIVE.acreate(name="native")
                raise LookupError
        assert await author_names() == []

    async def test_cost_nothing_when_unused(self):
        async with atomic():
            wrapper: Any = await run_sync(lambda: transaction.get_connection())
            await Author.objects.acount()
            assert wrapper.guest is None

    async def test_savepoints(self):
        async with atomic():
            async with async_atomic():
                await Author.objects.acreate(name="kept")
            with pytest.raises(LookupError):
                async with async_atomic():
                    await NATIVE.acreate(name="dropped")
                    async with atomic():
                        await Author.objects.acreate(name="dropped too")
                        async with async_atomic():
                            await NATIVE.acreate(name="and this")
                    raise LookupError
            with pytest.raises(LookupError):
                async with atomic():
                    await NATIVE.acreate(name="dropped again")
                    raise LookupError
            await NATIVE.acreate(name="last")
        assert await author_names() == ["kept", "last"]

    async def test_a_failed_query_breaks_it_for_both(self):
        with pytest.raises(LookupError):
            async with atomic():
                with pytest.raises(IntegrityError):
                    await _create_twice()
                assert await run_sync(lambda: connection.needs_rollback)
                for count in (NATIVE.acount, Author.objects.acount):
                    with pytest.raises(transaction.TransactionManagementError):
                        await count()
                raise LookupError
        async with atomic():
            with pytest.raises(IntegrityError):
                async with async_atomic():
                    await _create_twice()
            await NATIVE.acreate(name="kept")
        assert await author_names() == ["kept"]

    async def test_durable_is_refused(self):
        async with atomic():
            with pytest.raises(RuntimeError, match="durable"):
                async with async_atomic(durable=True):
                    pass
            await NATIVE.acreate(name="fine")
        assert await author_names() == ["fine"]

    async def test_without_savepoint(self):
        async with atomic():
            await Author.objects.acreate(name="lost")
            with pytest.raises(LookupError):
                async with async_atomic(savepoint=False):
                    raise LookupError
            with pytest.raises(transaction.TransactionManagementError):
                await Author.objects.acount()
        assert await author_names() == []

    async def test_on_commit(self):
        log: list[Any] = []

        async def hook() -> None:
            log.append((await NATIVE.acount(), await Author.objects.acount(), await native_pid() == pid))

        async def hook_with_a_block() -> None:
            async with async_atomic():
                await NATIVE.acreate(name="hook")
                await on_commit(lambda: log.append(("nested", Author.objects.count())))
            log.append("after")

        async with atomic():
            pid = await native_pid()
            await async_connections["default"].on_commit(hook)
            await async_connections["default"].on_commit(hook_with_a_block)
            await on_commit(hook)
            for block in (atomic(), async_atomic()):
                with pytest.raises(LookupError):
                    async with block:
                        await async_connections["default"].on_commit(lambda: log.append("never"))
                        raise LookupError
            await NATIVE.acreate(name="a")
            assert log == []
        assert log == [(1, 1, True), ("nested", 2), "after", (2, 2, True)]

    async def test_closing_does_not_touch_the_connection(self):
        async with atomic():
            await NATIVE.acreate(name="a")
            await close_old_async_connections()
            await async_connections.close_all()
            await async_connections["default"].close()
            assert await author_names() == await native_names() == ["a"]
        assert await author_names() == ["a"]

    async def test_their_rule_for_tasks(self):
        async def child() -> None:
            async with async_atomic():
                await NATIVE.acount()

        async def child_with_a_block() -> int:
            async with atomic():
                async with async_atomic():
                    await NATIVE.acreate(name="child")
                return await NATIVE.acount()

        async with atomic():
            with pytest.raises(RuntimeError, match=r"nested tasks|owned by another task"):
                await asyncio.create_task(child())
            assert await asyncio.create_task(child_with_a_block()) == 1
            await NATIVE.acreate(name="parent")
        assert await author_names() == ["child", "parent"]

    async def test_a_task_with_a_connection_of_its_own(self):
        async def child() -> tuple[bool, list[str]]:
            async with async_new_connection():
                apart = await native_pid() != pid
                async with async_atomic():
                    await NATIVE.acreate(name="child")
                    await Author.objects.acreate(name="child's own")
                    inside = await author_names()
            assert await run_sync(backend_pid) == pid
            return apart, inside

        async with atomic():
            pid = await native_pid()
            await NATIVE.acreate(name="parent")
            assert await asyncio.create_task(child()) == (True, ["child", "child's own"])
            assert await native_pid() == pid
            async with async_new_connection():
                assert await native_pid() != pid
                assert await run_sync(backend_pid) == pid
            assert await native_pid() == pid
        assert await author_names() == ["child", "child's own", "parent"]

    async def test_their_block_has_its_turn_to_its_end(self):
        entered = asyncio.Event()

        async def child() -> None:
            await entered.wait()
            await Author.objects.acreate(name="child")

        async with atomic():
            task = asyncio.create_task(child())
            with pytest.raises(LookupError):
                async with async_atomic():
                    entered.set()
                    await NATIVE.acreate(name="dropped")
                    await asyncio.sleep(0.02)
                    assert await native_names() == ["dropped"]
                    raise LookupError
            await task
            proceed = asyncio.Event()
            task = asyncio.create_task(_after(proceed, Author.objects.acount))
            await asyncio.sleep(0)
            with pytest.raises(BlockDeadlockError):
                async with async_atomic():
                    proceed.set()
                    await task
        assert await author_names() == ["child"]

    async def test_a_query_of_theirs_waits_for_a_nested_block(self):
        entered, leave = asyncio.Event(), asyncio.Event()

        async def child() -> None:
            with pytest.raises(LookupError):
                async with atomic():
                    entered.set()
                    await leave.wait()
                    raise LookupError

        async with atomic():
            task = asyncio.create_task(child())
            await entered.wait()
            asyncio.get_running_loop().call_later(0.02, leave.set)
            await NATIVE.acreate(name="kept")  # not in the child's savepoint, which is dropped
            assert leave.is_set()
            await task
        assert await author_names() == ["kept"]

    async def test_at_the_same_time_as_ours(self):
        async def ours(number: int) -> None:
            async with atomic():
                await Author.objects.acreate(name=f"ours {number}")
                await run_sync(sleep, 0.001)

        async with atomic():
            tasks = [asyncio.create_task(ours(number)) for number in range(5)]
            for number in range(5):
                await NATIVE.acreate(name=f"theirs {number}")
                async with async_atomic():
                    await NATIVE.filter(name=f"theirs {number}").aupdate(age=1)
            await asyncio.gather(*tasks)
            assert await NATIVE.acount() == 10
        assert await Author.objects.filter(age=1).acount() == 5

    async def test_cancelled(self):
        async def slow() -> None:
            async with await async_connections["default"].cursor() as cursor:
                await cursor.execute("SELECT pg_sleep(20)")

        with pytest.raises(transaction.TransactionManagementError, match="a statement in it was cancelled"):
            async with atomic():
                await NATIVE.acreate(name="lost")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(slow(), 0.05)
                for count in (NATIVE.acount, Author.objects.acount):
                    with pytest.raises(transaction.TransactionManagementError):
                        await count()
        assert await author_names() == []

        async def victim() -> None:
            async with atomic(), async_atomic():
                await NATIVE.acreate(name="lost")
                await slow()

        task = asyncio.create_task(victim())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await author_names() == []

    async def test_a_guest_kept_after_the_block(self):
        async with atomic():
            kept = async_connections["default"]
            await kept.cursor()
        with pytest.raises(ConnectionReleasedError, match="has ended"):
            await kept.cursor()
        await kept.close()
        assert await native_pid() > 0
        assert async_connections["default"] is not kept

    async def test_not_for_a_task_outside(self):
        async with atomic():
            kept = async_connections["default"]
            outside: list[Any] = []

            async def other() -> None:
                outside.append(async_connections["default"])
                if hasattr(kept, "validate_task_sharing"):
                    with pytest.raises(RuntimeError, match="another task"):
                        kept.validate_task_sharing()
                outside.append(await native_pid() != await run_sync(backend_pid))

            # In an empty context: nothing says that this task was started here.
            await asyncio.get_running_loop().create_task(other(), context=contextvars.Context())
            assert outside[0] is not kept

    async def test_in_sync_blocks_async_receivers_join(self):
        seen: list[Any] = []

        async def receive(sender: Any, instance: Any, **kwargs: Any) -> None:
            async with async_atomic():
                seen.append((await native_pid() == await run_sync(backend_pid), await NATIVE.acount()))

        def create() -> None:
            with transaction.atomic():
                Author.objects.create(name="a")

        post_save.connect(receive, sender=Author)
        try:
            await run_sync(create)
            async with atomic():
                await Author.objects.acreate(name="b")
        finally:
            post_save.disconnect(receive, sender=Author)
        assert seen == [(True, 1), (True, 2)]

    async def test_one_connection_serves_both(self, monkeypatch: pytest.MonkeyPatch):
        await loop_pools.close_pools()
        monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"]["pool"], "max_size", 1)
        log = []

        async def hook() -> None:
            log.append(await NATIVE.acount())

        async with atomic():
            await NATIVE.acreate(name="a")
            async with async_atomic():
                await Author.objects.acreate(name="b")
                await async_connections["default"].on_commit(hook)
        assert log == [2]

    async def test_their_block_on_another_alias(self):
        theirs = Author.async_objects.using("other")
        async with atomic():
            await Author.objects.acreate(name="here")
            assert await Author.objects.using("other").acount() == 0
            with pytest.raises(LookupError):
                async with async_atomic("other"):
                    await theirs.acreate(name="there")
                    assert await Author.objects.using("other").acount() == 1
                    assert await author_names() == ["here"]
                    assert await native_names() == ["here"]
                    raise LookupError
            await async_connections["other"].close()
            assert await Author.objects.using("other").acount() == 0
        assert await author_names() == ["here"]
        found = loop_pools._loops[asyncio.get_running_loop()]
        for key in [key for key in found if key.alias == "other"]:
            await found.pop(key).close()


async def _after(event: asyncio.Event, call: Any) -> Any:
    await event.wait()
    return await call()


@pytest.mark.usefixtures("one_pool")
async def test_their_query_log_and_execute_wrappers():
    statements: list[str] = []

    async def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return await execute(sql, params, many, context)

    with async_connections["default"].execute_wrapper(wrapper):
        async with AsyncCaptureQueriesContext(async_connections["default"]) as captured, atomic():
            await NATIVE.acreate(name="a")
            await Author.objects.acount()
            async with async_atomic():
                await NATIVE.acount()
    inserts = [query for query in captured.captured_queries if "INSERT" in query["sql"]]
    assert len(inserts) == 1
    assert [sql.split()[0] for sql in statements] == ["INSERT", "SAVEPOINT", "SELECT", "RELEASE"]


@pytest.mark.usefixtures("one_pool")
@pytest.mark.parametrize("seed", range(3))
async def test_cancelled_anywhere(seed: int):
    """Blocks in blocks, cancelled at any moment: what was not committed whole left nothing."""
    random = Random(seed)

    async def work(number: int, used: list[Any]) -> None:
        outer, inner = (atomic, async_atomic) if number % 2 else (async_atomic, atomic)
        used.append(async_connections["default"])
        async with outer():
            await NATIVE.acreate(name=f"{number} first")
            async with inner():
                await Author.objects.acreate(name=f"{number} second")
                await NATIVE.filter(name=f"{number} second").aupdate(age=number)
            await Author.objects.acreate(name=f"{number} third")

    async def cancelled(number: int) -> None:
        used: list[Any] = []
        task = asyncio.create_task(work(number, used))
        await asyncio.sleep(random.random() * 0.1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for wrapper in used:  # async_new_connection() may lose the connection it was cancelled in
            await wrapper.close()

    for start in range(0, 40, 4):
        await asyncio.gather(*map(cancelled, range(start, start + 4)))
    await assert_pool_is_clean()
    found = Counter(name.split()[0] for name in await author_names())
    assert set(found.values()) <= {3}
    await work(100, [])
    assert await Author.objects.filter(name__startswith="100 ").acount() == 3


@pytest.mark.usefixtures("one_pool")
async def test_a_coroutine_destroyed_in_both_blocks():
    async def work() -> AsyncIterator[None]:
        async with atomic(), async_atomic():
            await NATIVE.acreate(name="lost")
            yield

    generator = work()
    await anext(generator)
    closing = generator.athrow(GeneratorExit)
    with pytest.raises((StopAsyncIteration, GeneratorExit)):
        await closing
    await assert_pool_is_clean()
    assert await author_names() == []


@pytest.mark.usefixtures("one_pool")
async def test_tasks_that_wait_in_their_block_in_ours_as_both_are_destroyed():
    async def work() -> None:
        async with atomic(), async_atomic():
            tasks.append(asyncio.create_task(run_sync(sleep, 30)))
            tasks.append(asyncio.create_task(Author.objects.acreate(name="alone")))
            await asyncio.Event().wait()

    tasks: list[asyncio.Task[Any]] = []
    await destroy_when(lambda: bool(tasks), work())
    for task in tasks:
        with pytest.raises(transaction.TransactionManagementError):
            await task
    assert await author_names() == []
    await assert_pool_is_clean()


def test_event_loops_that_come_and_go():
    """Their dictionary of pools is keyed by alias alone; each loop still has one, for both."""
    found = []

    async def both() -> None:
        async with async_atomic():
            assert await native_pid() == await run_sync(backend_pid)
        wrapper = async_connections["default"]
        assert wrapper.pool is pool()
        found.append(wrapper.pool)
        await wrapper.close()
        assert len(pool()._pool) == pool()._nconns == 1

    given = settings.DATABASES["default"]["OPTIONS"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(given, "pool", {"min_size": 0, "max_size": 2, "timeout": 5})
        for _ in range(3):
            asyncio.run(both())
    assert len(set(map(id, found))) == 3
    assert all(each.closed for each in found)


def test_their_test_case():
    """`AsyncioTestCase` begins its block in another task than the test's."""

    class Case(AsyncioTestCase):
        async def test_joins(self) -> None:
            await NATIVE.acreate(name="theirs")
            await Author.objects.acreate(name="ours")
            assert await author_names() == ["ours", "theirs"]
            async with atomic(), async_atomic():
                await NATIVE.filter(name="ours").adelete()
            assert await native_names() == ["theirs"]

        async def test_starts_empty(self) -> None:
            assert await author_names() == []

        test_starts_empty_again = test_starts_empty

    outcome = unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(unittest.TestResult())
    assert outcome.testsRun == 3
    assert not outcome.errors + outcome.failures


def test_our_test_case():
    """Their calls in an async test of `turbo_orm.testing.TestCase` are in its transaction."""

    class Case(TestCase):
        databases = ("default",)

        @classmethod
        def setUpTestData(cls) -> None:
            Author.objects.create(name="set up")

        async def test_joins(self) -> None:
            await NATIVE.acreate(name="theirs")
            async with async_atomic():
                await Author.objects.acreate(name="ours")
            assert await author_names() == await native_names() == ["ours", "set up", "theirs"]

        async def test_starts_anew(self) -> None:
            assert await native_names() == ["set up"]

        test_starts_anew_again = test_starts_anew

    outcome = unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(unittest.TestResult())
    assert outcome.testsRun == 3
    assert not outcome.errors + outcome.failures


WITHOUT_OUR_APP = """
import asyncio, os
import django
from django.conf import settings
from tests.project.settings import DATABASES

DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 0, "max_size": 2}}
settings.configure(DATABASES=DATABASES, INSTALLED_APPS=["django_async_backend"], USE_TZ=True,
                   ASYNC_BACKEND_DISABLE_POOL_WARNING=True)
django.setup()
from django_async_backend.db import async_connections
from django_async_backend.db.transaction import async_atomic
from tests.runtime.support import backend_pid
from turbo_orm import run_sync

async def main():
    async with async_atomic():
        joined = await run_sync(backend_pid) == async_connections["default"].connection.info.backend_pid
    apart = await run_sync(backend_pid) != async_connections["default"].connection.info.backend_pid
    await async_connections.close_all()
    print(joined, apart)

asyncio.run(main())
"""


def test_hooked_in_after_their_block_began():
    """Without our app in INSTALLED_APPS our first query hooks in."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OUR_APP], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["True", "True"]


async def request(path: str) -> Any:
    """Return the answer of the test project to a GET request, once the request has finished."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
    }
    server = ApplicationCommunicator(get_asgi_application(), scope)
    await server.send_input({"type": "http.request", "body": b""})
    assert (await server.receive_output(30))["status"] == 200
    body = (await server.receive_output(30))["body"]
    await server.wait(30)
    return json.loads(body)


#: Before 6.1, nobody closes their connections at the end of a request.
HAVE_RECEIVERS = hasattr(sys.modules["django_async_backend.apps"], "close_old_async_connections")


@pytest.mark.threads  # Django closes responses in one
@pytest.mark.skipif(not HAVE_RECEIVERS, reason="of a later django-async-backend")
class TestRequests:
    async def test_their_connections_are_closed(self, one_pool):
        for _ in range(5):  # of at most four connections
            await request("/native")
            leased = pool().get_stats()
            assert leased["pool_available"] == leased["pool_size"]

    async def test_others_do_not_wait_for_the_loop(self, monkeypatch):
        """The thread that closes the response does not come back to an event loop that may have stopped."""
        closed: list[bool] = []

        async def closing() -> None:
            closed.append(True)
            await close_old_async_connections()

        monkeypatch.setattr("django_async_backend.db.close_old_async_connections", closing)
        # No context of other tests, which may have used theirs.
        await asyncio.create_task(request("/authors"), context=contextvars.Context())
        assert closed == []
        await asyncio.create_task(request("/native"), context=contextvars.Context())
        assert closed == [True]


SIGNALS = """
import sys
import django
from django.conf import settings
from tests.project.settings import DATABASES

settings.configure(DATABASES=DATABASES, INSTALLED_APPS=sys.argv[2].split(), USE_TZ=True,
                   ASYNC_BACKEND_DISABLE_POOL_WARNING=True,
                   ASYNC_BACKEND_DISABLE_REQUEST_SIGNALS=sys.argv[1] == "off")
django.setup()
from django.core.signals import request_finished, request_started
for signal in (request_started, request_finished):
    receivers = [receiver for kind in signal._live_receivers(None) for receiver in kind]
    print(*(receiver.__name__ for receiver in receivers if receiver.__module__.find("async_backend") >= 0))
"""


@pytest.mark.parametrize(
    ("signals", "apps", "receiver"),
    [
        ("on", "turbo_orm django_async_backend", "_close_their_connections"),
        ("on", "django_async_backend turbo_orm", "_close_their_connections"),
        ("on", "django_async_backend", "close_old_async_connections"),
        ("off", "turbo_orm django_async_backend", None),
        ("off", "django_async_backend turbo_orm", None),
    ],
)
def test_receivers_of_the_request_signals(signals: str, apps: str, receiver: str | None):
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS, signals, apps], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ([receiver] * 2 if receiver is not None and HAVE_RECEIVERS else [])
