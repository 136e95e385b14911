"""Expressions, conditions in expressions, and querysets as values: their own values are parameters."""

from __future__ import annotations

import datetime as dt
import gc
import weakref
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import DatabaseError
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    Count,
    DecimalField,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    RowRange,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Coalesce, Greatest, JSONObject, Lag, Length, Lower
from django.test import override_settings

from tests.project.library.models import Author, Book, Person, Tag, Writer
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import seen
from turbo_orm import AsyncManager, AsyncQuerySet, run_sync
from turbo_orm.plans.arguments import Arguments
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")

#: How a queryset is made, with a class and a value, and values that are different plans' only by chance.
Make = Callable[[Any, Any], Any]


def _named(*names: str) -> Q:
    return Q(name__in=names)


PLANNED: dict[str, tuple[Make, tuple[Any, ...]]] = {
    "a union": (
        lambda rows, n: rows(Book).filter(
            author__in=rows(Author).filter(pk=n).union(rows(Author).filter(pk=2)).values("pk")
        ),
        (1, 3),
    ),
    "a field": (lambda rows, n: rows(Book).filter(pk__gt=F("author_id"), price__gt=n), (1, 6)),
    "a field of another": (lambda rows, n: rows(Book).filter(author__age__gt=F("price") + 1, pk=n), (1, 2)),
    "no field": (lambda rows, n: rows(Book).exclude(author=F("editor"), pk__gt=n), (0, 3)),
    "a function": (lambda rows, n: rows(Author).exclude(name=Lower("name"), pk__lt=n), (0, 1)),
    "in a Q": (lambda rows, n: rows(Book).filter(Q(pk=F("author")) | Q(price__lt=n)), (6, 9)),
    "a condition that is an expression": (
        lambda rows, name: rows(Author).filter(
            Case(When(name=name, then=True), default=False, output_field=BooleanField())
        ),
        ("Ada", "Bob"),
    ),
    "one in a Q": (
        lambda rows, name: rows(Author).filter(
            Q(pk__lt=100) & ~Q(ExpressionWrapper(Q(name=name) | Q(age__gt=40), output_field=BooleanField()))
        ),
        ("Ada", "Bob"),
    ),
    "a Q wrapped": (
        lambda rows, n: rows(Author).annotate(old=ExpressionWrapper(Q(age__gt=n), BooleanField())),
        (40, 50),
    ),
    "arithmetic": (
        lambda rows, n: rows(Book).annotate(
            x=F("price") * n, y=F("pk") + int(n), z=Value(n) - F("price"), w=Coalesce("author__age", int(n))
        ),
        (Decimal("1.10"), Decimal(2), Decimal("1E+2")),
    ),
    "floats": (
        lambda rows, n: (
            rows(Author)
            .annotate(x=F("age") * n, y=Coalesce(F("age") / n, 0.5), z=Value(n, output_field=DecimalField()))
            .filter(age__gt=F("pk") * n)
        ),
        (1.5, -0.1, 1e300, 2.0, 1e-7),
    ),
    "one or the other": (
        lambda rows, n: (
            rows(Author)
            .filter(Q(pk=n) ^ Q(age__gt=40) ^ Q(name="Ada"))
            .annotate(n=Count("books", filter=Q(books__pk=n) ^ Q(books__pk=2)))
        ),
        (1, 3),
    ),
    "of a window": (
        lambda rows, n: (
            rows(Book)
            .annotate(
                before=Window(Lag("price", int(n), default=n), order_by="pk"),
                some=Window(Sum("price"), order_by=F("price") * n, frame=RowRange(start=-1, end=0)),
                dear=Window(Count("pk", filter=Q(price__gt=n)), partition_by="author"),
            )
            .filter(before__gte=n, pk__gt=n)
        ),
        (Decimal(1), Decimal(2)),
    ),
    "as values": (
        lambda rows, n: rows(Book).values_list("pk", F("price") * n, Greatest("author__age", n), "title"),
        (1, 2),
    ),
    "a value as a value": (lambda rows, n: rows(Book).values_list("pk", Value(n), named=True), (1, 2)),
    "as values by name": (
        lambda rows, n: (
            rows(Author)
            .values(old=Case(When(age__gt=n, then=1), default=0))
            .annotate(n=Count("pk", filter=Q(pk__gt=n)))
            .order_by("old")
        ),
        (40, 36),
    ),
    "in JSON": (
        lambda rows, n: rows(Author).annotate(json=JSONObject(sum=F("age") + n, n=Value(n), name="name")),
        (1, 2),
    ),
    "time": (
        lambda rows, days: rows(Author).annotate(
            later=F("created") + dt.timedelta(days), since=Value(dt.date(2024, 1, days)), n=Value(days)
        ),
        (1, 7),
    ),
    "moments": (
        lambda rows, hours: rows(Author).filter(
            created__gt=F("created") - dt.timedelta(hours=hours),
            created__lt=Greatest("created", Value(dt.datetime(2100, 1, hours, tzinfo=dt.timezone.utc))),
        ),
        (1, 7),
    ),
    "ordered by what is not selected": (
        lambda rows, n: rows(Author).alias(x=F("age") * n).order_by(F("x").desc(nulls_last=True), "pk"),
        (1, -1),
    ),
    "a count": (
        lambda rows, n: rows(Author).annotate(
            cheap=Count("books", filter=Q(books__price__lt=n)),
            dear=Count("books", filter=~Q(books__price__lt=n), distinct=True),
        ),
        (Decimal(6), Decimal(15)),
    ),
    "a sum with a default": (
        lambda rows, n: rows(Author).annotate(n=Sum("books__price", filter=Q(books__pk__gt=n), default=0)),
        (1, 3),
    ),
    "filtered by a count": (
        lambda rows, n: rows(Author).annotate(k=Count("books", filter=Q(books__pk__lt=n))).filter(k__lt=n),
        (2, 4),
    ),
    "cases": (
        lambda rows, n: rows(Author).annotate(
            kind=Case(When(age__lt=n, then=Value("young")), When(_named("Ada"), then=F("name")), default=None)
        ),
        (40, 30),
    ),
    "a case in arithmetic": (
        lambda rows, n: rows(Author).annotate(
            x=Case(When(Q(age__gt=n), then=F("age") * 2), default=Length("name")) + 1
        ),
        (40, 30),
    ),
    "grouped by a case": (
        lambda rows, n: (
            rows(Book)
            .order_by()
            .annotate(cheap=Case(When(price__lt=n, then=Value(1)), default=Value(0)))
            .values("cheap")
            .annotate(n=Count("pk"))
            .order_by("cheap")
        ),
        (6, 13),
    ),
    "ordered by a case": (
        lambda rows, n: (
            rows(Book)
            .annotate(cheap=Case(When(price__lt=n, then=Value(1)), default=Value(0)))
            .order_by("-cheap", "pk")
        ),
        (6, 13),
    ),
    "a queryset": (
        lambda rows, name: rows(Book).filter(author__in=rows(Author).filter(name__gte=name)),
        ("Ada", "Bob"),
    ),
    "a queryset of another class": (
        lambda rows, name: rows(Book).exclude(author__in=Author.objects.filter(name=name), pk=1),
        ("Ada", "Bob"),
    ),
    "all rows": (lambda rows, n: rows(Book).filter(author__in=rows(Writer), pk__gt=n), (0, 3)),
    "a queryset's slice": (
        lambda rows, n: rows(Book).filter(author__in=rows(Author).filter(age__gt=n).order_by("-age")[:1]),
        (1, 40),
    ),
    "a slice in its model's order": (
        lambda rows, n: rows(Book).filter(author__in=rows(Author).filter(age__gt=n)[1:2]),
        (1, 40),
    ),
    "a column": (
        lambda rows, n: rows(Book).filter(Q(pk__in=rows(Tag).filter(pk__lte=n).values("books")) | Q(price=n)),
        (1, 12),
    ),
    "a single row": (
        lambda rows, n: rows(Book).filter(author=rows(Author).filter(pk__gt=n).order_by("pk")[:1]),
        (0, 1),
    ),
    "querysets of querysets": (
        lambda rows, n: rows(Tag).filter(
            books__in=rows(Book).filter(
                author__in=rows(Author).filter(age__gt=n).exclude(books__price=n), price__lt=n
            ),
            pk__lt=n,
        ),
        (60, 30),
    ),
    "a queryset in a condition": (
        lambda rows, name: rows(Author).annotate(
            n=Count("books", filter=Q(books__in=rows(Book).filter(title__gt=name)))
        ),
        ("B", "C"),
    ),
    "one with a count": (
        lambda rows, n: rows(Book).filter(
            author__in=rows(Author).annotate(n=Count("books")).filter(n__gt=n).values("pk")
        ),
        (0, 1),
    ),
    "exists": (
        lambda rows, n: rows(Author).filter(Exists(rows(Book).filter(author=OuterRef("pk"), price__gt=n))),
        (6, 13),
    ),
    "does not exist": (
        lambda rows, n: rows(Author).filter(
            ~Exists(rows(Book).filter(author=OuterRef("pk"), price__gt=n)) | Q(age=n)
        ),
        (6, 13),
    ),
    "whether there is": (
        lambda rows, n: rows(Author).annotate(
            any=Exists(rows(Book).filter(author=OuterRef("pk"), price__gt=n)),
            cheap=Exists(rows(Book).exclude(price__gt=n).filter(author=OuterRef("pk")).order_by("pk")),
        ),
        (6, 13),
    ),
    "a column of another": (
        lambda rows, n: rows(Author).annotate(
            title=Subquery(
                rows(Book).filter(author=OuterRef("pk"), price__gt=n).values("title")[:1],
                output_field=CharField(),
            ),
            n=Coalesce(
                Subquery(
                    rows(Book)
                    .filter(author=OuterRef("pk"), price__lt=n)
                    .order_by()
                    .values("author")
                    .annotate(n=Count("pk"))
                    .values("n")
                ),
                0,
            ),
        ),
        (6, 13),
    ),
    "compared with a subquery": (
        lambda rows, n: rows(Book).filter(
            price__gte=Subquery(rows(Book).filter(pk=n).values("price")), pk__gt=n
        ),
        (1, 2),
    ),
    "a subquery of a subquery": (
        lambda rows, name: rows(Author).filter(
            Exists(
                rows(Book).filter(
                    Exists(rows(Tag).filter(books=OuterRef("pk"), label__gte=name)), author=OuterRef("pk")
                )
            )
        ),
        ("a", "s"),
    ),
    "exists in a case": (
        lambda rows, n: rows(Author).annotate(
            x=Case(When(Exists(rows(Book).filter(author=OuterRef("pk"), price__gt=n)), then=1), default=0)
        ),
        (6, 13),
    ),
    "instances in a queryset": (
        lambda rows, ids: rows(Tag).filter(
            books__in=rows(Book).filter(author__in=[Author(pk=pk) for pk in ids])
        ),
        ([1], [2, 3], [1, 2, 3]),
    ),
    "floats and infinity": (
        lambda rows, n: rows(Author).annotate(x=F("age") * n, y=Value(n)).filter(x__gte=n),
        (2.5, float("inf"), 1 / 3),
    ),
    "related": (
        lambda rows, pk: rows(Tag).filter(books__in=Author(pk=pk).books.filter(price__gt=pk)),
        (1, 2),
    ),
}


