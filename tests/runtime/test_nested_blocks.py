"""Nested blocks on the wire: what Django's do, and when Django's wrapper takes over in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import override_settings

from tests.project.library.models import Author
from tests.runtime.conftest import asleep
from tests.runtime.support import (
    assert_pool_is_clean,
    author_names,
    cancelled_when,
    destroy_when,
    sleep,
    until,
)
from turbo_orm import ExecutedStatement, atomic, cursor, on_commit, run_sync
from turbo_orm.bridge.scopes import active_scope
from turbo_orm.testing import capture_queries


def on_the_wire() -> bool:
    scope = active_scope(asyncio.get_running_loop())
    return scope is not None and scope.root.wire_block is not None


class Nested(NamedTuple):
    savepoint: bool
    raises: bool
    steps: list[Any]


def program(chance: random.Random, depth: int = 3) -> list[Any]:
    steps: list[Any] = []
    for _ in range(chance.randint(1, 4)):
        kinds = ["write", "write", "fail", "look", "count", *["block"] * (3 if depth else 0)]
        kind = chance.choice(kinds)
        if kind == "block":
            savepoint, raises = chance.random() < 0.75, chance.random() < 0.3
            steps.append(Nested(savepoint, raises, program(chance, depth - 1)))
        else:
            steps.append(kind)
    return steps


def looks() -> Any:
    return connection.in_atomic_block, connection.needs_rollback, len(connection.savepoint_ids)


class Run:
    """One run of a program, and what was seen in it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.number = 0

    def name(self) -> str:
        self.number += 1
        return f"a{self.number}"

    def sync(self, steps: list[Any]) -> None:
        for step in steps:
            try:
                if step == "write":
                    Author.objects.create(name=self.name())
                elif step == "fail":
                    Author.objects.create(name="taken")
                elif step == "look":
                    self.seen.append(looks())
                elif step == "count":
                    self.seen.append(Author.objects.count())
                else:
                    with transaction.atomic(savepoint=step.savepoint):
                        self.sync(step.steps)
                        if step.raises:
                            raise LookupError
            except Exception as exc:
                self.seen.append(type(exc))

    async def on_wire(self, steps: list[Any]) -> None:
        for step in steps:
            try:
                if step == "write":
                    await Author.objects.acreate(name=self.name())
                elif step == "fail":
                    await Author.objects.acreate(name="taken")
                elif step == "look":
                    self.seen.append(await run_sync(looks))
                elif step == "count":
                    self.seen.append(await Author.objects.acount())
                else:
                    async with atomic(savepoint=step.savepoint):
                        await self.on_wire(step.steps)
                        if step.raises:
                            raise LookupError
            except Exception as exc:
                self.seen.append(type(exc))


@pytest.mark.parametrize("seed", range(60))
async def test_a_random_program_is_as_djangos(seed: int):
    """The statement `look` has Django's wrapper take over, in whatever nested block."""
    steps = [Nested(True, False, program(random.Random(seed)))]
    await Author.objects.acreate(name="taken")
    outcomes = []
    for _ in range(2):
        ours, djangos = Run(), Run()
        await ours.on_wire(steps)
        outcomes.append((ours.seen, await author_names()))
        await Author.objects.exclude(name="taken").adelete()
        await run_sync(djangos.sync, steps)
        outcomes.append((djangos.seen, await author_names()))
        await Author.objects.exclude(name="taken").adelete()
    assert outcomes[0] == outcomes[1]
    assert outcomes[2:] == outcomes[:2]
    await assert_pool_is_clean()


@pytest.fixture
def told() -> Iterator[list[ExecutedStatement]]:
    seen: list[ExecutedStatement] = []
    with override_settings(TURBO_ORM={"OBSERVERS": [seen.append]}):
        yield seen


