"""The queries of subqueries: made where somebody looks at them, and as if they had been made at once."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.sql import Query

from tests.project.library.models import Author, Book
from turbo_orm import AsyncQuerySet
from turbo_orm.plans.state import PlanMode
from turbo_orm.plans.verify import Verified

pytestmark = pytest.mark.usefixtures("snapshot", "at_once")


def _books(rows: type[QuerySet[Any]], price: int = 2) -> Any:
    return rows(Book).filter(author=OuterRef("pk"), price__gt=price).order_by("-pk")


def _exists(rows: type[QuerySet[Any]]) -> Any:
    return rows(Author).filter(Exists(_books(rows))).order_by("pk")


def _subquery(rows: type[QuerySet[Any]]) -> Any:
    return rows(Author).annotate(title=Subquery(_books(rows).values("title")[:1])).order_by("pk")


class LatestOf(Subquery):
    """A project's, with a constructor of its own."""

    def __init__(self, queryset: Any, name: str, **extra: Any) -> None:
        super().__init__(queryset.values(name)[:1], **extra)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The querysets whose query was made."""
    found: list[Any] = []
    make = PlanMode._make_query

    def counted(self: PlanMode, *args: Any) -> Query:
        found.append(self)
        return make(self, *args)

    monkeypatch.setattr(PlanMode, "_make_query", counted)
    return found


@pytest.mark.parametrize("queryset", [_exists, _subquery])
async def test_the_query_of_a_planned_statement_s_subquery_is_not_made(
    queryset: Callable[[Any], Any], made: list[Any]
):
    expected = [*await queryset(AsyncQuerySet).alist()]
    del made[:]
    assert await queryset(AsyncQuerySet).alist() == expected
    assert made == []


@pytest.mark.usefixtures("verifying")
@pytest.mark.parametrize("queryset", [_exists, _subquery])
async def test_what_is_used_again_is_compared(queryset: Callable[[Any], Any]):
    kept = queryset(AsyncQuerySet)
    first, same = await kept.alist(), Verified.same
    assert await kept.all().alist() == first
    assert await queryset(AsyncQuerySet).alist() == first
    assert Verified.same == same + 2


async def test_the_queryset_stays_in_plan_mode():
    books = _books(AsyncQuerySet)
    Exists(books)
    assert books._planned is not None


EXPRESSIONS: dict[str, Callable[[Any], Any]] = {
    "exists": lambda rows: Exists(rows(Book).filter(price__gt=2).order_by("pk")),
    "sliced": lambda rows: Exists(rows(Book).distinct().filter(price__gt=2)[:3]),
    "subquery": lambda rows: Subquery(rows(Book).filter(price__in=[2, 3]).values("pk")[1:2]),
    "a project's": lambda rows: LatestOf(rows(Book).filter(price__gt=2), "title"),
    "of groups": lambda rows: Exists(rows(Book).filter(tags__label="x").values("author").distinct()),
}

LOOKS: dict[str, Callable[[Any], Any]] = {
    "text": lambda expression: str(expression.query),
    "deep copy": lambda expression: str(copy.deepcopy(expression).query),
    "copy": lambda expression: str(expression.copy().query),
    "copy of the query": lambda expression: str(copy.copy(expression.query)),
    "pickled": lambda expression: str(pickle.loads(pickle.dumps(expression.query))),
    "kind": lambda expression: (type(copy.copy(expression.query)), expression.query.subquery),
    "repr": lambda expression: repr(expression.query).split(" at ")[0],
    "of pickled": lambda expression: type(pickle.loads(pickle.dumps(expression.query))),
    "exists": lambda expression: (str(expression.query.exists()), str(expression.query)),
    "changed": lambda expression: (
        expression.query.set_limits(high=1),
        expression.query.exists().high_mark,
        str(expression.query),
    ),
    "attributes": lambda expression: _NOT_THE_QUERY_S & vars(expression.copy().query).keys(),
}

_NOT_THE_QUERY_S = {"make", "planned"}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_who_looks_sees_djangos(name: str, look: str):
    expression = EXPRESSIONS[name](AsyncQuerySet)
    assert type(expression.query) is not Query
    assert isinstance(expression.query, Query)
    assert LOOKS[look](expression) == LOOKS[look](EXPRESSIONS[name](QuerySet))
    assert type(expression.copy().query) is Query


def test_exists_of_a_query_is_another_one():
    subquery = Subquery(_books(AsyncQuerySet).values("pk"))
    exists = subquery.query.exists()
    subquery.query.set_limits(high=7)
    assert (exists.high_mark, subquery.query.high_mark) == (1, 7)


def test_values_are_those_it_was_made_with():
    keys = [1, 2]
    expression = Exists(AsyncQuerySet(Book).filter(pk__in=keys))
    keys.append(3)
    expected = str(Exists(QuerySet(Book).filter(pk__in=[1, 2])).query)
    assert str(expression.query) == expected


@pytest.mark.threads
def test_an_expression_of_several_threads_has_one_query():
    for _ in range(20):
        expression = Exists(_books(AsyncQuerySet))
        start, wheres = threading.Barrier(4), []

        def look(expression: Any = expression, start: Any = start, wheres: Any = wheres) -> None:
            start.wait()
            wheres.append(expression.query.where)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(wheres) == 4
        assert len({*map(id, wheres)}) == 1
