"""`django.db.connections` in async code: inside a block of ours they know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connection, connections, transaction

from tests.project.library.models import Author, Tag
from tests.runtime.support import assert_pool_is_clean
from turbo_orm import atomic, run_sync


async def test_they_know_of_the_block(begin: Callable[[], Awaitable[None]]):
    assert not connection.in_atomic_block
    async with atomic():
        await begin()
        assert connection.in_atomic_block
        assert transaction.get_connection().in_atomic_block
        assert connections["default"] in connections.all(initialized_only=True)
        depth = len(connection.savepoint_ids)
        async with atomic():
            assert len(connection.savepoint_ids) == depth + 1
    assert not connection.in_atomic_block
    await assert_pool_is_clean()


async def test_a_block_is_told_to_roll_back(begin: Callable[[], Awaitable[None]]):
    async with atomic():
        await begin()
        transaction.set_rollback(True)
        assert transaction.get_rollback()
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_hooks_of_sync_code(begin: Callable[[], Awaitable[None]]):
    called: list[str] = []
    async with atomic():
        await begin()
        transaction.on_commit(lambda: called.append("committed"))
        with pytest.raises(LookupError):
            async with atomic():
                await Tag.objects.acreate(label="gone")
                transaction.on_commit(lambda: called.append("rolled back"))
                raise LookupError
        assert called == []
    assert called == ["committed"]
    assert await Tag.objects.acount() == 0


async def test_nothing_is_executed_with_them(begin: Callable[[], Awaitable[None]]):
    async with atomic():
        await begin()
        with pytest.raises(SynchronousOnlyOperation):
            connection.cursor()
        with pytest.raises(SynchronousOnlyOperation):
            Author.objects.count()
        await Author.objects.acreate(name="second")
    assert await Author.objects.acount() == 2
    await assert_pool_is_clean()


async def test_they_show_what_the_block_executes(begin: Callable[[], Awaitable[None]]):
    shown: list[str] = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        shown.append(sql)
        return execute(sql, params, many, context)

    async with atomic():
        await begin()
        with connection.execute_wrapper(wrapper):
            await Author.objects.acount()
            await run_sync(Tag.objects.count)
        await Author.objects.acount()
    assert ["author" in sql for sql in shown] == [True, False]
    await assert_pool_is_clean()


async def test_asked_while_a_statement_is_under_way():
    """Whose failure the block must not survive."""
    with pytest.raises(DatabaseError):
        async with atomic():
            await Author.objects.acreate(name="a")
            await Author.objects.acreate(name="b")
            failing = asyncio.create_task(Author.objects.acreate(name="a"))
            await asyncio.sleep(0)
            assert connection.in_atomic_block
            with pytest.raises(DatabaseError):
                await failing
            await Author.objects.acount()
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_other_tasks_see_their_own():
    async with atomic():
        await Author.objects.acreate(name="a")

        async def inside() -> bool:
            return connection.in_atomic_block

        assert await asyncio.create_task(inside())
    assert not await asyncio.create_task(inside())