async def _rows(make: Make, value: Any, *, plans: bool) -> list[Any]:
    if not plans:
        with override_settings(TURBO_ORM={"PLANS": False}):
            found = await make(AsyncQuerySet, value).alist()
    else:
        found = await make(AsyncQuerySet, value).alist()
    return [seen(each) for each in found]


@pytest.mark.parametrize("name", PLANNED)
async def test_planned(name: str) -> None:
    make, values = PLANNED[name]
    expected = [await _rows(make, value, plans=False) for value in values]
    for _ in range(2):
        for value, rows in zip(values, expected, strict=True):
            same = Verified.same
            assert await _rows(make, value, plans=True) == rows
            assert Verified.same == same + 1, "no plan"
    assert any(expected)


@pytest.mark.parametrize("name", PLANNED)
async def test_other_terminals(name: str) -> None:
    make, values = PLANNED[name]
    for value in (*values, *values):
        queryset = make(AsyncQuerySet, value)
        with override_settings(TURBO_ORM={"PLANS": False}):
            plain: Any = make(AsyncQuerySet, value)
            rows = await plain.alist()
        same = Verified.same
        assert await queryset.acount() == len(rows)
        assert await queryset.aexists() is bool(rows)
        assert Verified.same == same + 2


@pytest.mark.parametrize("name", PLANNED)
async def test_a_query_made_of_it(name: str) -> None:
    """What leaves plan mode has the query Django would have made."""
    make, values = PLANNED[name]
    for value in (*values, *values):
        # In the bridge: of some functions, Django asks the server for its version.
        assert await run_sync(
            lambda value=value: str(make(AsyncQuerySet, value).query) == str(make(QuerySet, value).query)
        )


