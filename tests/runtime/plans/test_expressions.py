"""Expressions in `order_by()`, `annotate()` and `update()`: part of a shape, or left to Django."""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import django
import pytest
from django.conf import settings
from django.contrib.postgres import aggregates as postgres
from django.core.exceptions import FieldError
from django.db import models
from django.db.models import (
    Aggregate,
    Avg,
    CharField,
    Count,
    DecimalField,
    ExpressionWrapper,
    F,
    FloatField,
    Func,
    Max,
    OrderBy,
    Q,
    QuerySet,
    RowRange,
    StdDev,
    Sum,
    Transform,
    Value,
    ValueRange,
    Variance,
    Window,
)
from django.db.models.fields.json import KT, KeyTextTransform, KeyTransform
from django.db.models.functions import (
    MD5,
    Abs,
    ATan2,
    Cast,
    Ceil,
    Chr,
    Coalesce,
    Collate,
    Concat,
    Cos,
    CumeDist,
    Degrees,
    DenseRank,
    Exp,
    Extract,
    ExtractYear,
    FirstValue,
    Floor,
    Greatest,
    JSONObject,
    Lag,
    LastValue,
    Lead,
    Least,
    Left,
    Length,
    Ln,
    Log,
    Lower,
    LPad,
    LTrim,
    Mod,
    Now,
    NthValue,
    Ntile,
    NullIf,
    Ord,
    PercentRank,
    Pi,
    Power,
    Radians,
    Rank,
    Repeat,
    Replace,
    Reverse,
    Right,
    Round,
    RowNumber,
    RPad,
    RTrim,
    Sign,
    Sin,
    Sqrt,
    StrIndex,
    Substr,
    Trim,
    Trunc,
    TruncDate,
    TruncMonth,
    Upper,
)
from django.test import override_settings
from django.test.utils import register_lookup
from django.utils.safestring import SafeString

from tests.project.library.models import Author, Book
from tests.runtime.plans.same import seen
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.plans.steps import take_order
from turbo_orm.plans.values import Bail
from turbo_orm.plans.verify import Verified

#: Django's own since 6.0.
StringAgg: Any = getattr(models, "StringAgg", None) or postgres.StringAgg

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")


class Shout(Upper):
    """A project's own, which makes its SQL."""

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, **context)


class ShoutHere(Upper):
    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        return super().as_sql(compiler, connection, function="LOWER")


class Named:
    """In front of a class of Django's: what it does is not that class's."""

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        return super().resolve_expression(*args, **kwargs)  # type: ignore[misc]


class ShoutNamed(Named, Upper):
    pass


class ShoutBetween(Upper, Named):  # type: ignore[misc]
    pass


class Typed(Func):
    function = "UPPER"

    @property
    def output_field(self) -> Any:
        return CharField()


class Initials(Func):
    """Only declared."""

    function = "LEFT"
    template = "UPPER(%(function)s(%(expressions)s, 1))"
    output_field = CharField()
    note = ["nobody reads this"]

    def as_sqlite(self, compiler: Any, connection: Any) -> Any:
        raise NotImplementedError

    def help(self) -> str:
        return "nor calls this"


class Joined(Initials):
    arg_joiner = " || "
    template = "(%(expressions)s)"

    def __init__(self, *texts: str, end: str = "!", **options: Any) -> None:
        super().__init__(*texts, Value(end), **options)
        self.end = end


class Distant(Joined):
    def __init__(self, text: str, book: Book) -> None:
        super().__init__(text, end=book.title)
        self.book = book


class Turned(Func):
    """Its instances are not all the same function."""

    output_field = CharField()

    def __init__(self, text: str, function: str) -> None:
        super().__init__(text)
        self.function = function


class Middle(Aggregate):
    function = "PERCENTILE_CONT"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


class Spread(Max):
    template = "%(function)s(%(distinct)s%(expressions)s) - MIN(%(expressions)s)"


class Host(Transform):
    function = "MD5"
    lookup_name = "host"
    output_field = CharField()


