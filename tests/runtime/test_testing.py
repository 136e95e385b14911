"""`capture_queries()` and `assert_num_queries()`: the statements of async code."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest
from django.db import connection, reset_queries, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings
from django.utils.connection import ConnectionDoesNotExist

from tests.project.library.models import Author, Book, Tag
from tests.runtime.support import query
from turbo_orm import atomic, batch, cursor, on_commit, run_sync
from turbo_orm.testing import assert_num_queries, capture_on_commit_callbacks, capture_queries


async def test_records_sql_and_time():
    with capture_queries() as queries:
        assert queries == []
        await Tag.objects.acreate(label="x")
        assert [each["sql"].split()[0] for each in queries] == ["INSERT"]
        await Tag.objects.aget(label="x")
    assert 'WHERE "library_tag"."label" = \'x\'' in queries[1]["sql"]
    assert all(float(each["time"]) >= 0 for each in queries)
    await Tag.objects.acount()
    assert len(queries) == 2


async def test_every_way_to_execute():
    author = await Author.objects.acreate(name="a")
    with capture_queries() as queries:
        await author.asave()
        await author.books.acreate(title="b")
        await Author.objects.prefetch_related("books").alist()
        [each async for each in Author.objects.aiterator()]
        await run_sync(query, "SELECT 'by run_sync'")
        async with cursor() as c:
            await c.execute("SELECT 'by a cursor'")
    found = [each["sql"] for each in queries]
    kinds = [sql.split()[0] for sql in found]
    assert kinds[4] in ("DECLARE", "SELECT"), "some Djangos log a server-side cursor as its query"
    del kinds[4]
    assert kinds == ["UPDATE", "INSERT", "SELECT", "SELECT", "SELECT", "SELECT"]
    assert "SELECT 'by run_sync'" in found
    assert "SELECT 'by a cursor'" in found


async def test_an_open_block_and_its_end():
    """As with Django's own: BEGIN and COMMIT count, with Django's words for them."""
    async with atomic():
        await Tag.objects.acreate(label="before")
        with capture_queries() as inside:
            await Tag.objects.acreate(label="x")
            async with atomic():
                await Tag.objects.acount()
        await Tag.objects.acount()
    kinds = [each["sql"].split()[0] for each in inside]
    assert kinds == ["INSERT", "SAVEPOINT", "SELECT", "RELEASE"]
    with capture_queries() as around:
        async with atomic():
            await Tag.objects.acount()
            await on_commit(Tag.objects.acount)
    assert [each["sql"].split()[0] for each in around] == ["BEGIN", "SELECT", "COMMIT", "SELECT"]


@pytest.mark.parametrize("debug", [False, True])
async def test_the_log_of_django_is_reset(debug: bool):
    """As each request does; what was recorded stays."""

    def request() -> tuple[int, int]:
        Tag.objects.count()
        logged = len(connection.queries_log)
        reset_queries()
        return logged, len(connection.queries_log)

    with override_settings(DEBUG=debug), capture_queries() as queries:
        assert await run_sync(request) == (int(debug), 0)
    assert len(queries) == 1


async def test_a_cursor_opened_before():
    async with cursor() as c:
        await c.execute("SELECT 1")
        with capture_queries() as queries:
            await c.execute("SELECT 2")
        await c.execute("SELECT 3")
    assert [each["sql"] for each in queries] == ["SELECT 2"]


@pytest.mark.parametrize("in_block", [False, True])
async def test_child_tasks(in_block: bool):
    async def work() -> None:
        await asyncio.gather(*(Tag.objects.acount() for _ in range(5)))

    with capture_queries() as queries:
        async with atomic() if in_block else nullcontext():
            await work()
    assert len([each for each in queries if "COUNT" in each["sql"]]) == 5


async def test_other_tasks_are_not_recorded():
    go, done = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        await go.wait()
        await Tag.objects.acount()
        done.set()

    task = asyncio.create_task(other())
    with capture_queries() as queries:
        go.set()
        await done.wait()
        outliving = asyncio.create_task(_count_later())
    await asyncio.gather(task, outliving)
    assert queries == []


async def _count_later() -> None:
    await asyncio.sleep(0.01)
    await Tag.objects.acount()


async def test_nested_and_of_other_aliases():
    with capture_queries() as outer, capture_queries("other") as other:
        await Tag.objects.acount()
        with capture_queries() as inner:
            await Tag.objects.aexists()
        await Tag.objects.using("other").acount()
    assert (len(outer), len(inner), len(other)) == (2, 1, 1)
    assert inner[0] is outer[1]
    with pytest.raises(ConnectionDoesNotExist, match="nope"):
        capture_queries("nope")


async def test_does_not_fill_djangos_log_unless_that_is_on():
    log = connection.queries_log
    log.clear()
    with capture_queries() as queries:
        await Tag.objects.acount()
    assert (len(queries), len(log)) == (1, 0)
    with capture_queries() as queries, override_settings(DEBUG=True):
        await Tag.objects.acount()
    assert (len(queries), len(log)) == (1, 1)
    log.clear()


async def test_failing_queries_are_recorded():
    with capture_queries() as queries:
        with pytest.raises(Book.DoesNotExist):
            await Book.objects.aget(title="none")
        with pytest.raises(Exception, match="nothing"):
            await run_sync(query, "SELECT nothing")
    assert len(queries) == 2


async def test_assert_num_queries():
    with assert_num_queries(0):
        pass
    with assert_num_queries(2) as queries:
        await Tag.objects.acount()
        await Tag.objects.aexists()
    assert len(queries) == 2
    with assert_num_queries(1, using="other"):
        await Tag.objects.acount()
        await Tag.objects.using("other").acount()


async def test_assert_num_queries_fails_as_djangos_does():
    with pytest.raises(AssertionError) as caught, assert_num_queries(1):
        await run_sync(query, "SELECT 1")
        await run_sync(query, "SELECT 2")
    assert str(caught.value) == (
        "2 queries executed, 1 expected\nCaptured queries were:\n1. SELECT 1\n2. SELECT 2"
    )
    with pytest.raises(LookupError), assert_num_queries(1):
        raise LookupError


def test_from_sync_code(django_databases: None):
    with assert_num_queries(1):
        asyncio.run(_count())


async def _count() -> None:
    await Tag.objects.acount()


async def test_commit_hooks_of_a_block():
    """Like Django's: what a savepoint takes back is not there, errors of robust ones are logged."""
    called: list[str] = []

    def fail() -> None:
        raise LookupError("on purpose")

    async with atomic():
        await on_commit(lambda: called.append("before"))
        async with capture_on_commit_callbacks(execute=True) as callbacks:
            await on_commit(lambda: called.append("kept"))
            with pytest.raises(ZeroDivisionError):
                async with atomic():
                    await on_commit(lambda: called.append("rolled back"))
                    raise ZeroDivisionError
            await run_sync(transaction.on_commit, lambda: called.append("by sync code"))
        assert (called, len(callbacks)) == (["kept", "by sync code"], 2)
        with pytest.raises(LookupError, match="on purpose"):
            async with capture_on_commit_callbacks(execute=True):
                await on_commit(fail)
        await run_sync(transaction.set_rollback, True)
    assert called == ["kept", "by sync code"]


