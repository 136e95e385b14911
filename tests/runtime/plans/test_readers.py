"""`contains()`, `in_bulk()`, `earliest()` and `latest()`: what they execute has plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
import pytest
from django.db.models import Count, F
from django.test import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.plans.same import seen
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")


class Odd(AsyncQuerySet[Any]):
    """Overrides what these are made of."""

    def order_by(self, *names: Any) -> Any:
        return super().order_by("title", *names)

    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, **kwargs, title__gt="B")


ADA, ALGEBRA = Author(pk=1), Book(pk=1)

#: How often there is a plan.
CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], int]] = {
    "contains": (lambda rows: rows(Book).filter(author=1), lambda rows: rows.acontains(ALGEBRA), 1),
    "contains another": (lambda rows: rows(Book).exclude(author=1), lambda rows: rows.acontains(ALGEBRA), 1),
    "contains, of another model": (lambda rows: rows(Book), lambda rows: rows.acontains(ADA), 0),
    "contains, of values": (lambda rows: rows(Book).values("pk"), lambda rows: rows.acontains(ALGEBRA), 0),
    "contains, of a slice": (lambda rows: rows(Book)[:2], lambda rows: rows.acontains(ALGEBRA), 0),
    "contains, overridden": (lambda rows: Odd(Book), lambda rows: rows.acontains(ALGEBRA), 1),
    "in bulk": (lambda rows: rows(Book).filter(author=1), lambda rows: rows.ain_bulk([1, 2, 3]), 1),
    "all in bulk": (lambda rows: rows(Tag), lambda rows: rows.ain_bulk(), 1),
    "none in bulk": (lambda rows: rows(Tag), lambda rows: rows.ain_bulk([]), 0),
    "by name": (
        lambda rows: rows(Author).only("name"),
        lambda rows: rows.ain_bulk(["Ada", "x"], field_name="name"),
        1,
    ),
    "by no unique name": (lambda rows: rows(Author), lambda rows: rows.ain_bulk([1], field_name="age"), 0),
    "by a distinct name": (
        lambda rows: rows(Book).order_by("author").distinct("author"),
        lambda rows: rows.ain_bulk([1], field_name="author"),
        1 if django.VERSION >= (5, 2) else 2,  # before, it follows the key of the row
    ),
    "related in bulk": (
        lambda rows: rows(Book).select_related("author"),
        lambda rows: rows.ain_bulk([1, 2]),
        1,
    ),
    "a slice in bulk": (lambda rows: rows(Book)[:2], lambda rows: rows.ain_bulk([1]), 0),
    "latest": (lambda rows: rows(Book).exclude(published=None), lambda rows: rows.alatest(), 1),
    "earliest": (lambda rows: rows(Book).exclude(published=None), lambda rows: rows.aearliest(), 1),
    "latest by": (lambda rows: rows(Book), lambda rows: rows.alatest("-price", "pk"), 1),
    "earliest by": (lambda rows: rows(Book).order_by("title"), lambda rows: rows.aearliest("price"), 1),
    "by an expression": (lambda rows: rows(Book), lambda rows: rows.alatest(F("price") * 2), 1),
    "of values": (lambda rows: rows(Book).values("title"), lambda rows: rows.alatest("price"), 1),
    "of annotations": (
        lambda rows: rows(Author).annotate(n=Count("books")),
        lambda rows: rows.alatest("n", "pk"),
        1,
    ),
    "latest of reversed": (lambda rows: rows(Book).reverse(), lambda rows: rows.alatest("price"), 1),
    "latest of nothing": (lambda rows: rows(Book).filter(pk=0), lambda rows: rows.alatest("price"), 1),
    "latest of a slice": (lambda rows: rows(Book)[:3], lambda rows: rows.alatest("price"), 0),
    "latest by nothing": (lambda rows: rows(Author), lambda rows: rows.alatest(), 0),
    "latest by no field": (lambda rows: rows(Author), lambda rows: rows.alatest("nonsense"), 0),
    "latest, overridden": (lambda rows: Odd(Book), lambda rows: rows.alatest("-price"), 0),
}


async def _outcome(rows: Any, call: Callable[[Any], Any]) -> Any:
    try:
        with capture_queries() as queries:
            found = await call(rows)
    except Exception as exc:
        return type(exc), str(exc)
    return seen(found), [query["sql"] for query in queries]


@pytest.mark.parametrize("name", CALLS)
async def test_as_django(name: str) -> None:
    chain, call, plans = CALLS[name]
    with override_settings(TURBO_ORM={"PLANS": False}):
        expected = await _outcome(chain(AsyncQuerySet), call)
    for _ in range(2):
        same = Verified.same
        rows = chain(AsyncQuerySet)
        planned = rows._planned
        assert await _outcome(rows, call) == expected
        assert Verified.same == same + plans
        assert not plans or rows._planned is planned, "it left plan mode"


async def test_of_rows_that_are_loaded() -> None:
    rows: Any = AsyncQuerySet(Book).filter(author=1)
    loaded = await rows.alist()
    with capture_queries() as queries:
        assert await rows.acontains(loaded[0])
    assert not queries
    assert await rows.alatest("pk") is not loaded[-1]
    assert (await rows.ain_bulk([1]))[1] is not loaded[0]


async def test_in_sync_code() -> None:
    def use() -> list[Any]:
        rows: Any = AsyncQuerySet(Book).filter(author=1)
        return [rows.contains(ALGEBRA), [*rows.in_bulk([1, 2])], rows.latest("pk").pk, rows.earliest("pk").pk]

    for _ in range(2):
        assert await run_sync(use) == [True, [1, 2], 2, 1]