def _ordered(kind: Any, expression: Any, *order: Any) -> Any:
    """Return an aggregate with an order, which is another argument before Django 5.2."""
    if django.VERSION < (5, 0):
        return kind(expression, ordering=order, default=None)
    return kind(expression, **{"order_by" if django.VERSION >= (5, 2) else "ordering": order})


PLANNED: dict[str, Callable[[], Any]] = {
    "by a field": lambda: AsyncQuerySet(Book).order_by(F("title")),
    "downwards": lambda: AsyncQuerySet(Book).order_by(F("price").desc(), "pk"),
    "nulls last": lambda: AsyncQuerySet(Author).order_by(F("age").desc(nulls_last=True), "pk"),
    "nulls first": lambda: AsyncQuerySet(Author).order_by(F("age").asc(nulls_first=True), "-pk"),
    "reversed": lambda: AsyncQuerySet(Author).order_by(F("age").asc(nulls_first=True), "pk").reverse(),
    "by a relation": lambda: AsyncQuerySet(Book).order_by(F("author__name").desc(), F("title").asc()),
    "by a function": lambda: AsyncQuerySet(Author).order_by(Lower("name").desc()),
    "by arithmetic": lambda: AsyncQuerySet(Book).order_by(F("price") * 2, "pk"),
    "by the same twice": lambda: AsyncQuerySet(Book).order_by(F("price") * 2, F("price") * 2, F("price") * 3),
    "by an annotation": lambda: (
        AsyncQuerySet(Author).annotate(n=Count("books")).order_by(F("n").desc(), "pk")
    ),
    "then filtered": lambda: AsyncQuerySet(Book).order_by(F("title").desc()).filter(pk__gt=1)[:2],
    "texts": lambda: AsyncQuerySet(Author).annotate(
        low=Lower("name"), up=Upper("name"), n=Length("name"), bare=Trim(LTrim(RTrim("name")))
    ),
    "texts together": lambda: AsyncQuerySet(Book).annotate(full=Concat("author__name", Value(": "), "title")),
    "parts of texts": lambda: AsyncQuerySet(Author).annotate(
        a=Left("name", 2),
        b=Right("name", 1),
        c=Substr("name", 2, 1),
        d=Substr("name", 2),
        e=StrIndex("name", Value("d")),
        f=Replace("name", Value("A"), Value("x")),
        g=LPad("name", 5, Value("-")),
        h=RPad("name", 5),
        i=Repeat("name", 2),
        j=Reverse("name"),
    ),
    "rounded": lambda: AsyncQuerySet(Book).annotate(
        a=Round("price"), b=Round("price", 1), c=Mod("pk", 2), d=Power("pk", 2), e=Sqrt("pk"), f=Sign("price")
    ),
    "numbers": lambda: AsyncQuerySet(Book).annotate(
        a=Abs(F("price") - 20), c=Ceil("price"), f=Floor("price")
    ),
    "numbers of two": lambda: AsyncQuerySet(Author).annotate(g=Greatest("age", 40), m=Least("age", 40)),
    "nothing": lambda: AsyncQuerySet(Author).annotate(
        years=Coalesce("age", 0), name_or_null=NullIf("name", Value("Ada"))
    ),
    "filtered by a function": lambda: AsyncQuerySet(Author).annotate(low=Lower("name")).filter(low="ada"),
    "counted": lambda: AsyncQuerySet(Author).annotate(n=Count(Lower("books__title"), distinct=True)),
    "with a type": lambda: AsyncQuerySet(Author).annotate(low=Lower("name", output_field=CharField())),
    "a cast": lambda: AsyncQuerySet(Author).annotate(text=Cast("age", CharField(max_length=5))),
    "wrapped": lambda: AsyncQuerySet(Book).annotate(
        x=ExpressionWrapper(F("price") * 2, output_field=DecimalField(max_digits=9, decimal_places=3))
    ),
    "moments": lambda: (
        AsyncQuerySet(Author)
        .annotate(month=TruncMonth("created"), hour=Trunc("created", "hour"), day=TruncDate("created"))
        .annotate(year=ExtractYear("created"), week=Extract("created", "week_day"))
    ),
    "by month": lambda: (
        AsyncQuerySet(Author)
        .order_by()
        .annotate(month=TruncMonth("created"))
        .values("month")
        .annotate(n=Count("pk"))
    ),
    "without names": lambda: AsyncQuerySet(Author).annotate(Count("books"), Max("books__price")),
    "only to filter by": lambda: AsyncQuerySet(Author).alias(n=Count("books")).filter(n__gt=0),
    "values": lambda: (
        AsyncQuerySet(Author).annotate(low=Lower("name")).values_list("low", flat=True).order_by("low")
    ),
    "a time zone": lambda: AsyncQuerySet(Author).annotate(
        month=TruncMonth("created", tzinfo=dt.timezone.utc),
        day=TruncDate("created", tzinfo=ZoneInfo("Asia/Kathmandu")),
        hour=Extract("created", "hour", tzinfo=dt.timezone(dt.timedelta(hours=3))),
    ),
    "expressions as values": lambda: (
        AsyncQuerySet(Author)
        .order_by()
        .values("age", month=TruncMonth("created"))
        .annotate(n=Count("pk"))
        .order_by("age")
    ),
    "only expressions as values": lambda: AsyncQuerySet(Author).values(low=Lower("name")).order_by("low"),
    "expressions in tuples": lambda: (
        AsyncQuerySet(Author).order_by("pk").values_list("pk", Lower("name"), "age")
    ),
    "expressions in named tuples": lambda: (
        AsyncQuerySet(Author)
        .order_by("pk")
        .values_list(Lower("name"), Upper("name"), Count("books"), named=True)
    ),
    "one expression": lambda: AsyncQuerySet(Author).order_by("pk").values_list(Lower("name"), flat=True),
    "ranks": lambda: AsyncQuerySet(Book).annotate(
        row=Window(RowNumber(), order_by=["price", "-pk"]),
        rank=Window(Rank(), partition_by="author", order_by=F("price").desc(nulls_last=True)),
        dense=Window(DenseRank(), partition_by=["author", F("author__age") * 2], order_by="price"),
        percent=Window(PercentRank(), order_by="price"),
        share=Window(CumeDist(), order_by="price"),
        third=Window(Ntile(3), order_by="pk"),
    ),
    "others of a window": lambda: AsyncQuerySet(Book).annotate(
        before=Window(Lag("price", 1, default=0), order_by="pk"),
        after=Window(Lead("title", 2), partition_by="author", order_by="pk"),
        first=Window(FirstValue("title"), order_by="pk"),
        last=Window(LastValue("title"), order_by="pk"),
        second=Window(NthValue("title", 2), order_by="pk"),
    ),
    "aggregates of a window": lambda: AsyncQuerySet(Book).annotate(
        total=Window(Sum("price"), order_by="pk", frame=RowRange(start=-1, end=0)),
        everything=Window(Avg("price"), order_by="pk", frame=ValueRange()),
        dear=Window(Count("pk", filter=Q(price__gt=10)), partition_by="author"),
    ),
    "filtered by a window": lambda: (
        AsyncQuerySet(Book)
        .annotate(rank=Window(Rank(), partition_by="author", order_by="-price"))
        .filter(rank=1, price__gt=1)
        .order_by("pk")[:2]
    ),
    "aggregates of all kinds": lambda: AsyncQuerySet(Author).annotate(
        a=StdDev("books__price"),
        b=StdDev("books__price", sample=True),
        c=Variance("books__price"),
        d=Variance("books__price", sample=True),
        e=postgres.BoolOr(Q(books__price__gt=1)),
    ),
    "lists": lambda: AsyncQuerySet(Author).annotate(
        titles=postgres.ArrayAgg("books__title", filter=Q(books__price__gt=1), default=None),
        prices=_ordered(postgres.ArrayAgg, "books__price", "-books__price", "books__pk"),
        joined=_ordered(partial(StringAgg, delimiter=Value(", ")), "books__title", F("books__title").desc()),
    ),
    "JSON made": lambda: AsyncQuerySet(Author).annotate(
        json=JSONObject(name="name", old=Coalesce("age", 0), low=Lower("name"), fix=Value("x"))
    ),
    "keys of JSON": lambda: AsyncQuerySet(Book).annotate(
        a=KeyTransform("a", "meta"),
        b=KT("meta__b__c"),
        c=F("meta__d"),
        d=KeyTextTransform(0, KeyTransform("e", "meta")),
    ),
    "keys of JSON, selected": lambda: (
        AsyncQuerySet(Book).order_by("meta__a", "pk").values("pk", "meta__a__b")
    ),
    "collated": lambda: AsyncQuerySet(Author).annotate(c=Collate("name", "C")).order_by(Collate("name", "C")),
    "functions of a project": lambda: AsyncQuerySet(Author).annotate(
        a=Initials("name"),
        b=Joined("name", Lower("name")),
        c=Joined("name", end="?"),
        d=Initials(Concat("name", Value("x"))),
        e=Upper(Initials("name"), output_field=CharField()),
    ),
    "ordered by functions of a project": lambda: AsyncQuerySet(Author).order_by(
        Initials("name").desc(), Host("name"), "pk"
    ),
    "filtered by functions of a project": lambda: (
        AsyncQuerySet(Author)
        .annotate(a=Initials("name"), b=Joined("name"))
        .filter(a="A", b__contains="da")
        .order_by("pk")
    ),
    "aggregates of a project": lambda: AsyncQuerySet(Author).annotate(
        a=Middle("books__price"), b=Spread("books__price", default=None)
    ),
    "functions without a class": lambda: AsyncQuerySet(Author).annotate(
        a=Func(F("name"), function="md5", output_field=CharField()),
        b=Func(F("name"), Value("-"), function="concat", arg_joiner=", '+', ", output_field=CharField()),
        c=Func(function="PI", output_field=FloatField()),
    ),
    "mathematics": lambda: AsyncQuerySet(Book).annotate(
        a=Sin("pk"),
        b=ATan2(Cos("pk"), 2),
        c=Ln("pk"),
        d=Log(2, Exp("author__pk")),
        e=Pi(),
        f=Degrees(Radians("price")),
        g=Chr(Length("title") + 64, output_field=CharField()),
        h=MD5("title"),
        i=Ord("title"),
    ),
}

