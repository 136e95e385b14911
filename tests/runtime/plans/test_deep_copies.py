"""Deep copies of querysets, as serializers and forms make of those of their fields, have plans too."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from django.db.models import Count, Exists, OuterRef, QuerySet

from tests.project.library.models import Author, Book, Tag
from tests.runtime.plans.same import seen
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.plans.verify import Verified

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")

Use = Callable[[Any], Any]

CHAINS: dict[str, Use] = {
    "all": lambda rows: rows,
    "filter": lambda rows: rows.filter(price__gt=5, title__in=["Chess", "Dance"]),
    "slice": lambda rows: rows.order_by("title")[:2],
    "values_list": lambda rows: rows.values_list("title", "author__name").order_by("pk"),
    "annotate": lambda rows: rows.annotate(n=Count("tags")).filter(n__gt=0).order_by("pk"),
    "Exists": lambda rows: rows.filter(Exists(Tag.objects.filter(books=OuterRef("pk"), label="red"))),
    "using": lambda rows: rows.using("default").select_related("author"),
}


class Keeping(AsyncQuerySet):
    """It has a part in making clones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = ["made"]

    def _clone(self) -> Any:
        clone = super()._clone()  # type: ignore[misc]
        clone.kept = [*self.kept, "cloned"]
        return clone


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("rows", [AsyncQuerySet, Keeping])
async def test_rows_are_the_same_and_planned(name: str, rows: type[AsyncQuerySet]) -> None:
    kept = CHAINS[name](rows(Book))
    expected = [seen(row) for row in await kept.all().alist()]
    before = Verified.same
    for _ in range(2):
        copied = deepcopy(kept)
        assert copied._planned is not None
        assert "_query" not in vars(copied)
        assert [seen(row) for row in await copied.alist()] == expected
    assert [seen(row) for row in await kept.alist()] == expected
    assert Verified.same >= before + 3


async def test_what_is_chained_to_them_is_planned() -> None:
    kept = Book.objects.all()
    before = Verified.same
    assert (await deepcopy(kept).all().aget(title="Chess")).title == "Chess"
    assert await deepcopy(kept).filter(title="Chess").acount() == 1
    assert Verified.same == before + 2


async def test_prefetches_go_with_them() -> None:
    kept = Book.objects.prefetch_related("tags").order_by("pk")
    tags = [[tag.label for tag in book.tags.all()] for book in await deepcopy(kept).alist()]
    assert tags == [[tag.label for tag in book.tags.all()] for book in await kept.alist()]
    assert any(tags)


async def test_values_are_the_copys_own() -> None:
    titles = ["Chess"]
    kept = Book.objects.filter(title__in=titles)
    copied = deepcopy(kept)
    titles.append("Dance")
    expected = deepcopy(QuerySet(Book).filter(title__in=["Chess"]))
    assert await copied.acount() == await run_sync(expected.count)


async def test_rows_are_not_copied() -> None:
    kept = Book.objects.all()
    rows = await kept.alist()
    copied = deepcopy(kept)
    assert copied._result_cache is None
    assert await copied.alist() == rows


async def test_filters_that_are_put_off_stay_so() -> None:
    """The instance may have no key yet."""
    author = Author(name="New", age=1)
    author.pk = (await Author.objects.afirst()).pk
    related = author.books.all()
    assert [book.pk for book in await deepcopy(related).alist()] == [
        book.pk for book in await related.alist()
    ]
