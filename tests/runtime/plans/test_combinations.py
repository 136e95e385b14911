"""`&`, `|` and `^` of querysets: a step like others, where both are in plan mode."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
from django.db.models import Count, F, Q
from django.test import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.plans.same import seen
from turbo_orm import run_sync
from turbo_orm.plans.verify import Verified

POOL = {"min_size": 1, "max_size": 5}

pytestmark = pytest.mark.usefixtures("at_once", "verifying")

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}

#: Two querysets, and whether what they come to has a plan.
PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any], bool]] = {
    "all": (lambda: Book.objects.all(), lambda: Book.objects.all(), True),
    "a filter and all": (lambda: Book.objects.filter(pk=1), lambda: Book.objects.all(), True),
    "all and a filter": (lambda: Book.objects.all(), lambda: Book.objects.filter(pk=1), True),
    "filters": (
        lambda: Book.objects.filter(pk__lt=3),
        lambda: Book.objects.filter(title__contains="a"),
        True,
    ),
    "with joins": (
        lambda: Book.objects.filter(author__name="Ada"),
        lambda: Book.objects.filter(tags__label="red", author__age__gt=1),
        True,
    ),
    "joins of many": (
        lambda: Book.objects.filter(tags__label="red"),
        lambda: Book.objects.filter(tags__label="blue"),
        True,
    ),
    "excluded": (
        lambda: Book.objects.exclude(tags__label="red"),
        lambda: Book.objects.exclude(pk__in=[1, 2]).filter(pk__gt=0),
        True,
    ),
    "conditions": (
        lambda: Book.objects.filter(Q(pk=1) | Q(title="x")),
        lambda: Book.objects.filter(pk=F("author_id")),
        True,
    ),
    "querysets in them": (
        lambda: Book.objects.filter(author__in=Author.objects.filter(age__gt=1)),
        lambda: Book.objects.filter(pk__in=Book.objects.filter(pk__lt=3).values("pk")),
        True,
    ),
    "orders": (
        lambda: Book.objects.filter(pk__lt=4).order_by("-title"),
        lambda: Book.objects.filter(pk__gt=1).order_by("pk"),
        True,
    ),
    "relations": (
        lambda: Book.objects.select_related("author").filter(pk__lt=3),
        lambda: Book.objects.filter(author__name="Bob"),
        True,
    ),
    "deferred": (lambda: Book.objects.only("title"), lambda: Book.objects.defer("title").filter(pk=2), True),
    "distinct": (
        lambda: Book.objects.filter(tags__label="red").distinct(),
        lambda: Book.objects.filter(tags__label="blue").distinct(),
        True,
    ),
    "distinct and not": (lambda: Book.objects.distinct(), lambda: Book.objects.filter(pk=2), None),
    "of objects": (
        lambda: Author.objects.get(pk=1).books.all(),
        lambda: Author.objects.get(pk=2).books.filter(pk__gt=0),
        True,
    ),
    "annotated": (
        lambda: Author.objects.annotate(n=Count("books")).filter(n__gt=0),
        lambda: Author.objects.filter(name="Bob"),
        None,
    ),
    "prefetched": (
        lambda: Book.objects.prefetch_related("tags").filter(pk__lt=3),
        lambda: Book.objects.filter(pk=3),
        True,
    ),
    "none": (lambda: Book.objects.none(), lambda: Book.objects.filter(pk=1), None),
    "and none": (lambda: Book.objects.filter(pk=1), lambda: Book.objects.none(), None),
    "a slice": (lambda: Book.objects.order_by("pk")[:2], lambda: Book.objects.filter(pk=3), False),
    "and a slice": (lambda: Book.objects.filter(pk=3), lambda: Book.objects.order_by("pk")[:2], None),
    "values": (lambda: Book.objects.values("pk"), lambda: Book.objects.values("pk").filter(pk=1), False),
    "other values": (lambda: Book.objects.values("pk"), lambda: Book.objects.values("title"), False),
    "another model": (lambda: Book.objects.all(), lambda: Author.objects.all(), False),
    "no queryset": (lambda: Book.objects.all(), lambda: 7, False),
    "raw conditions": (lambda: Book.objects.extra(where=["true"]), lambda: Book.objects.filter(pk=1), False),
    "evaluated": (
        lambda: _loaded(Book.objects.filter(pk=1)),
        lambda: _loaded(Book.objects.filter(pk=2)),
        False,
    ),
}


def _loaded(queryset: Any) -> Any:
    list(queryset)
    return queryset


def _rows(make: Callable[[], Any]) -> Any:
    try:
        rows = make()
        found = list(rows)
        again = str(rows.query)
    except Exception as error:
        return type(error), str(error)
    for row in found:
        if hasattr(row, "_prefetched_objects_cache"):
            assert row.tags.all()._result_cache is not None
            del row._prefetched_objects_cache
    # The database says in which order, where the query does not.
    return again, sorted(map(repr, map(seen, found))) if not rows.ordered else seen(found)


@pytest.mark.parametrize("operator_name", OPERATORS)
@pytest.mark.parametrize("name", PAIRS)
async def test_rows_and_errors_are_djangos(name: str, operator_name: str):
    left, right, has_plan = PAIRS[name]
    combine = OPERATORS[operator_name]

    def make() -> Any:
        return combine(left(), right())

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await run_sync(_rows, make)
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        for _ in range(2):
            planned = getattr(await run_sync(_made, make), "_planned", None)
            assert await run_sync(_rows, make) == expected
            if has_plan is not None:
                assert (planned is not None) is has_plan


def _made(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception:
        return None


async def test_what_is_done_to_the_result():
    async def found() -> Any:
        rows = Book.objects.filter(pk__lt=3) | Book.objects.filter(author__name="Bob")
        narrow = rows.filter(pk__gt=1).exclude(title="x").order_by("-pk")
        many = reduce(operator.or_, [Book.objects.filter(pk=pk) for pk in (1, 2, 3)])
        return seen(
            [
                await narrow.acount(),
                await narrow.alist(),
                await narrow.all()[:1].alist(),
                await many.order_by("pk").values_list("pk", flat=True).alist(),
                await many.aexists(),
            ]
        )

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await found()
    before = Verified.same
    assert await found() == expected
    assert Verified.same - before == 5


async def test_values_are_no_part_of_the_shape():
    nodes = set()
    for pk in (1, 2, 3):
        rows: Any = Book.objects.filter(pk=pk) | Book.objects.filter(title=f"t{pk}")
        assert [book.pk async for book in rows] == [pk]
        nodes.add(rows._planned[0])
    assert len(nodes) == 1


async def test_both_go_on_in_plan_mode():
    left: Any = Book.objects.filter(pk=1)
    right: Any = Book.objects.filter(pk=2)
    assert {book.pk async for book in left | right} == {1, 2}
    assert left._planned is not None is not right._planned
    assert [book.pk async for book in left] == [1]
    assert [book.pk async for book in right] == [2]


async def test_objects_that_are_known():
    async def titles() -> list[tuple[str, str]]:
        ada, bob = await Author.objects.aget(name="Ada"), await Author.objects.aget(name="Bob")
        rows = (ada.books.all() | bob.books.all()).order_by("pk")
        return [(book.title, book.author.name) async for book in rows]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await titles()
    assert await titles() == expected
