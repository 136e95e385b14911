"""Many-to-many prefetches on plans: outside of the bridge, and only where that is the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Manager, prefetch_related_objects

from tests.project.library.models import Author, Book, Tag
from turbo_orm import prefetching, run_sync
from turbo_orm.manager import AsyncManager


async def books() -> None:
    author = await Author.objects.acreate(name="a")
    tags = [await Tag.objects.acreate(label=f"t{number}") for number in range(3)]
    for number in range(3):
        book = await Book.objects.acreate(title=f"b{number}", author=author)
        await book.tags.aadd(*tags[number:])


async def loaded() -> list[list[str]]:
    found = await Book.objects.order_by("title").prefetch_related("tags").alist()
    return [sorted(tag.label for tag in book.tags.all()) for book in found]


EXPECTED = [["t0", "t1", "t2"], ["t1", "t2"], ["t2"]]


@pytest.fixture
def by_django(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lookups Django prefetched, in the bridge."""
    lookups: list[str] = []

    def noting(instances: Any, *names: str) -> None:
        lookups.extend(names)
        prefetch_related_objects(instances, *names)

    monkeypatch.setattr(prefetching, "prefetch_related_objects", noting)
    return lookups


async def test_outside_of_the_bridge_once_the_shape_is_known(by_django: list[str]):
    await books()
    for _ in range(3):
        assert await loaded() == EXPECTED
    by_django.clear()
    assert await loaded() == EXPECTED
    assert by_django == []


async def test_what_was_prefetched_is_the_relations_queryset():
    await books()
    for _ in range(4):
        book = (await Book.objects.order_by("title").prefetch_related("tags").alist())[1]
    rows = book.tags.all()
    assert rows._hints["instance"] is book
    assert sorted([tag.label async for tag in rows.filter(label__gte="t2")]) == ["t2"]
    django = await run_sync(lambda: str(Book.objects.get(title="b1").tags.all().query))
    assert str(rows.query) == django


async def test_a_manager_of_its_own_is_asked_in_the_bridge(
    by_django: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Its `get_queryset()` may query, which only sync code in the bridge can."""
    await books()
    assert await loaded() == EXPECTED

    asked: list[int] = []

    def get_queryset(self: Any) -> Any:
        if self.model is Tag:
            asked.append(Author.objects.count())
        return Manager.get_queryset(self)

    monkeypatch.setattr(AsyncManager, "get_queryset", get_queryset, raising=False)
    for _ in range(3):
        by_django.clear()
        found = await Book.objects.order_by("title").alist()
        await prefetching.aprefetch_related_objects(found, "tags")
        assert by_django == ["tags"]
    assert set(asked) == {1}