def _evaluated(rows: Any) -> Any:
    queryset = rows(Author).filter(pk=1)
    queryset._result_cache = []
    return queryset


class Odd(AsyncQuerySet[Any]):
    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(pk=2).resolve_expression(*args, **kwargs)


DJANGOS: dict[str, Make] = {
    "fields in a list": lambda rows, n: rows(Book).filter(pk__in=[F("author_id"), n]),
    "several fields": lambda rows, n: rows(Book).filter(author__in=rows(Author).values("pk", "name")),
    "a queryset that was evaluated": lambda rows, n: rows(Book).filter(author__in=_evaluated(rows)),
    "one with a way of its own": lambda rows, n: rows(Book).filter(author__in=Odd(Author).filter(pk=n)),
    "of another model": lambda rows, n: rows(Book).filter(author__in=rows(Tag).filter(pk=n)),
    "grouped by two": lambda rows, n: (
        rows(Author)
        .order_by()
        .annotate(a=Case(When(age=n, then=1), default=0), b=Case(When(age=3, then=1), default=0))
        .values("a", "b")
        .annotate(n=Count("pk"))
    ),
    "a subquery with a template": lambda rows, n: rows(Author).annotate(
        n=Subquery(rows(Book).filter(pk=n).values("pk"), template="(SELECT 1 + %(subquery)s)")
    ),
    "a naive moment": lambda rows, n: rows(Author).annotate(x=Value(dt.datetime(2020, 1, n))),
    "ordered by two that are alike": lambda rows, n: (
        rows(Book).alias(x=F("pk") * n, y=F("pk") * 3).order_by("x", "-y")
    ),
    "different ones in a sum's order": lambda rows, n: (
        rows(Book).alias(x=F("pk") * n).order_by("x").distinct()
    ),
    "grouped by sums": lambda rows, n: (
        rows(Author)
        .order_by()
        .annotate(a=F("age") + n, b=F("age") + 3)
        .values("a", "b")
        .annotate(n=Count("pk"))
        .order_by("a")
    ),
    "ordered by the same values": lambda rows, n: rows(Author).order_by(
        Case(When(age=n, then=1), default=0), Case(When(age=36, then=1), default=0), "pk"
    ),
    "an instance without a hash": lambda rows, n: rows(Author).annotate(
        n=Count("books", filter=Q(name__gt=Author(age=n))), x=F("pk")
    ),
}


