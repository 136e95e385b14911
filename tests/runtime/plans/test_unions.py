"""`union()`, `intersection()` and `difference()`: a step like others, of querysets in plan mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Count, F, Q, QuerySet, Subquery, Value
from django.test import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import outcome
from turbo_orm import AsyncQuerySet, atomic, run_sync
from turbo_orm.plans.verify import Verified

POOL = {"min_size": 1, "max_size": 5}

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")

#: Of a class of querysets and a value; and whether there is a plan.
UNIONS: dict[str, tuple[Callable[[Any, int], Any], bool]] = {
    "two": (lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).filter(pk__gt=n)), True),
    "all": (lambda rows, n: rows(Book).all().union(rows(Book).filter(pk__gt=n), all=True), True),
    "three": (
        lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).filter(pk=1), rows(Book).filter(price=n)),
        True,
    ),
    "of a union": (
        lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).filter(pk=1)).union(rows(Book).filter(pk=3)),
        True,
    ),
    "with a union": (
        lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).filter(pk=1).union(rows(Book).filter(pk=3))),
        True,
    ),
    "intersection": (
        lambda rows, n: rows(Book).filter(pk__gte=n).intersection(rows(Book).filter(pk__lt=4)),
        True,
    ),
    "difference": (lambda rows, n: rows(Book).all().difference(rows(Book).filter(pk=n)), True),
    "ordered": (
        lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).filter(pk=1)).order_by("-title", "pk"),
        True,
    ),
    "sliced": (
        lambda rows, n: rows(Book).filter(pk__gte=n).union(rows(Book).filter(pk=1)).order_by("pk")[1:3],
        True,
    ),
    "of slices": (
        lambda rows, n: rows(Book).order_by("pk")[:2].union(rows(Book).filter(pk=n).order_by("-pk")[:1]),
        False,
    ),
    "values": (
        lambda rows, n: (
            rows(Author)
            .filter(pk=n)
            .values_list("name")
            .union(rows(Tag).values_list("label"))
            .order_by("name")
        ),
        True,
    ),
    "values after": (
        lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).all()).values_list("pk", flat=True),
        None,
    ),
    "annotated": (
        lambda rows, n: (
            rows(Author)
            .annotate(n=Count("books"), m=Value(n))
            .union(rows(Author).annotate(n=F("age"), m=Value(1)))
        ),
        True,
    ),
    "relations": (
        lambda rows, n: (
            rows(Book).select_related("author").filter(pk=n).union(rows(Book).select_related("author"))
        ),
        True,
    ),
    "of objects": (
        lambda rows, n: rows(Book).filter(author=Author(pk=n)).union(rows(Book).filter(pk=1)),
        True,
    ),
    "lists": (lambda rows, n: rows(Book).filter(pk__in=[n, 2]).union(rows(Book).filter(pk__in=[1])), True),
    "an empty list": (
        lambda rows, n: rows(Book).filter(pk__in=[n] if n == 1 else []).union(rows(Book).filter(pk=3)),
        None,
    ),
    "as a value": (
        lambda rows, n: rows(Book).filter(
            pk__in=rows(Book).filter(pk=n).union(rows(Book).filter(pk=3)).values("pk")
        ),
        True,
    ),
    "as a subquery": (
        lambda rows, n: (
            rows(Author)
            .annotate(
                x=Subquery(rows(Tag).filter(pk=n).values("pk").union(rows(Tag).filter(pk=n).values("pk"))[:1])
            )
            .order_by("pk")
        ),
        True,
    ),
    "ordered by another column": (
        lambda rows, n: (
            rows(Book)
            .filter(pk=n)
            .union(rows(Book).filter(pk__gt=n))
            .values_list("title", flat=True)
            .order_by("pk")
        ),
        None,
    ),
    "ordered before": (
        lambda rows, n: (
            rows(Book)
            .filter(pk=n)
            .union(rows(Book).filter(pk__gt=n))
            .order_by("-pk")
            .values_list("title", "price")
        ),
        None,
    ),
    "ordered by an annotation": (
        lambda rows, n: (
            rows(Book)
            .annotate(x=F("price") + n)
            .union(rows(Book).annotate(x=F("price")))
            .values_list("pk", flat=True)
            .order_by("x", "pk")
        ),
        None,
    ),
    "ordered by a relation": (
        lambda rows, n: (
            rows(Book).filter(pk=n).union(rows(Book).filter(pk__gt=n)).order_by("author_id", "pk")
        ),
        None,
    ),
    "none": (lambda rows, n: rows(Book).none().union(rows(Book).filter(pk=n)), None),
    "with none": (lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).none()), False),
    "with nothing": (lambda rows, n: rows(Book).filter(pk=n).union(), None),
    "with a plain one": (lambda rows, n: rows(Book).filter(pk=n).union(QuerySet(Book).filter(pk=1)), False),
    "filtered after": (lambda rows, n: rows(Book).filter(pk=n).union(rows(Book).all()).filter(pk=1), None),
    "other columns": (lambda rows, n: rows(Book).filter(pk=n).union(rows(Author).all()), None),
    "a condition": (
        lambda rows, n: rows(Book).filter(Q(pk=n) | Q(title="x")).union(rows(Book).exclude(pk=n)),
        True,
    ),
}

VERBS: dict[str, Callable[[Any], Any]] = {
    "list": lambda rows: rows.alist(),
    "count": lambda rows: rows.acount(),
    "exists": lambda rows: rows.aexists(),
    "first": lambda rows: rows.order_by("pk").afirst(),
    "last": lambda rows: rows.alast(),
    "get": lambda rows: rows.aget(),
    "latest": lambda rows: rows.alatest("pk"),
    "stream": lambda rows: _streamed(rows),
}

#: What Django refuses of a union, or hardly does.
ODD_VERBS: dict[str, Callable[[Any], Any]] = {
    "get of": lambda rows: rows.aget(pk=1),
    "contains": lambda rows: rows.acontains(Book(pk=1)),
    "in bulk": lambda rows: rows.ain_bulk([1]),
    "aggregate": lambda rows: rows.aaggregate(Count("pk")),
    "update": lambda rows: rows.aupdate(price=1),
    "delete": lambda rows: rows.adelete(),
    "and": lambda rows: (rows & rows.all()).alist(),
    "distinct": lambda rows: rows.distinct().alist(),
    "locked": lambda rows: rows.select_for_update().alist(),
    **{
        name: lambda rows, name=name: getattr(rows, name)().alist()
        for name in ("alias", "annotate", "defer", "exclude", "extra", "filter", "only", "prefetch_related")
    },
    "related": lambda rows: rows.select_related("author").alist(),
}
_OF_ODD_VERBS = (
    "two",
    "difference",
    "intersection",
    "sliced",
    "values",
    "of slices",
    "with none",
    "as a value",
)

CASES = [
    *((name, verb) for name in UNIONS for verb in VERBS),
    *((name, verb) for name in _OF_ODD_VERBS for verb in ODD_VERBS),
]


async def _streamed(rows: Any) -> list[Any]:
    return [row async for row in rows.aiterator(2)]


def _sorted(found: Any) -> Any:
    """Rows of a union without an order have none; errors say where in the text they are."""
    if issubclass(found[0], Exception):
        return found[0], found[1].split("\nLINE")[0]
    kind, *_, rows = found
    return (kind, sorted(rows, key=repr)) if kind is list and rows is not None else found


@pytest.mark.parametrize(("name", "verb"), CASES)
async def test_answers_and_errors_are_djangos(snapshot: Snapshot, name: str, verb: str):
    make, has_plan = UNIONS[name]
    call = (VERBS | ODD_VERBS)[verb]

    async def answers() -> list[Any]:
        found = [await outcome(lambda n=n: call(make(AsyncQuerySet, n))) for n in (1, 2, 1, 3)]
        return [*map(_sorted, found)]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await answers()
    snapshot.restore()
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        before = Verified.same
        assert await answers() == expected
        if has_plan is not None and verb in ("list", "count"):
            assert (Verified.same - before == 4) is has_plan


async def test_prefetches():
    def rows(queryset_class: Any) -> Any:
        one, other = queryset_class(Book).filter(pk=1), queryset_class(Book).filter(pk=2)
        return one.prefetch_related("tags").union(other).order_by("pk")

    def labels(books: Any) -> list[tuple[int, list[str]]]:
        return [(book.pk, sorted([tag.label for tag in book.tags.all()])) for book in books]

    expected = await run_sync(lambda: labels(rows(QuerySet)))
    for _ in range(2):
        found = await rows(AsyncQuerySet).alist()
        assert labels(found) == expected
    assert any(each for _, each in expected)


async def test_sync_code_in_the_bridge():
    def rows() -> list[Any]:
        united = Book.objects.filter(pk=1).union(Book.objects.filter(pk=2)).order_by("pk")
        return [united.count(), united.exists(), *united]

    first = await run_sync(rows)
    before = Verified.same
    assert await run_sync(rows) == first
    assert Verified.same == before + 2 + 1
    async with atomic():
        assert await run_sync(rows) == first


async def test_parts_stay_what_they_are():
    one, other = AsyncQuerySet(Book).filter(pk=1), AsyncQuerySet(Book).filter(pk=2)
    for _ in range(3):
        assert await one.union(other).acount() == 2
        assert await one.difference(other).acount() == 1
    assert [book.pk for book in await one.alist()] == [1]
    assert await other.filter(pk=3).acount() == 0
    assert str(one.query) == str(QuerySet(Book).filter(pk=1).query)
