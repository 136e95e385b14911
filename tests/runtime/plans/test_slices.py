"""Terminals of slices: one plan for all limits, with Django's answers and errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db.models import Count, Max, Sum
from django.test import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.plans.same import outcome, seen
from turbo_orm import atomic, run_sync
from turbo_orm.plans.verify import Verified

POOL = {"min_size": 1, "max_size": 5}

pytestmark = pytest.mark.usefixtures("at_once", "verifying")

QUERYSETS: dict[str, Callable[[], Any]] = {
    "all": lambda: Book.objects.all(),
    "ordered": lambda: Book.objects.order_by("-pk"),
    "filtered": lambda: Book.objects.filter(pk__gt=1).order_by("pk"),
    "distinct": lambda: Book.objects.values("author").order_by("author").distinct(),
    "distinct objects": lambda: Book.objects.filter(tags__label__gt="").order_by("pk").distinct(),
    "annotated": lambda: Author.objects.annotate(n=Count("books")).filter(n__gte=0).order_by("pk"),
    "joined": lambda: Book.objects.select_related("author").order_by("author__name", "pk"),
    "with lists": lambda: Book.objects.filter(pk__in=[1, 2, 3, 4]).order_by("pk"),
    "nothing": lambda: Tag.objects.filter(label="no such label").order_by("pk"),
}

LIMITS = [(None, 1), (None, 3), (None, 50), (1, 2), (1, 4), (2, None), (50, 60), (0, 1), (3, 3)]

TERMINALS: dict[str, Callable[[Any], Any]] = {
    "count": lambda rows: rows.acount(),
    "exists": lambda rows: rows.aexists(),
    "get": lambda rows: rows.aget(),
    "first": lambda rows: rows.afirst(),
    "last": lambda rows: rows.alast(),
    "a sum": lambda rows: rows.aaggregate(Sum("pk"), n=Max("pk")),
    "get of a filter": lambda rows: rows.aget(pk=1),
    "update": lambda rows: rows.aupdate(pk=1),
    "delete": lambda rows: rows.adelete(),
    "latest": lambda rows: rows.alatest("pk"),
}

#: What Django refuses, or plans do not have.
_WITHOUT_PLAN = {"last", "get of a filter", "update", "delete", "latest"}


@pytest.mark.parametrize("name", QUERYSETS)
@pytest.mark.parametrize("terminal", TERMINALS)
async def test_answers_and_errors_are_djangos(name: str, terminal: str):
    make = QUERYSETS[name]
    slices = [slice(*limits) for limits in LIMITS]

    async def answer(limits: slice) -> Any:
        return await TERMINALS[terminal](make()[limits])

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = [await outcome(partial(answer, limits)) for limits in slices]
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        before = Verified.same
        found = [await outcome(partial(answer, limits)) for limits in slices]
    assert found == expected
    # The last one is empty, and Django executes nothing for it.
    assert Verified.same - before == (0 if terminal in _WITHOUT_PLAN else len(slices) - 1)


async def test_terminals_of_sync_code():
    def answers() -> Any:
        rows = Book.objects.order_by("pk")[1:3]
        return rows.count(), rows.exists(), rows.aggregate(Max("pk")), Book.objects.order_by("pk")[1:2].get()

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = seen(await run_sync(answers))
    before = Verified.same
    assert seen(await run_sync(answers)) == expected
    assert Verified.same - before == 4


async def test_rows_that_are_locked():
    async with atomic():
        rows = Book.objects.order_by("pk").select_for_update()[1:3]
        before = Verified.same
        assert await rows.acount() == 2
        assert (await rows.afirst()).pk == 2
        assert (await Book.objects.order_by("pk").select_for_update()[1:2].aget()).pk == 2
        assert Verified.same - before == 3


async def test_one_plan_for_all_limits():
    root = Book.objects.order_by("pk")
    counts = [await root[start : start + 2].acount() for start in range(4)]
    planned: Any = root[1:2]._planned
    (plan,) = planned[0].plans.values()
    assert counts == [2, 2, 2, 1]
    assert "LIMIT" not in plan.bind_as_django(())[0]
    assert plan.limit_sql((3, 5)) == " LIMIT 2 OFFSET 3) subquery"


@pytest.mark.parametrize("limits", [slice(0, None), slice(None, None), slice(None, None, None)])
async def test_a_slice_of_all_rows_is_none(limits: slice):
    def rows() -> Any:
        return Book.objects.order_by("pk")[limits]

    for _ in range(3):
        assert await rows().alist() == await Book.objects.order_by("pk").alist()
        assert await rows().filter(pk=1).acount() == 1
        assert await rows().acount() == await Book.objects.acount()


#: What may be done with a slice, and whether that has a plan.
AFTER: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "relations": (lambda rows: rows.select_related("author"), True),
    "no relations": (lambda rows: rows.select_related("author").select_related(None), False),
    "only": (lambda rows: rows.only("title").defer("price"), True),
    "values": (lambda rows: rows.values("title", "author__name"), True),
    "flat": (lambda rows: rows.values_list("pk", flat=True), True),
    "prefetched": (lambda rows: rows.select_related("author").prefetch_related("tags"), True),
    "all": (lambda rows: rows.only("title").all(), True),
    "an expression": (lambda rows: rows.values(n=Count("tags")), False),
    "annotated": (lambda rows: rows.annotate(n=Count("tags")), False),
    "sliced": (lambda rows: rows.only("title")[1:2], False),
    "filtered": (lambda rows: rows.only("title").filter(pk=1), False),
    "ordered": (lambda rows: rows.only("title").order_by("pk"), False),
    "reversed": (lambda rows: rows.values("pk").reverse(), False),
    "distinct": (lambda rows: rows.values("author").distinct(), False),
    "united": (lambda rows: rows.only("title").union(rows), False),
    "a value": (lambda rows: Book.objects.filter(pk__in=rows.values("pk")).order_by("pk"), True),
}


@pytest.mark.parametrize("name", AFTER)
async def test_slices_of_other_columns(name: str):
    after, has_plan = AFTER[name]

    async def answer(low: int) -> Any:
        return await after(Book.objects.order_by("pk")[low : low + 3]).alist()

    async def answers() -> list[Any]:
        return [await outcome(partial(answer, low)) for low in (0, 1, 2, 0)]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await answers()
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        before = Verified.same
        found = await answers()
        assert (Verified.same - before >= 4) is has_plan
    if name != "prefetched":  # querysets of prefetched rows are other ones each time
        assert found == expected