@pytest.mark.parametrize("name", DJANGOS)
async def test_left_to_django(name: str) -> None:
    for value in (1, 1, 3):
        outcomes = []
        for plans in (False, True):
            same = Verified.same
            try:
                outcomes.append(await _rows(DJANGOS[name], value, plans=plans))
            except Exception as exc:
                outcomes.append([type(exc), str(exc)[:20]])
        assert outcomes[0] == outcomes[1]
        assert Verified.same == same


async def test_grouped_by_two_subqueries() -> None:
    """Not the same though their values are."""

    def rows(n: int) -> Any:
        writers = [AsyncQuerySet(Author).filter(books=OuterRef("pk"), age=age) for age in (n, 36)]
        grouped = AsyncQuerySet(Book).order_by().annotate(a=Exists(writers[0]), b=Exists(writers[1]))
        return grouped.values("a", "b").annotate(n=Count("pk")).order_by("n")

    for n in (1, 36, 52, 36):
        with override_settings(TURBO_ORM={"PLANS": False}):
            expected = await rows(n).alist()
        assert await rows(n).alist() == expected


async def test_aggregates_and_updates_with_conditions() -> None:
    for n in (6, 9, 30):
        same = Verified.same
        found = await Book.objects.filter(pk__gt=0).aaggregate(
            n=Count("pk", filter=Q(price__lt=n)), price=Sum("price", filter=Q(title__gt="B"))
        )
        assert Verified.same == same + 1
        assert found["n"] == await run_sync(lambda n=n: QuerySet(Book).filter(price__lt=n).count())
        change = Case(When(price__lt=n, then=F("price") + 1), default=F("price"))
        before = [book.price async for book in Book.objects.order_by("pk")]
        same = Verified.same
        assert await Book.objects.filter(pk__gt=0).aupdate(price=change, meta={"n": n}) == len(before)
        assert Verified.same == same + 1
        after = [book.price async for book in Book.objects.order_by("pk")]
        assert after == [price + 1 if price < n else price for price in before]