async def test_robust_commit_hooks(caplog: pytest.LogCaptureFixture):
    async def fail() -> None:
        raise LookupError("on purpose")

    async with atomic():
        async with capture_on_commit_callbacks(execute=True) as callbacks:
            await on_commit(fail, robust=True)
        assert callbacks == [fail]
        assert (
            "Error calling test_robust_commit_hooks.<locals>.fail in on_commit() (on purpose)." in caplog.text
        )
        await run_sync(transaction.set_rollback, True)


async def test_commit_hooks_of_another_database():
    async with atomic(using="other"):
        async with capture_on_commit_callbacks(using="other") as callbacks:
            await on_commit(lambda: None, using="other")
            await on_commit(lambda: None)
        assert len(callbacks) == 1


@pytest.mark.parametrize("multiplex", [False, True])
async def test_guards_of_tests_are_asked_for_open_pools_too(monkeypatch: pytest.MonkeyPatch, multiplex: bool):
    def refuse(self: BaseDatabaseWrapper) -> None:
        raise LookupError("no database here")

    async def block() -> None:
        async with atomic():
            await Tag.objects.acount()

    with override_settings(TURBO_ORM={"MULTIPLEX": multiplex}):
        for number in range(3):
            await Tag.objects.acreate(label=f"{number}")
            await Tag.objects.acount()
        # As pytest-django and Django's test cases do.
        monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", refuse)
        for refused in (
            Tag.objects.acount(),
            Tag.objects.acreate(label="x"),
            Tag.objects.abulk_create([Tag(label="x")]),
            batch(Tag.objects.acount(), Tag.objects.aexists()),
            block(),
            run_sync(Tag.objects.count),
        ):
            with pytest.raises(LookupError, match="no database here"):
                await refused
        monkeypatch.undo()
        assert await Tag.objects.acount() == 3
