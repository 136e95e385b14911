"""`aaggregate()` by plan against Django's `aggregate()`: what is sent, returned and raised."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Avg, Count, F, Max, Min, Q, StdDev, Sum

from tests.project.library.models import Author, Book, Contribution, Person
from tests.runtime.plans.same import seen
from turbo_orm import AsyncQuerySet, batch, run_sync
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

Use = Callable[[Any], Any]
Aggregate = Callable[[Any], Any]

#: Querysets, of which some never have rows.
CHAINS: dict[str, tuple[Any, Use]] = {
    "all": (Book, lambda rows: rows),
    "filtered": (Book, lambda rows: rows.filter(price__gt=Decimal(1), published__lt=dt.date(2100, 1, 1))),
    "no rows": (Book, lambda rows: rows.filter(title="there is no such book")),
    "ordered": (Book, lambda rows: rows.order_by("-price")),
    "distinct": (Book, lambda rows: rows.filter(author__age__gte=0).distinct()),
    "values": (Book, lambda rows: rows.values("author")),
    "across a relation": (Book, lambda rows: rows.filter(author__name__contains="a")),
    "joined": (Book, lambda rows: rows.select_related("author").exclude(tags__label="x")),
}

AGGREGATES: dict[str, Aggregate] = {
    "count": lambda rows: rows.aggregate(n=Count("pk")),
    "several": lambda rows: rows.aggregate(
        highest=Max("price"), lowest=Min("price"), mean=Avg("price"), sum=Sum("price"), last=Max("published")
    ),
    "without a name": lambda rows: rows.aggregate(Sum("price"), Max("title"), n=Count("*")),
    "one name for two": lambda rows: rows.aggregate(Max("price"), price__max=Count("pk")),
    "distinct ones": lambda rows: rows.aggregate(n=Count("author", distinct=True)),
    "related": lambda rows: rows.aggregate(oldest=Max("author__age"), tags=Count("tags")),
    "conditions": lambda rows: rows.aggregate(
        cheap=Count("pk", filter=Q(price__lt=10)),
        dear=Sum("price", filter=Q(price__gte=Decimal(10)) & ~Q(author__name="Bob"), default=0),
    ),
    "a default": lambda rows: rows.aggregate(
        n=Sum("price", default=F("pk")), m=Max("published", default=None)
    ),
    "arithmetic": lambda rows: rows.aggregate(n=Sum(F("price") * 2), years=Max(F("author__age") + 1)),
}


pytestmark = pytest.mark.usefixtures("at_once", "verifying")


class Async:
    """A queryset whose ``aggregate()`` is ``aaggregate()``."""

    def __init__(self, queryset: Any) -> None:
        self.aggregate = queryset.aaggregate


async def both(model: Any, chain: Use, aggregate: Aggregate) -> tuple[Any, Any]:
    outcomes = []
    for ours in (True, False):
        queryset = chain(AsyncQuerySet(model))
        try:
            found = await aggregate(Async(queryset)) if ours else await run_sync(aggregate, queryset)
            outcomes.append([seen(found), list(found)])
        except Exception as exc:
            outcomes.append([type(exc), str(exc)])
    return outcomes[0], outcomes[1]


@pytest.mark.parametrize("aggregate", AGGREGATES.values(), ids=AGGREGATES)
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
async def test_results(chain: tuple[Any, Use], aggregate: Aggregate) -> None:
    await AsyncQuerySet(Book).acount()
    for _ in range(2):
        same = Verified.same
        ours, djangos = await both(*chain, aggregate)
        assert ours == djangos
        assert Verified.same > same, "no plan"


#: What is Django's to do.
WITHOUT_PLANS: dict[str, tuple[Use, Aggregate]] = {
    "nothing": (lambda rows: rows, lambda rows: rows.aggregate()),
    "a default, without rows": (
        lambda rows: rows.none(),
        lambda rows: rows.aggregate(n=Sum("price", default=0)),
    ),
    "a default that is not plain": (
        lambda rows: rows,
        lambda rows: rows.aggregate(n=Sum("price", default=Decimal("0.5"))),
    ),
    "another function": (lambda rows: rows, lambda rows: rows.aggregate(n=StdDev("price"))),
    "a slice": (lambda rows: rows.order_by("pk")[:2], lambda rows: rows.aggregate(n=Sum("price"))),
    "no rows, whatever they are": (lambda rows: rows.none(), lambda rows: rows.aggregate(n=Count("pk"))),
    "no aggregate": (lambda rows: rows, lambda rows: rows.aggregate(n=F("price"))),
    "no expression": (lambda rows: rows, lambda rows: rows.aggregate(n="price")),
    "no name": (lambda rows: rows, lambda rows: rows.aggregate(Sum(F("price") + 1))),
    "no field": (lambda rows: rows, lambda rows: rows.aggregate(n=Sum("no_such_field"))),
    "a text's sum": (lambda rows: rows, lambda rows: rows.aggregate(n=Sum("title"))),
    "distinct on": (
        lambda rows: rows.order_by("title").distinct("title"),
        lambda rows: rows.aggregate(n=Count("pk")),
    ),
}


@pytest.mark.parametrize(("chain", "aggregate"), WITHOUT_PLANS.values(), ids=WITHOUT_PLANS)
async def test_without_plans(chain: Use, aggregate: Aggregate) -> None:
    for _ in range(2):
        ours, djangos = await both(Book, chain, aggregate)
        assert ours == djangos


async def test_of_annotations() -> None:
    def chain(rows: Any) -> Any:
        return rows.annotate(n=Count("books")).filter(n__gte=0)

    for _ in range(2):
        ours, djangos = await both(Author, chain, lambda rows: rows.aggregate(most=Max("n"), mean=Avg("n")))
        assert ours == djangos


async def test_of_a_related_manager() -> None:
    author: Any = await AsyncQuerySet(Author).filter(books__isnull=False).afirst()
    for _ in range(3):
        found = await author.books.aaggregate(n=Count("pk"), dearest=Max("price"))
        assert found == await run_sync(lambda: author.books.aggregate(n=Count("pk"), dearest=Max("price")))


async def test_rows_that_are_there_already_are_not_used() -> None:
    rows = AsyncQuerySet(Book).filter(price__gt=0)
    await rows.alist()
    with capture_queries() as queries:
        await rows.aaggregate(n=Count("pk"))
    assert len(queries) == 1


async def test_a_class_that_has_its_own() -> None:
    class Own(AsyncQuerySet):
        def aggregate(self, *args: Any, **kwargs: Any) -> Any:
            return {"own": super().aggregate(*args, **kwargs)}

    for _ in range(3):
        assert await Own(Person).aaggregate(n=Count("pk")) == {"own": {"n": await Own(Person).acount()}}


async def test_in_a_batch() -> None:
    rows = AsyncQuerySet(Contribution)
    await rows.aaggregate(n=Count("pk"))
    found, count = await batch(rows.aaggregate(n=Count("pk")), rows.acount())
    assert found == {"n": count}
