"""Models which have a part in how their instances are made: from a plan all the same, in the bridge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.db.models.signals import post_init
from django.test import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.plans.same import seen
from turbo_orm import atomic, batch, run_sync
from turbo_orm.plans.verify import Verified

pytestmark = pytest.mark.usefixtures("verifying", "at_once")

BOOKS = Book.objects.order_by("pk")


async def looped(rows: Any) -> list[Any]:
    return [row async for row in rows]


async def prefetched(rows: Any) -> list[Any]:
    # Django's objects hold other querysets, which nobody has looked at.
    return [(row.pk, row.made, [(tag, tag.made) for tag in row.tags.all()], row.author) async for row in rows]


USES: dict[str, Callable[[], Awaitable[Any]]] = {
    "a list": lambda: BOOKS.all().alist(),
    "one": lambda: BOOKS.aget(pk=1),
    "the first": lambda: BOOKS.afirst(),
    "a loop": lambda: looped(BOOKS.all()),
    "a stream": lambda: looped(BOOKS.aiterator(chunk_size=2)),
    "some fields": lambda: BOOKS.only("title").alist(),
    "with relations": lambda: BOOKS.select_related("author").alist(),
    "prefetched": lambda: prefetched(BOOKS.prefetch_related("tags", "author")),
    "in a batch": lambda: batch(BOOKS.all(), BOOKS.acount()),
    "sync code": lambda: run_sync(list, BOOKS.all()),
}


@pytest.fixture
def tags_counted() -> Iterator[list[int]]:
    """How many tags there were as each object was made: a receiver asks the database."""
    counted: list[int] = []

    def receiver(instance: Any, **kwargs: Any) -> None:
        counted.append(Tag.objects.count())
        instance.made = len(vars(instance))

    for model in (Book, Author, Tag):
        post_init.connect(receiver, sender=model)
    yield counted
    for model in (Book, Author, Tag):
        post_init.disconnect(receiver, sender=model)


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("use", USES)
async def test_receivers_that_query(tags_counted: list[int], use: str, in_block: bool) -> None:
    with override_settings(TURBO_ORM={"PLANS": False}):
        expected = await run_sync(seen, await USES[use]())
    asked = len(tags_counted)
    assert asked
    same = Verified.same
    async with atomic() if in_block else nullcontext():
        found = await USES[use]()
    assert Verified.same > same, "no plan"
    assert await run_sync(seen, found) == expected
    assert len(tags_counted) == 2 * asked
