"""What operations leave behind is freed at once: nothing of it refers to itself."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest
from django.db.models import Model

from tests.project.library.models import Author, Book
from turbo_orm import atomic
from turbo_orm.bridge.scopes import Scope
from turbo_orm.bridge.turns import Turns
from turbo_orm.bridge.wire_blocks import WireBlock
from turbo_orm.plans.mode import PlannedQuerySet

pytestmark = pytest.mark.usefixtures("snapshot", "at_once")

OURS = (Scope, Turns, WireBlock, PlannedQuerySet, Model)


async def get() -> None:
    await Author.objects.aget(pk=1)


async def not_found() -> None:
    with pytest.raises(Author.DoesNotExist):
        await Author.objects.aget(pk=0)


async def update() -> None:
    await Author.objects.filter(pk=1).aupdate(age=7)


async def prefetch() -> None:
    await Book.objects.prefetch_related("tags").select_related("author").alist()


async def block() -> None:
    async with atomic():
        await Author.objects.aget(pk=1)
        await Author.objects.filter(pk=1).aupdate(age=7)


async def tasks_of_a_block() -> None:
    async with atomic():
        await asyncio.gather(*(Author.objects.aget(pk=1) for _ in range(3)))


def alive() -> int:
    """How many there are. (Lazy objects of others pretend to be of a class they must find first.)"""
    return sum(issubclass(type(each), OURS) for each in gc.get_objects())


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("operation", [get, not_found, update, prefetch, block, tasks_of_a_block])
async def test_nothing_is_left_to_the_garbage_collector(
    operation: Callable[[], Awaitable[None]], no_collections: None
) -> None:
    for _ in range(3):  # what is kept is made
        await operation()
    gc.collect()
    before = alive()
    for _ in range(5):
        await operation()
        await asyncio.sleep(0)
    assert alive() == before