async def test_an_update_by_any_number(snapshot: Snapshot) -> None:
    before = (await Author.objects.aget(pk=1)).age
    for n in range(1, 80):
        same = Verified.same
        assert await Author.objects.filter(pk=1).aupdate(age=F("age") + n) == 1
        assert Verified.same == same + 1
    assert (await Author.objects.aget(pk=1)).age == before + sum(range(1, 80))
    for n in (2**31, 2**63, 2**70):
        outcomes = []
        for rows in (QuerySet(Author), AsyncQuerySet(Author)):
            snapshot.restore()
            try:
                outcomes.append(await run_sync(rows.filter(pk=1).update, age=F("age") - n))
            except DatabaseError as exc:
                outcomes.append([type(exc), str(exc)[:20]])
        assert outcomes[0] == outcomes[1]


async def test_wrong_values_raise_what_django_raises() -> None:
    for value in (1, "x", 2, None):
        outcomes = []
        for ours in (False, True):
            rows = AsyncQuerySet(Author) if ours else QuerySet(Author)
            try:
                found = rows.annotate(n=Count("books", filter=Q(books__pk=value)))
                outcomes.append(await run_sync(lambda found=found: [each.n for each in found]))
            except (ValueError, FieldError) as exc:
                outcomes.append([type(exc), str(exc)])
        assert outcomes[0] == outcomes[1]


async def test_what_changes_afterwards() -> None:
    async def names(rows: Any) -> set[str]:
        return {author.name async for author in rows}

    condition = Q(name="Ada")
    expression = Case(When(condition, then=1), default=0)
    AsyncQuerySet(Author).annotate(x=expression)
    condition.children[0] = ("name", "Bob")
    expression.cases.clear()
    for name in ("Ada", "Cyd"):
        rows = AsyncQuerySet(Author).annotate(x=Case(When(name=name, then=1), default=0))
        assert await names(rows.filter(x=1)) == {name}
    inner: Any = AsyncQuerySet(Author).filter(name="Ada")
    outer: Any = AsyncQuerySet(Author).filter(pk__in=inner)
    exists = [Exists(AsyncQuerySet(Author).filter(pk=OuterRef("pk"), name="Ada")) for _ in range(2)]
    for each in exists:
        assert await names(AsyncQuerySet(Author).filter(each)) == {"Ada"}
    changed: Any = AsyncQuerySet(Author).filter(pk=OuterRef("pk"), name="Ada")
    changed.query.where.children.pop()
    assert await names(AsyncQuerySet(Author).filter(Exists(changed))) == {"Ada", "Bob", "Cyd"}
    changed = AsyncQuerySet(Author).filter(pk=OuterRef("pk"), name="Ada")
    one = Exists(changed)
    changed.query.where.children.pop()
    other = Exists(changed)
    for _ in range(2):
        assert await names(AsyncQuerySet(Author).filter(one)) == {"Ada"}
        assert await names(AsyncQuerySet(Author).filter(other)) == {"Ada", "Bob", "Cyd"}
    inner.query.add_q(Q(name="nobody"))
    assert await names(outer) == {"Ada"}
    assert await names(AsyncQuerySet(Author).filter(pk__in=inner)) == set()


async def test_values_are_not_kept() -> None:
    def run() -> list[weakref.ref[Any]]:
        gone = []
        for _ in range(3):
            books = [Book(pk=1), Book(pk=2)]
            gone += map(weakref.ref, books)
            inner = AsyncQuerySet(Book).filter(pk__in=[each.pk for each in books])
            queryset: Any = AsyncQuerySet(Author).annotate(
                n=Count("books", filter=Q(books__in=books)),
                kind=Case(When(books=books[0], then=1), When(Q(books__in=inner), then=2), default=0),
                w=Window(Max("pk", filter=Q(books=books[1])), partition_by="pk"),
            )
            queryset = queryset.values("n", x=Greatest(Case(When(books=books[1], then=1), default=0), "n"))
            gone.append(weakref.ref(inner))
            str(queryset.query)
            assert queryset._bound("list") is None
        return gone

    await Author.objects.acount()
    gone = run()
    gc.collect()
    assert [ref() for ref in gone if ref() is not None] == []


