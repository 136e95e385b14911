"""Tasks that async user code starts below sync code, and that live on when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import Signal

from tests.project.library.models import Author, Tag
from tests.runtime.support import assert_pool_is_clean
from turbo_orm import atomic, on_commit, run_sync

needs_async_receivers = pytest.mark.skipif(
    not hasattr(Signal, "asend"), reason="async receivers came with Django 5.0"
)


@pytest.fixture
def tasks() -> list[asyncio.Task[Any]]:
    """What was started in the background."""
    return []


async def two_tags() -> None:
    async with atomic():
        await Tag.objects.acreate(label="one")
        await asyncio.sleep(0.05)
        await Tag.objects.acreate(label="two")


async def labels() -> list[str]:
    return sorted([tag.label async for tag in Tag.objects.all()])


@contextmanager
def received_by(receiver: Callable[..., Any]) -> Iterator[None]:
    post_save.connect(receiver, sender=Author)
    try:
        yield
    finally:
        post_save.disconnect(receiver, sender=Author)


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("how", [pytest.param("receiver", marks=needs_async_receivers), "async_to_sync"])
async def test_the_block_of_sync_code_is_committed(how: str, in_block: bool, tasks: list[asyncio.Task[None]]):
    async def start(**_: Any) -> None:
        tasks.append(asyncio.create_task(two_tags()))
        await asyncio.sleep(0.01)  # it is in its block now

    def operation() -> None:
        with transaction.atomic():
            Author.objects.create(name="a")
            if how != "receiver":
                async_to_sync(start)()
            list(Author.objects.all())

    with received_by(start if how == "receiver" else lambda **_: None):
        async with atomic() if in_block else nullcontext():
            await run_sync(operation)
        await asyncio.gather(*tasks)
    assert await Author.objects.acount() == 1
    assert await labels() == ["one", "two"]
    await assert_pool_is_clean()


@needs_async_receivers
async def test_the_block_of_a_task_is_atomic(tasks: list[asyncio.Task[None]]):
    async def start(**_: Any) -> None:
        tasks.append(asyncio.create_task(two_tags()))
        await asyncio.sleep(0.01)

    with received_by(start), pytest.raises(LookupError):
        async with atomic():
            await Author.objects.acreate(name="a")
            raise LookupError
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await labels() in ([], ["one", "two"])
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


@pytest.mark.parametrize("started_in", ["sync code", "async code"])
async def test_started_in_a_hook(started_in: str, tasks: list[asyncio.Task[None]]):
    async def hook() -> None:
        tasks.append(asyncio.create_task(two_tags()))
        await asyncio.sleep(0.01)

    def operation() -> None:
        with transaction.atomic():
            Author.objects.create(name="a")
            transaction.on_commit(hook)
        with transaction.atomic():
            Author.objects.create(name="b")
            list(Author.objects.all())

    if started_in == "sync code":
        await run_sync(operation)
    else:
        async with atomic():
            await Author.objects.abulk_create([Author(name="a"), Author(name="b")])
            await on_commit(hook)
    await asyncio.gather(*tasks)
    assert await Author.objects.acount() == 2
    assert await labels() == ["one", "two"]
    await assert_pool_is_clean()


async def test_many_that_read_after_their_hook(tasks: list[asyncio.Task[None]]):
    """Each has answers of its own, and nobody else's connection goes."""

    async def deliver(name: str) -> None:
        for _ in range(3):
            assert (await Author.objects.aget(name=name)).name == name

    async def one(name: str) -> None:
        async def hook() -> None:
            tasks.append(asyncio.create_task(deliver(name)))
            await asyncio.sleep(0)

        async with atomic():
            await Author.objects.acreate(name=name)
            await on_commit(hook)

    for turn in range(5):
        await asyncio.gather(*(one(f"{turn}-{number}") for number in range(10)))
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
        tasks.clear()
    assert await Author.objects.acount() == 50
    await assert_pool_is_clean()


async def test_user_code_that_is_cancelled_while_its_task_is_in_a_block(tasks: list[asyncio.Task[None]]):
    async def start() -> None:
        tasks.append(asyncio.create_task(two_tags()))
        await asyncio.sleep(30)

    def operation() -> None:
        with transaction.atomic():
            Author.objects.create(name="a")
            async_to_sync(start)()

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(run_sync(operation), 0.03)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await Author.objects.acount() == 0
    assert await labels() in ([], ["one", "two"])
    await assert_pool_is_clean()
