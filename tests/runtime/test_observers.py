"""``TURBO_ORM["OBSERVERS"]``: functions which are told of each statement of async code."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Count
from django.test.utils import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.conftest import asleep
from tests.runtime.support import cancelled_when, destroy_when, until
from turbo_orm import ExecutedStatement, atomic, batch, close_pools, cursor, run_sync
from turbo_orm.db.wire import Wire
from turbo_orm.testing import capture_queries

span: ContextVar[str] = ContextVar("span", default="none")


@pytest.fixture
def seen() -> Iterator[list[ExecutedStatement]]:
    """What an observer was told."""
    told: list[ExecutedStatement] = []
    with override_settings(TURBO_ORM={"OBSERVERS": [told.append]}):
        yield told


async def reading() -> Any:
    return [
        await Author.objects.filter(name="a").alist(),
        await Author.objects.acount(),
        await Author.objects.filter(age__gt=3).aexists(),
        await Author.objects.aaggregate(n=Count("id")),
        [book async for book in Book.objects.prefetch_related("tags").select_related("author")],
    ]


async def writing() -> Any:
    author = await Author.objects.acreate(name="w")
    author.age = 3
    await author.asave()
    book = await author.books.acreate(title="x")
    await book.tags.aadd(*await Tag.objects.abulk_create([Tag(label="t"), Tag(label="u")]))
    await book.tags.aset([])
    await Author.objects.filter(pk=author.pk).aupdate(age=4)
    await Author.objects.aupdate_or_create(name="v", defaults={"age": 1})
    await Tag.objects.all().adelete()
    return await author.adelete(), await Author.objects.filter(name="v").adelete()


async def streaming() -> Any:
    await Author.objects.abulk_create(Author(name=f"{number}") for number in range(10))
    names = [each.name async for each in Author.objects.order_by("name").aiterator(chunk_size=4)]
    return names, await Author.objects.all().adelete()


async def by_hand() -> Any:
    async with cursor() as opened:
        await opened.execute("SELECT %s::int", [3])
        return await opened.fetchall()


async def in_sync_code() -> Any:
    def sync() -> Any:
        with transaction.atomic(), transaction.atomic():
            Author.objects.create(name="s")
        return Author.objects.filter(name="s").delete()

    return await run_sync(sync)


async def in_a_block() -> Any:
    async with atomic():
        await Author.objects.acreate(name="b")
        async with atomic():
            await Author.objects.filter(name="b").aupdate(age=2)
        return await Author.objects.filter(name="b").adelete()


@pytest.mark.parametrize("operation", [reading, writing, streaming, by_hand, in_sync_code, in_a_block])
async def test_they_are_told_of_what_capture_queries_has(
    operation: Callable[[], Awaitable[Any]], seen: list[ExecutedStatement]
):
    """That is all, through cursors; here on the wire, where a query is there from its second use on."""
    await operation()  # content types are looked up once
    for _ in range(3):
        with capture_queries() as queries:
            await operation()
        del seen[:]
        await operation()
        ends = [each for each in seen if each.sql in {"COMMIT", "ROLLBACK"}]
        fetched = [each for each in seen if each.sql.startswith("FETCH")]
        captured = [each["sql"] for each in queries if each["sql"] not in {"BEGIN", "COMMIT", "ROLLBACK"}]
        assert len(seen) - len(ends) - len(fetched) == len(captured), (seen, captured)
        assert all(each.error is None and each.start_time <= each.end_time for each in seen)
        assert {each.alias for each in seen} == {"default"}


async def test_what_they_are_told(seen: list[ExecutedStatement]):
    started = time.time_ns()
    await Author.objects.acreate(name="a", age=3)
    for _ in range(3):
        del seen[:]
        [author] = await Author.objects.filter(name="a").alist()
    [told] = seen
    assert told.sql == Author.objects.filter(name="a").query.sql_with_params()[0]
    assert tuple(told.params) == ("a",)
    assert (told.alias, told.rowcount, told.error, told.on_wire) == ("default", 1, None, True)
    assert started <= told.start_time <= told.end_time <= time.time_ns()
    del seen[:]
    assert await Author.objects.filter(name__in=[author.name, "b"]).aupdate(age=5) == 1
    assert [(each.rowcount, each.sql[:6]) for each in seen] == [(1, "UPDATE")]
    del seen[:]
    assert await by_hand() == [(3,)]
    assert [(each.sql, list(each.params), each.rowcount, each.on_wire) for each in seen] == [
        ("SELECT %s::int", [3], 1, False)
    ]


async def test_statements_stay_on_the_wire(seen: list[ExecutedStatement], monkeypatch: pytest.MonkeyPatch):
    for _ in range(3):
        await in_a_block()
    executed: list[str] = []
    run_alone = Wire.run_alone

    async def counting(self: Wire, statement: Any, *args: Any, **kwargs: Any) -> Any:
        executed.append(statement.sql)
        return await run_alone(self, statement, *args, **kwargs)

    monkeypatch.setattr(Wire, "run_alone", counting)
    del seen[:]
    async with atomic():
        await Author.objects.acreate(name="b")
        await Author.objects.filter(name="b").aupdate(age=2)
    assert [each.sql for each in seen] == [*executed, "COMMIT"]
    assert len(executed) == 2


async def test_several_in_one_round_trip(seen: list[ExecutedStatement]):
    await Author.objects.acreate(name="a")
    for _ in range(3):
        del seen[:]
        await batch(Author.objects.acount(), Author.objects.filter(name="a").alist())
    first, second = seen
    assert ("COUNT" in first.sql, "COUNT" in second.sql) == (True, False)
    assert (first.rowcount, second.rowcount, first.on_wire, second.on_wire) == (1, 1, True, True)
    assert (first.start_time, first.end_time) == (second.start_time, second.end_time)


async def test_multiplexed_reads(seen: list[ExecutedStatement]):
    with override_settings(TURBO_ORM={"OBSERVERS": [seen.append], "MULTIPLEX": True}):
        for _ in range(3):
            await Author.objects.filter(name="a").acount()
        del seen[:]
        await asyncio.gather(*(Author.objects.filter(name=f"{number}").acount() for number in range(9)))
        assert sorted(each.params[0] for each in seen) == [f"{number}" for number in range(9)]
        await close_pools()


async def test_copies(seen: list[ExecutedStatement]):
    async with cursor() as opened:
        await opened.execute("CREATE TEMPORARY TABLE copied (n int)")
        del seen[:]
        await opened.copy_in("COPY copied FROM STDIN", [(1,), (2,)])
        assert [row async for row in opened.copy_out("COPY copied TO STDOUT")] == [("1",), ("2",)]
        assert [(each.sql, each.rowcount) for each in seen] == [
            ("COPY copied FROM STDIN", 2),
            ("COPY copied TO STDOUT", 2),
        ]
        await opened.execute("DROP TABLE copied")


@pytest.mark.parametrize("on_wire", [True, False])
async def test_errors_are_the_drivers(seen: list[ExecutedStatement], on_wire: bool):
    await Author.objects.acreate(name="a")
    for _ in range(3):
        await Author.objects.acreate(name="b")
        await Author.objects.filter(name="b").adelete()
    del seen[:]
    with pytest.raises(IntegrityError):
        if on_wire:
            await Author.objects.acreate(name="a")
        else:
            async with cursor() as opened:
                await opened.execute("INSERT INTO library_author (name, created) VALUES ('a', now())")
    [told] = seen
    assert isinstance(told.error, psycopg.errors.UniqueViolation)
    assert (told.rowcount, told.on_wire) == (-1, on_wire)


async def test_a_rollback(seen: list[ExecutedStatement]):
    for _ in range(3):
        del seen[:]
        with pytest.raises(ZeroDivisionError):
            async with atomic():
                await Author.objects.acreate(name="a")
                raise ZeroDivisionError
    assert [each.sql.split()[0] for each in seen] == ["INSERT", "ROLLBACK"]


async def test_a_cancelled_statement(seen: list[ExecutedStatement], observer: psycopg.Connection[Any]):
    async def sleep() -> None:
        async with cursor() as opened:
            await opened.execute("SELECT pg_sleep(60)")

    await cancelled_when(lambda: asleep(observer), sleep())
    [told] = seen
    assert isinstance(told.error, asyncio.CancelledError | psycopg.errors.QueryCanceled)


async def test_they_run_in_the_context_of_the_code():
    """So that a span has the right parent."""
    told: list[tuple[str, str]] = []

    def observe(statement: ExecutedStatement) -> None:
        told.append((span.get(), statement.params[0]))

    async def task(name: str) -> None:
        span.set(name)
        await Author.objects.filter(name=name).acount()

    def sync() -> None:
        span.set("sync")
        Author.objects.filter(name="sync").count()
        with connection.cursor() as opened:
            opened.execute("SELECT %s", ["sync"])

    with override_settings(TURBO_ORM={"OBSERVERS": [observe]}):
        for _ in range(3):
            await asyncio.gather(*(task(f"{number}") for number in range(5)))
            await run_sync(sync)
    assert len(told) == 21
    assert all(context == name for context, name in told)


async def test_one_that_fails_is_logged_and_keeps_nothing_from_anybody(
    seen: list[ExecutedStatement], caplog: pytest.LogCaptureFixture
):
    def fail(statement: ExecutedStatement) -> None:
        raise ZeroDivisionError

    with override_settings(TURBO_ORM={"OBSERVERS": [fail, seen.append]}), caplog.at_level(logging.ERROR):
        assert await Author.objects.acount() == 0
        await in_a_block()
    assert seen
    assert "fail" in caplog.records[0].getMessage()
    assert caplog.records[0].exc_info is not None


async def test_without_observers_cursors_are_djangos():
    def sync() -> str:
        with connection.cursor() as opened:
            return type(opened).__module__

    assert (await run_sync(sync)).startswith("django.")


@pytest.mark.parametrize("in_block", [False, True])
async def test_what_the_server_refuses_on_the_wire_is_told_once(
    seen: list[ExecutedStatement], monkeypatch: pytest.MonkeyPatch, in_block: bool
):
    """A cursor executes it then, whose parameters are part of the text."""

    async def count() -> int:
        return await Author.objects.filter(name="refused").acount()

    for _ in range(3):
        assert await count() == 0
    refused: list[Any] = []

    async def refuse(self: Wire, statement: Any, *args: Any) -> Any:
        statement.refused = True
        refused.append(statement)
        raise psycopg.errors.IndeterminateDatatype("could not determine data type of parameter $1")

    monkeypatch.setattr(Wire, "run_alone", refuse)
    del seen[:]
    async with atomic() if in_block else nullcontext():
        assert await count() == 0
    [told] = [each for each in seen if each.sql != "COMMIT"]
    assert (told.error, told.on_wire, len(refused)) == (None, False, 1)
    refused[0].refused = False  # the plan outlives this test


async def test_of_what_is_destroyed_they_are_not_told(
    seen: list[ExecutedStatement], observer: psycopg.Connection[Any]
):
    """It ends in a context which has nothing to do with it, and in the garbage collector maybe."""

    async def sleep() -> None:
        async with cursor() as opened:
            await opened.execute("SELECT pg_sleep(60)")

    await destroy_when(lambda: asleep(observer) > 0, sleep())
    assert seen == []
    await until(lambda: asleep(observer) == 0)