async def test_shapes_do_not_grow_with_values(shapes: Any) -> None:
    async def use(n: int) -> None:
        await (
            AsyncQuerySet(Author)
            .annotate(k=Count("books", filter=Q(books__price__gt=n)), c=Case(When(age=n, then=1), default=0))
            .filter(pk__in=AsyncQuerySet(Book).filter(price__gt=n).values("author"))
            .alist()
        )
        await (
            AsyncQuerySet(Author)
            .annotate(half=F("age") * (n + 0.5), before=Window(Lag("age", n), order_by="pk"))
            .values("pk", "half", "before", later=F("age") + n)
            .alist()
        )
        await Author.objects.aaggregate(n=Count("pk", filter=Q(age__gt=n)))
        await Author.objects.filter(pk=n).aupdate(age=Case(When(age=n, then=1), default=F("age")))

    await use(1)
    count = shapes.trie.count
    for n in range(2, 10):
        same = Verified.same
        await use(n)
        assert Verified.same == same + 4
    assert shapes.trie.count == count


async def test_time_zones() -> None:
    from django.utils import timezone

    def rows() -> Any:
        return (
            AsyncQuerySet(Author)
            .annotate(
                late=Case(When(created__date__gt=dt.date(2020, 1, 1), then=Value("yes")), default=Value("no"))
            )
            .filter(created__hour__gte=0)
        )

    for zone in ("UTC", "Asia/Tokyo", "UTC"):
        with timezone.override(zoneinfo.ZoneInfo(zone)):
            for _ in range(2):
                same = Verified.same
                with capture_queries() as queries:
                    assert {each.late async for each in rows()} == {"yes"}
                assert zone in queries[0]["sql"]
                assert Verified.same == same + 1


def test_who_is_told_from_whom() -> None:
    def taken(argument: Any) -> Any:
        arguments = Arguments()
        return arguments.take(argument), arguments.values

    def case(**conditions: Any) -> Case:
        return Case(When(**conditions, then=1), default=0)

    assert taken(case(age=1)) == (taken(case(age=2))[0], [1, 1, 0])
    assert taken(F("x") + 1) == (taken(F("x") + 2)[0], [1])
    assert taken(Count("x", filter=Q(a=1))) == (taken(Count("x", filter=Q(a=5)))[0], [1])
    rows: Any = AsyncQuerySet(Author)
    different = [
        *(F("x") + 1, F("x") - 1, F("x") + Decimal(1), F("x") + Value("1"), F("x") + Value(True), Value(1)),
        *(Value(dt.date(2020, 1, 1)), Value(dt.timedelta(1)), Value(1, output_field=BooleanField())),
        *(F("x"), F("y"), case(age=1), case(age=None), case(age=True), case(age="x"), case(name=1), 1, "x"),
        *(
            Count("x"),
            Count("x", filter=Q(a=1)),
            Count("x", filter=~Q(a=1)),
            Count("x", filter=Q(a=1) | Q(b=1)),
        ),
        *(Sum("x", default=0), Sum("x", default=1), Sum("x", default=False), Sum("x", default=F("a"))),
        *(rows, rows.all()[:1], rows.all()[1:2], rows.using("default"), AsyncQuerySet(Book)),
        *(rows.filter(pk=1), rows.filter(pk=1).values("pk"), rows.exclude(pk=1), rows.order_by("pk")),
    ]
    found = [taken(each)[0] for each in different]
    assert [found.index(each) for each in found] == [*range(len(found))]


async def test_managers() -> None:
    assert isinstance(Person.everyone, AsyncManager)
    for alive in (True, False, True, False):
        same = Verified.same
        parents = Person.everyone.filter(parent__in=Person.everyone.filter(alive=alive))
        assert await parents.acount() == await run_sync(
            lambda alive=alive: QuerySet(Person).filter(parent__alive=alive).count()
        )
        assert Verified.same == same + 1