#: A field of a model may become another one.
_NAME = Author._meta.get_field("name")

DJANGOS: dict[str, Callable[[], Any]] = {
    "a function of a project": lambda: AsyncQuerySet(Author).order_by(Shout("name")),
    "with another template": lambda: AsyncQuerySet(Author).annotate(low=Lower("name", function="UPPER")),
    "a function of a project for PostgreSQL": lambda: AsyncQuerySet(Author).order_by(ShoutHere("name")),
    "a function with a mixin": lambda: AsyncQuerySet(Author).order_by(ShoutNamed("name")),
    "a function with a base behind it": lambda: AsyncQuerySet(Author).order_by(ShoutBetween("name")),
    "a function with a property": lambda: AsyncQuerySet(Author).order_by(Typed("name")),
    "a function of an object": lambda: AsyncQuerySet(Author).annotate(
        x=Distant("name", Book(pk=1, title="x"))
    ),
    "functions of one class": lambda: AsyncQuerySet(Author).annotate(
        x=Turned("name", "LOWER"), y=Turned("name", "UPPER")
    ),
    "any option": lambda: AsyncQuerySet(Author).annotate(
        n=Func(F("name"), function=SafeString("md5"), output_field=CharField())
    ),
    "an aggregate to order by": lambda: AsyncQuerySet(Author).order_by(Max("books__price").desc()),
    "a field of a model for a type": lambda: AsyncQuerySet(Author).annotate(
        low=Lower("name", output_field=_NAME)
    ),
    "another constant": lambda: AsyncQuerySet(Author).annotate(x=Coalesce("age", Value(b"x"))),
}


