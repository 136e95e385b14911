"""What `order_by()` is given besides names: one plan for all values in it, rows and errors as Django's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import models
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    Func,
    OrderBy,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Abs, Coalesce, Greatest, JSONObject, Lower, Round, StrIndex
from django.test import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import POOL, kept_by, planned_as_django
from turbo_orm import run_sync
from turbo_orm.queryset import AsyncQuerySet

pytestmark = pytest.mark.usefixtures("at_once", "verifying")


def first_if(**conditions: Any) -> Case:
    return Case(When(then=0, **conditions), default=1)


class Age(models.IntegerChoices):
    YOUNG = 36
    OLD = 52


class Title(models.TextChoices):
    CHESS = "Chess"


#: Querysets ordered by two values, and whether there are plans for them.
ORDERS: dict[str, tuple[Callable[[], Any], Callable[[], Any], bool]] = {
    "a text": (
        lambda: Book.objects.order_by(first_if(title="Chess"), "pk"),
        lambda: Book.objects.order_by(first_if(title="Dance"), "pk"),
        True,
    ),
    "a pattern": (
        lambda: Book.objects.order_by(first_if(title__istartswith="c"), "pk"),
        lambda: Book.objects.order_by(first_if(title__istartswith="%"), "pk"),
        True,
    ),
    "a number": (
        lambda: Book.objects.order_by(first_if(pk=3), "-pk"),
        lambda: Book.objects.order_by(first_if(pk=2**70), "-pk"),
        True,
    ),
    "a number as a text": (
        lambda: Author.objects.order_by(first_if(age__gt="36"), "pk"),
        lambda: Author.objects.order_by(first_if(age__gt="no number"), "pk"),
        True,
    ),
    "no number": (
        lambda: Author.objects.order_by(first_if(age__gt="no number"), "pk"),
        lambda: Author.objects.order_by(first_if(age__gt="40"), "pk"),
        True,
    ),
    "a decimal": (
        lambda: Book.objects.order_by(first_if(price__gt=Decimal("8")), "pk"),
        lambda: Book.objects.order_by(first_if(price__gt=Decimal("NaN")), "pk"),
        True,
    ),
    "a year": (
        lambda: Book.objects.order_by(first_if(published__year=2021), "pk"),
        lambda: Book.objects.order_by(first_if(published__year=2020), "pk"),
        True,
    ),
    "a day": (
        lambda: Book.objects.order_by(first_if(published__lt=dt.date(2021, 3, 5)), "pk"),
        lambda: Book.objects.order_by(first_if(published__lt=dt.datetime(2020, 3, 5)), "pk"),
        True,
    ),
    "choices": (
        lambda: Author.objects.order_by(first_if(age=Age.OLD), "pk"),
        lambda: Author.objects.order_by(first_if(age=Age.YOUNG), "pk"),
        True,
    ),
    "choices of texts": (
        lambda: Book.objects.order_by(first_if(title=Title.CHESS), "pk"),
        lambda: Book.objects.order_by(first_if(title=Title.CHESS), "pk"),
        True,
    ),
    "a key in JSON": (
        lambda: Book.objects.order_by(first_if(meta__b=True), "pk"),
        lambda: Book.objects.order_by(first_if(meta__b=True), "pk"),
        False,  # its parameter is no value of the shape
    ),
    "a value in JSON": (
        lambda: Book.objects.order_by(first_if(meta__a="x"), "pk"),
        lambda: Book.objects.order_by(first_if(meta__a="y"), "pk"),
        True,
    ),
    "of another model": (
        lambda: Book.objects.order_by(first_if(author__name="Cyd"), "pk"),
        lambda: Book.objects.order_by(first_if(author__name="Bob"), "pk"),
        True,
    ),
    "of another model, joined": (
        lambda: Book.objects.filter(author__age__gt=1).order_by(first_if(author__name="Cyd"), "pk"),
        lambda: Book.objects.filter(author__age__gt=40).order_by(first_if(author__name="Ada"), "pk"),
        True,
    ),
    "of another model, joined later": (
        lambda: Book.objects.order_by(first_if(editor__name="Bob"), "pk").filter(editor__age=None),
        lambda: Book.objects.order_by(first_if(editor__name="Cyd"), "pk").filter(editor__age=None),
        True,
    ),
    "of many": (
        lambda: Author.objects.order_by(first_if(books__title="Chess"), "pk"),
        lambda: Author.objects.order_by(first_if(books__title="Dance"), "pk"),
        True,
    ),
    "not, and, or": (
        lambda: Book.objects.order_by(Case(When(~Q(title="Chess") & (Q(pk=1) | Q(pk=4)), then="pk")), "pk"),
        lambda: Book.objects.order_by(Case(When(~Q(title="Dance") & (Q(pk=4) | Q(pk=2)), then="pk")), "pk"),
        True,
    ),
    "not of many": (
        lambda: Author.objects.order_by(Case(When(~Q(books__title="Chess"), then=0), default=1), "pk"),
        lambda: Author.objects.order_by(Case(When(~Q(books__title="Dance"), then=0), default=1), "pk"),
        True,
    ),
    "downwards": (
        lambda: Book.objects.order_by(first_if(title="Chess").desc(nulls_last=True), "pk"),
        lambda: Book.objects.order_by(first_if(title="Dance").desc(nulls_last=True), "pk"),
        True,
    ),
    "of the class": (
        lambda: Book.objects.order_by(OrderBy(first_if(title="Chess"), descending=True), "pk"),
        lambda: Book.objects.order_by(OrderBy(first_if(title="Dance"), descending=True), "pk"),
        True,
    ),
    "reversed": (
        lambda: Book.objects.order_by(first_if(title="Chess"), "pk").reverse(),
        lambda: Book.objects.order_by(first_if(title="Dance"), "pk").reverse(),
        True,
    ),
    "a slice": (
        lambda: Book.objects.order_by(first_if(title="Chess"), "pk")[:2],
        lambda: Book.objects.order_by(first_if(title="Dance"), "pk")[1:3],
        True,
    ),
    "values of an expression": (
        lambda: Book.objects.order_by(F("price") * Decimal("-1.5")),
        lambda: Book.objects.order_by(F("price") * Decimal("1.5")),
        True,
    ),
    "a constant of the shape": (
        lambda: Book.objects.order_by(StrIndex("title", Value("a")), "pk"),
        lambda: Book.objects.order_by(StrIndex("title", Value("e")), "pk"),
        True,
    ),
    "several": (
        lambda: Book.objects.order_by(first_if(title="Chess"), first_if(pk=1), "-pk"),
        lambda: Book.objects.order_by(first_if(title="Dance"), first_if(pk=2), "-pk"),
        True,
    ),
    "several of one text": (
        lambda: Book.objects.order_by(first_if(title="Chess"), first_if(title="Dance"), "pk"),
        lambda: Book.objects.order_by(first_if(title="Chess"), first_if(title="Chess"), "pk"),
        False,  # Django leaves one out if they are the same
    ),
    "several without values": (
        lambda: Book.objects.order_by(Coalesce("editor", 1), Coalesce("editor", 2), "pk"),
        lambda: Book.objects.order_by(Coalesce("editor", 2), Coalesce("editor", 2), "pk"),
        True,
    ),
    "distinct": (
        lambda: Book.objects.distinct().order_by(first_if(title="Chess"), "pk"),
        lambda: Book.objects.distinct().order_by(first_if(title="Dance"), "pk"),
        False,  # it may be among the columns
    ),
    "columns": (
        lambda: Book.objects.order_by(first_if(title="Chess"), "pk").values_list("title", flat=True),
        lambda: Book.objects.order_by(first_if(title="Dance"), "pk").values_list("title", flat=True),
        True,
    ),
    "the same among the columns": (
        lambda: Book.objects.annotate(n=first_if(title="Dance")).order_by(first_if(title="Chess"), "pk"),
        lambda: Book.objects.annotate(n=first_if(title="Dance")).order_by(first_if(title="Dance"), "pk"),
        False,  # Django orders by the position of the column then
    ),
    "the same constants among the columns": (
        lambda: Book.objects.annotate(n=Coalesce("editor", 1)).order_by(Coalesce("editor", 1), "pk"),
        lambda: Book.objects.annotate(n=Coalesce("editor", 2)).order_by(Coalesce("editor", 1), "pk"),
        False,  # likewise
    ),
    "another among the columns": (
        lambda: Book.objects.annotate(n=Coalesce("editor", 1)).order_by(first_if(title="Chess"), "pk"),
        lambda: Book.objects.annotate(n=Coalesce("editor", 2)).order_by(first_if(title="Dance"), "pk"),
        True,
    ),
    "an alias": (
        lambda: Book.objects.alias(n=first_if(title="Dance")).order_by("n", first_if(title="Chess"), "pk"),
        lambda: Book.objects.alias(n=first_if(title="Dance")).order_by("n", first_if(title="Dance"), "pk"),
        True,
    ),
    "an aggregate": (
        lambda: Author.objects.order_by(Count("books", filter=Q(books__price__gt=6)), "pk"),
        lambda: Author.objects.order_by(Count("books", filter=Q(books__price__gt=15)), "pk"),
        False,  # Django refuses it
    ),
    "of groups": (
        lambda: Author.objects.annotate(n=Count("books")).order_by(first_if(name="Bob"), "pk"),
        lambda: Author.objects.annotate(n=Count("books")).order_by(first_if(name="Cyd"), "pk"),
        True,
    ),
    "of a relation's rows": (
        lambda: Book.objects.select_related("author").order_by(first_if(author__name="Cyd"), "pk"),
        lambda: Book.objects.select_related("author").order_by(first_if(author__name="Bob"), "pk"),
        True,
    ),
    "of an inner query": (
        lambda: Author.objects.filter(books__in=Book.objects.order_by(first_if(title="Chess"), "pk")[:1]),
        lambda: Author.objects.filter(books__in=Book.objects.order_by(first_if(title="Dance"), "pk")[:1]),
        False,
    ),
    "of a subquery": (
        lambda: Author.objects.annotate(
            best=Subquery(
                Book.objects.filter(author=OuterRef("pk"))
                .order_by(first_if(title="Botany"), "pk")
                .values("title")[:1]
            )
        ),
        lambda: Author.objects.annotate(
            best=Subquery(
                Book.objects.filter(author=OuterRef("pk"))
                .order_by(first_if(title="Algebra"), "pk")
                .values("title")[:1]
            )
        ),
        False,
    ),
    "by an inner query": (
        lambda: Author.objects.order_by(Exists(Book.objects.filter(author=OuterRef("pk"), title="Dance"))),
        lambda: Author.objects.order_by(Exists(Book.objects.filter(author=OuterRef("pk"), title="Chess"))),
        False,
    ),
    "a list": (
        lambda: Book.objects.order_by(first_if(pk__in=[3, 4]), "pk"),
        lambda: Book.objects.order_by(first_if(pk__in=[]), "pk"),
        False,
    ),
    "an instance": (
        lambda: Book.objects.order_by(first_if(author=Author(pk=3)), "pk"),
        lambda: Book.objects.order_by(first_if(author=Author(pk=2)), "pk"),
        False,
    ),
    "None": (
        lambda: Book.objects.order_by(first_if(published=None), "pk"),
        lambda: Book.objects.order_by(first_if(published__isnull=False), "pk"),
        True,
    ),
    "no such field": (
        lambda: Book.objects.order_by(first_if(nothing=1), "pk"),
        lambda: Book.objects.order_by(first_if(nothing=2), "pk"),
        False,
    ),
    "no such name": (
        lambda: Book.objects.order_by(first_if(pk=1), "nothing"),
        lambda: Book.objects.order_by(first_if(pk=2), "nothing"),
        False,
    ),
    "a union": (
        lambda: Book.objects.filter(pk=1).union(Book.objects.filter(pk=3)).order_by(Lower("title")),
        lambda: Book.objects.filter(pk=1).union(Book.objects.filter(pk=4)).order_by(Lower("title")),
        False,  # Django refuses it
    ),
    "a union that has it": (
        lambda: _united("Chess", "Chess"),
        lambda: _united("Chess", "Dance"),
        False,
    ),
    "looked at": (
        lambda: _looked_at(Book.objects.order_by(first_if(title="Chess"), "pk")),
        lambda: _looked_at(Book.objects.order_by(first_if(title="Dance"), "pk")),
        False,
    ),
}


def _united(one: str, other: str) -> Any:
    rows = Book.objects.annotate(n=first_if(title=one)).values("n", "pk")
    return rows.filter(pk=1).union(rows.filter(pk=3)).order_by(first_if(title=other))


def _looked_at(rows: Any) -> Any:
    assert str(rows.query)
    return rows


@pytest.mark.parametrize("name", ORDERS)
async def test_rows_and_errors_are_djangos(name: str):
    *both, has_plan = ORDERS[name]

    async def found(make: Callable[[], Any]) -> Any:
        return await make().alist()

    planned = await planned_as_django(*[partial(found, make) for make in (*both, *both)])
    assert (planned > 0) is has_plan


@pytest.mark.parametrize("verb", ["afirst", "alast", "acount", "aexists", "aget"])
async def test_verbs(verb: str):
    def rows(title: str) -> Any:
        return Book.objects.filter(price__gt=1).order_by(first_if(title=title), "pk")

    titles = ("Chess", "Dance", "nothing")
    calls = [lambda title=title: getattr(rows(title), verb)() for title in titles]
    assert await planned_as_django(*calls) == len(titles)


async def test_what_is_written(snapshot: Snapshot):
    ordered = Book.objects.order_by(first_if(title="Chess"), "pk")
    assert await ordered.filter(pk__lt=3).aupdate(price=1) == 2
    assert await Book.objects.filter(price=1).acount() == 2
    assert (await ordered.filter(pk=3).adelete())[0] >= 1
    assert not await Book.objects.filter(title="Chess").aexists()


class Scaled(Func):
    """Its constructor makes of a value what is not the value."""

    function = "LEAST"

    def __init__(self, text: str, value: Any) -> None:
        super().__init__(text, Value(value * 2))


#: Expressions of a value, which Django tells apart by what their constructors were given.
OF_VALUES: dict[str, Callable[[Any], Any]] = {
    "given": lambda n: Coalesce("editor", n),
    "given twice": lambda n: Greatest("pk", n, n),
    "given twice, first the same": lambda n: Greatest("pk", 1, n),
    "given twice, then the same": lambda n: Greatest("pk", n, 1),
    "given by name": lambda n: Round("price", precision=n),
    "as a Value": lambda n: Coalesce("editor", Value(n)),
    "in arithmetic": lambda n: F("pk") * n,
    "in another": lambda n: Abs(Coalesce("editor", n)),
    "in another twice": lambda n: Greatest(Coalesce("editor", n), Coalesce("author", n)),
    "with another": lambda n: Greatest(Coalesce("editor", 1), n),
    "in JSON": lambda n: JSONObject(a=n, b="pk"),
    "in a condition": lambda n: Case(When(pk=n, then=n), default=n),
    "of a class of the project": lambda n: Scaled("pk", n),
    "a large number": lambda n: Coalesce("editor", n + 10_000),
    "a decimal": lambda n: Coalesce("price", Decimal(n)),
}


#: Those of which it is not known what becomes of the value: they are like no others.
UNKNOWN = {"of a class of the project"}


@pytest.mark.parametrize("name", OF_VALUES)
async def test_an_expression_is_another_with_another_value(name: str):
    """Django orders by the column where an expression is selected: by that of the same value alone."""
    expression = OF_VALUES[name]

    def rows(kind: Any, selected: int, ordered: int) -> Any:
        return kind(Book).annotate(n=expression(selected)).order_by(expression(ordered), "pk")

    pairs = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (1, 1)]
    await planned_as_django(*[lambda pair=pair: rows(AsyncQuerySet, *pair).alist() for pair in pairs])
    with override_settings(TURBO_ORM={"POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        for pair in pairs:
            ours, djangos = rows(AsyncQuerySet, *pair).query, rows(QuerySet, *pair).query
            if name not in UNKNOWN:
                assert await run_sync(str, ours) == await run_sync(str, djangos)


async def test_one_plan_for_all_values(shapes: Any):
    await Book.objects.order_by(first_if(title="a")).alist()
    before = shapes.trie.count
    for number in range(20):
        await Book.objects.order_by(first_if(title=str(number))).alist()
    assert shapes.trie.count == before


async def test_later_steps_and_queries_have_the_values():
    ordered = Book.objects.order_by(first_if(title="Chess"), "pk")
    for _ in range(2):
        assert [book.pk for book in await ordered.filter(pk__gt=1).alist()] == [3, 2, 4]
        assert [book.pk for book in await Book.objects.order_by(first_if(title="Dance"), "pk").alist()] == [
            4,
            1,
            2,
            3,
        ]
    expected = QuerySet(Book).order_by(first_if(title="Chess"), "pk")
    assert str(ordered.query) == str(expected.query)


async def test_plans_keep_no_values():
    text = "A text that is nowhere else".lower()
    for name in ("title", "title__contains", "title__iregex", "title__gt", "meta__a", "meta__a__icontains"):
        await Book.objects.order_by(first_if(**{name: text})).alist()
    assert kept_by(text) == []