async def test_they_stay_on_the_wire(told: list[ExecutedStatement]):
    await Author.objects.acount()
    for _ in range(3):
        await Author.objects.filter(name="a").aupdate(age=1)
    for _ in range(2):
        del told[:]
        async with atomic():
            async with atomic():
                await Author.objects.filter(name="a").aupdate(age=1)
                async with atomic():
                    await Author.objects.filter(name="b").aupdate(age=1)
            with pytest.raises(LookupError):
                async with atomic():
                    raise LookupError
            assert on_the_wire()
    assert [each.sql.partition(' "')[0] for each in told] == [
        "SAVEPOINT",
        "UPDATE",
        "SAVEPOINT",
        "UPDATE",
        "RELEASE SAVEPOINT",
        "RELEASE SAVEPOINT",
        "SAVEPOINT",
        "ROLLBACK TO SAVEPOINT",
        "RELEASE SAVEPOINT",
        "COMMIT",
    ]
    assert all(each.on_wire for each in told[:-1])


async def test_names_stay_different_when_django_takes_over(told: list[ExecutedStatement]):
    async with atomic(), atomic():
        await run_sync(looks)
        async with atomic():
            await Author.objects.acreate(name="a")
    names = [each.sql for each in told if each.sql.startswith("SAVEPOINT")]
    assert len(names) == len({*names}) == 2
    assert await author_names() == ["a"]


async def test_hooks_of_what_is_rolled_back_do_not_run():
    ran: list[str] = []
    async with atomic():
        await on_commit(lambda: ran.append("outer"))
        with pytest.raises(LookupError):
            async with atomic():
                await on_commit(lambda: ran.append("lost"))
                raise LookupError
        async with atomic():
            await on_commit(lambda: ran.append("inner"))
    async with atomic():
        with pytest.raises(LookupError):
            async with atomic():
                await on_commit(lambda: ran.append("lost"))
                raise LookupError
    assert ran == ["outer", "inner"]


async def test_somebody_begins_to_watch_in_the_middle():
    async with atomic():
        await Author.objects.acreate(name="a")
        async with atomic():
            await Author.objects.acreate(name="b")
            with capture_queries() as queries:
                async with atomic():
                    await Author.objects.acreate(name="c")
        async with atomic():
            await Author.objects.acreate(name="d")
    assert [each["sql"].split()[0] for each in queries] == ["SAVEPOINT", "INSERT", "RELEASE"]
    assert await author_names() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("declared", [False, True])
async def test_a_cancelled_statement_costs_its_block_alone(observer: psycopg.Connection[Any], declared: bool):
    async def inner() -> None:
        async with atomic():
            await Author.objects.acreate(name="lost")
            if declared:
                await run_sync(looks)
            async with cursor() as opened:
                await opened.execute("SELECT pg_sleep(60)")

    async def outer() -> None:
        async with atomic():
            await Author.objects.acreate(name="kept")
            await cancelled_when(lambda: asleep(observer) > 0, inner())
            await Author.objects.acreate(name="after")

    await outer()
    assert await author_names() == ["after", "kept"]
    await until(lambda: asleep(observer) == 0)
    await assert_pool_is_clean()


async def test_cancelled_and_destroyed_in_a_nested_block(observer: psycopg.Connection[Any]):
    async def work() -> None:
        async with atomic():
            await Author.objects.acreate(name="a")
            async with atomic():
                await Author.objects.acreate(name="b")
                await run_sync(sleep, 60)

    await cancelled_when(lambda: asleep(observer) > 0, work())
    await destroy_when(lambda: asleep(observer) > 0, work())
    await until(lambda: asleep(observer) == 0)
    assert await author_names() == []
    await assert_pool_is_clean()


async def test_nested_blocks_of_several_tasks_take_turns():
    async def part(name: str) -> None:
        async with atomic():
            for number in range(3):
                await Author.objects.acreate(name=f"{name}{number}")
            if name == "b":
                raise LookupError

    async with atomic():
        results = await asyncio.gather(*map(part, "abc"), return_exceptions=True)
        assert on_the_wire()
    assert [type(result) for result in results] == [type(None), LookupError, type(None)]
    assert await author_names() == ["a0", "a1", "a2", "c0", "c1", "c2"]


async def test_a_session_that_is_lost_in_a_nested_block(observer: psycopg.Connection[Any]):
    async def work() -> None:
        async with atomic():
            await Author.objects.acreate(name="a")
            async with atomic():
                await Author.objects.acreate(name="b")
                async with cursor() as opened:
                    await opened.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseError):
        await work()
    assert await author_names() == []
    await assert_pool_is_clean()