async def rows_of(make: Callable[[], Any]) -> list[Any]:
    queryset = make()
    return [seen(row) if hasattr(row, "_meta") else row for row in await queryset.alist()]


@pytest.mark.parametrize("name", PLANNED)
async def test_planned(name: str) -> None:
    with override_settings(TURBO_ORM={"PLANS": False}):
        expected = await rows_of(PLANNED[name])
    assert expected
    for _ in range(2):
        same = Verified.same
        assert await rows_of(PLANNED[name]) == expected
        assert Verified.same == same + 1


@pytest.mark.parametrize("name", DJANGOS)
async def test_left_to_django(name: str) -> None:
    same = Verified.same
    try:
        rows = await rows_of(DJANGOS[name])
    except FieldError as exc:  # as Django's own, which knows no type for it
        with pytest.raises(FieldError, match=str(exc)[:20]):
            await run_sync(lambda: list(DJANGOS[name]()))
    else:
        assert rows
    assert Verified.same == same


class OnlyFirst(AsyncQuerySet[Any]):
    def annotate(self, *args: Any, **kwargs: Any) -> Any:
        return super().annotate(*args, **kwargs).filter(pk=1)


async def test_what_values_are_made_with() -> None:
    """Django calls `annotate()`, which may be the project's."""
    for _ in range(2):
        assert len(await OnlyFirst(Author).values(low=Lower("name")).alist()) == 1
        assert len(await OnlyFirst(Author).values_list("pk", Lower("name")).alist()) == 1


async def test_odd_names_of_values() -> None:
    for rows in (AsyncQuerySet(Author), QuerySet(Author)):
        with pytest.raises(ValueError, match="conflicts with a field"):
            rows.values("pk", name=Lower("name"))
        with pytest.raises(ValueError, match=r"whitespace|alias"):
            rows.values(**{"x;--": Lower("name")})


async def test_time_zones_of_one_name() -> None:
    """The text of a zone is in the SQL; moments become what its offset says."""
    for hours in (0, 5, 0):
        zone = dt.timezone(dt.timedelta(hours=hours), "UTC")
        rows = AsyncQuerySet(Author).annotate(day=TruncMonth("created", tzinfo=zone)).order_by("pk")
        found = await rows.alist()
        with override_settings(TURBO_ORM={"PLANS": False}):
            expected = await rows.all().alist()
        assert [each.day for each in found] == [each.day for each in expected]
        assert found[0].day.utcoffset() == dt.timedelta(hours=hours)


async def test_what_is_left_to_django_leaves_the_others_alone() -> None:
    """Of one queryset, what has no plan and what has one."""
    rows = AsyncQuerySet(Author).filter(pk__gt=0)
    for _ in range(2):
        for other in (
            rows.annotate(x=Shout("name")),
            rows.order_by(Shout("name")),
            rows.values(x=Shout("name")),
        ):
            same = Verified.same
            assert await other.alist()
            assert Verified.same == same
        assert await rows.acount()
        assert Verified.same == same + 1


async def test_one_name_for_two() -> None:
    for rows in (AsyncQuerySet(Author), QuerySet(Author)):
        with pytest.raises(ValueError, match="books__count"):
            rows.annotate(Count("books"), books__count=Max("pk"))


async def test_values_of_an_update() -> None:
    same = Verified.same
    assert await Author.objects.filter(pk=1).aupdate(name=Upper("name"), age=Coalesce("age", 0) + 1) == 1
    assert await Author.objects.filter(pk=1).aupdate(created=Now()) == 1
    assert Verified.same == same + 2
    author = await Author.objects.aget(pk=1)
    assert author.name == author.name.upper() != author.name.lower()


async def test_expressions_that_change_afterwards() -> None:
    order, length = F("name").asc(), Length("name")
    AsyncQuerySet(Author).order_by(order).annotate(n=length)
    order.reverse_ordering()
    length.set_source_expressions([F("age")])
    for _ in range(2):
        rows = AsyncQuerySet(Author).order_by(F("name").asc()).annotate(n=Length("name"))
        found = [(author.name, author.n) for author in await rows.filter(pk__gt=0).alist()]
        assert found == sorted((name, len(name)) for name, _ in found)


def identity_of_order(given: Any) -> Any:
    return take_order((given,)).key


def test_who_is_told_from_whom() -> None:
    alike = [
        (F("x"), F("x")),
        (F("x").desc(), OrderBy(F("x"), descending=True)),
        (Lower("x"), Lower(F("x"))),
        (Coalesce("x", 0), Coalesce("x", Value(0))),
        (Initials("x"), Initials(F("x"))),
        (Joined("x"), Joined("x", end="!")),
        (Func("x", function="f", template="t"), Func(F("x"), template="t", function="f")),
    ]
    for one, other in alike:
        assert identity_of_order(one) == identity_of_order(other)
    different = [
        *(
            "x",
            F("x"),
            F("x").asc(),
            F("x").desc(),
            F("x").desc(nulls_last=True),
            F("x").desc(nulls_first=True),
        ),
        *(Lower("x"), Upper("x"), Lower("y"), Coalesce("x", 0), Coalesce("x", 1), Coalesce("x", Value("0"))),
        *(
            Initials("x"),
            Joined("x"),
            Joined("x", end="?"),
            Initials("x", function="f"),
            Host("x"),
            Middle("x"),
        ),
        *(
            Func("x"),
            Func("x", function="f"),
            Func("x", function="g"),
            Func("x", y="f"),
            Func("x", "y"),
            Spread("x"),
        ),
        *(Coalesce("x", Value(False)), Coalesce("x", Value(None)), F("x") + 1, F("x") - 1, F("x") + 2),
    ]
    assert len({repr(identity_of_order(each)) for each in different}) == len(different)
    patched = Lower("x")
    patched.function = "UPPER"
    for unknown in (
        patched,
        F(["x"]),
        F("x").desc(nulls_first=[1]),
        Func(F("x"), function=SafeString("md5")),
        Shout("x"),
        ShoutHere("x"),
        ShoutNamed("x"),
        ShoutBetween("x"),
        Typed("x"),
        Turned("x", "LOWER"),
        Distant("x", Book(pk=1)),
        Lower("x", function="UPPER"),
        Lower(Shout("x")),
    ):
        with pytest.raises(Bail):
            identity_of_order(unknown)


async def test_transforms_of_a_project_in_lookups() -> None:
    name: Any = Author._meta.get_field("name")
    with register_lookup(name, Host):
        for text in ("Ada", "nobody", "Ada"):
            value = hashlib.md5(text.encode()).hexdigest()
            rows = AsyncQuerySet(Author).filter(name__host=value)
            same = Verified.same
            assert [each.name for each in await rows.alist()] == ([text] if text == "Ada" else [])
            assert Verified.same == same + 1
            assert await AsyncQuerySet(Author).filter(name__host__startswith=value[:5]).acount() == (
                text == "Ada"
            )
            assert Verified.same == same + 2


class Here(Transform):
    """Its constructor looks around."""

    lookup_name = "here"
    output_field = CharField()

    def __init__(self, *texts: Any) -> None:
        super().__init__(*texts, function="UPPER" if settings.DEBUG else "LOWER")


async def test_transforms_with_a_constructor() -> None:
    name: Any = Author._meta.get_field("name")
    with register_lookup(name, Here):
        for debug, value in ((False, "ada"), (True, "ADA")):
            with override_settings(DEBUG=debug):
                assert await AsyncQuerySet(Author).filter(name__here=value).acount() == 1


def test_classes_of_a_moment_are_not_kept() -> None:
    def told() -> Any:
        class Local(Func):
            function = "LOWER"

        identity_of_order(Local("x"))
        return weakref.ref(Local)

    local = told()
    gc.collect()
    assert local() is None
