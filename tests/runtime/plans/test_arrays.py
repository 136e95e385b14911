"""Lists that lookups of arrays compare with: one plan for all lengths, the rows and errors as Django's."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.postgres.aggregates import ArrayAgg
from django.contrib.postgres.fields import ArrayField
from django.db import connection, connections, models
from django.db.models import BooleanField, Case, Count, ExpressionWrapper, Q, QuerySet, Value, When
from django.test.utils import isolate_apps

from tests.project.library.models import Author, Book, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import planned_as_django
from turbo_orm.manager import AsyncManager

pytestmark = pytest.mark.usefixtures("at_once", "verifying")

KEYS = [uuid.UUID(int=number) for number in range(3)]
MOMENT = dt.datetime(2024, 5, 17, 12, 30, tzinfo=dt.timezone.utc)
UTC_3 = dt.timezone(dt.timedelta(hours=3))


class ShoutedField(models.CharField):  # type: ignore[type-arg]
    """Its values are stored in another way each time they are prepared."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else f"{value}!"


class Size(models.IntegerChoices):
    SMALL = 1
    LARGE = 2


@pytest.fixture(scope="module")
def lists(filled: Snapshot) -> Iterator[Any]:
    """A model with arrays of each type, and its table."""
    with isolate_apps("tests.project.library"):

        class Lists(models.Model):
            numbers = ArrayField(models.IntegerField(), null=True)
            small = ArrayField(models.SmallIntegerField(), default=list)
            texts = ArrayField(models.CharField(max_length=5), default=list)
            keys = ArrayField(models.UUIDField(), default=list)
            days = ArrayField(models.DateField(), default=list)
            moments = ArrayField(models.DateTimeField(), default=list)
            prices = ArrayField(models.DecimalField(max_digits=6, decimal_places=2), default=list)
            floats = ArrayField(models.FloatField(), default=list)
            truths = ArrayField(models.BooleanField(), default=list)
            tables = ArrayField(ArrayField(models.IntegerField()), default=list)
            shouted = ArrayField(ShoutedField(max_length=10), default=list)

            objects = AsyncManager()

            class Meta:
                app_label = "library"

        with connection.schema_editor() as editor:
            editor.create_model(Lists)
        for n in range(1, 4):
            Lists.objects.create(
                numbers=[*range(n)] if n < 3 else None,
                small=[n],
                texts=["a", "bb", 'c",{'][:n],
                keys=KEYS[:n],
                days=[MOMENT.date()] * n,
                moments=[MOMENT + dt.timedelta(days=n)],
                prices=[Decimal("1.50")] * n,
                floats=[0.5, 1.0][:n],
                truths=[True, False][:n],
                tables=[[1, n]],
                shouted=["x"],
            )
        connections.close_all()
        yield Lists
        with connection.schema_editor() as editor:
            editor.delete_model(Lists)
        connections.close_all()


#: Values of each column, and whether there is a plan for them.
VALUES: dict[str, tuple[str, list[Any], bool]] = {
    "one number": ("numbers", [0], True),
    "numbers": ("numbers", [0, 1], True),
    "a tuple": ("numbers", (0, 1), True),
    "the same twice": ("numbers", [1, 1, 0], True),
    "numbers as texts": ("numbers", ["0", "1"], True),
    "of both": ("numbers", ["0", 1], True),
    "choices": ("numbers", [Size.SMALL], True),
    "too large for the column": ("numbers", [2**40], False),
    "too large for all": ("small", [2**70], False),
    "texts": ("texts", ["a", 'c",{'], True),
    "texts that are too long": ("texts", ["bb", "a" * 9], True),
    "numbers for texts": ("texts", [1], True),
    "odd texts": ("texts", ["%s", "$1", "ä😀", "NULL", ""], True),
    "a zero byte": ("texts", ["a\0"], True),
    "keys": ("keys", KEYS[:2], True),
    "keys as texts": ("keys", [str(KEYS[0])], True),
    "days": ("days", [MOMENT.date()], True),
    "days as texts": ("days", ["2024-05-17"], True),
    "moments": ("moments", [MOMENT + dt.timedelta(days=2)], True),
    "moments elsewhere": ("moments", [(MOMENT + dt.timedelta(days=2)).astimezone(UTC_3)], True),
    "decimals": ("prices", [Decimal("1.5")], True),
    "decimals as texts": ("prices", ["1.50"], True),
    "not a number": ("prices", [Decimal("NaN")], False),
    "floats": ("floats", [0.5, 1.0], True),
    "integers for floats": ("floats", [1], True),
    "truths": ("truths", [True], False),
    "nothing": ("numbers", [], False),
    "None": ("numbers", [None], False),
    "None among them": ("numbers", [0, None], False),
    "a set": ("numbers", {0, 1}, False),
    "a range": ("numbers", range(2), False),
    "lists": ("tables", [[1, 2]], False),
    "a number": ("numbers", 5, True),
    "no numbers": ("numbers", ["x"], False),
    "no days": ("days", ["x"], False),
    "an expression": ("numbers", [Value(1)], False),
    "of a field of the project": ("shouted", ["x", "x!"], False),
}

LOOKUPS = ("exact", "contains", "contained_by", "overlap")


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("name", VALUES)
async def test_rows_and_errors_are_djangos(name: str, lookup: str, lists: Any):
    column, values, has_plan = VALUES[name]

    def rows() -> Any:
        return lists.objects.filter(**{f"{column}__{lookup}": values}).order_by("pk")

    assert await planned_as_django(lambda: rows().alist()) == has_plan


USES: dict[str, Callable[[list[int]], Any]] = {
    "excluded": lambda marks: Book.objects.exclude(marks__contains=marks),
    "of another": lambda marks: Author.objects.filter(books__marks__overlap=marks),
    "excluded of another": lambda marks: Author.objects.exclude(books__marks__overlap=marks),
    "several": lambda marks: Book.objects.filter(Q(marks__contains=marks) | Q(marks=[3]), pk__in=marks),
    "a part of it": lambda marks: Book.objects.filter(marks__0_2__contained_by=marks),
    "in a condition": lambda marks: Book.objects.annotate(
        found=Case(When(marks__overlap=marks, then=1), default=0)
    ),
    "counted": lambda marks: Author.objects.annotate(n=Count("books", filter=Q(books__marks__overlap=marks))),
    "of an aggregate": lambda marks: Author.objects.annotate(keys=ArrayAgg("books__pk")).filter(
        keys__overlap=marks
    ),
    "of groups": lambda marks: (
        Book.objects.filter(marks__overlap=marks).values("author").annotate(n=Count("pk"))
    ),
    "grouped by it": lambda marks: Book.objects.values(
        some=ExpressionWrapper(Q(marks__overlap=marks), BooleanField())
    ).annotate(n=Count("pk")),
    "in another": lambda marks: Author.objects.filter(books__in=Book.objects.filter(marks__overlap=marks)),
    "a slice": lambda marks: Book.objects.filter(marks__overlap=marks)[:2],
    "after it was looked at": lambda marks: _looked_at(Book.objects.filter(marks__overlap=marks)),
}


#: Django groups by all that is in an array, or has made the query.
UNPLANNED = {"of an aggregate", "grouped by it", "after it was looked at"}


def _looked_at(rows: Any) -> Any:
    assert str(rows.query)
    return rows


@pytest.mark.parametrize("use", USES)
async def test_wherever_they_stand(use: str):
    lists = ([1], [1, 2], [3], [2, 1, 3], [7])
    planned = await planned_as_django(*[lambda marks=marks: USES[use](marks).alist() for marks in lists])
    assert planned == (0 if use in UNPLANNED else len(lists))


async def test_one_plan_for_all_lengths(shapes: Any):
    await Book.objects.filter(marks__contains=[1]).acount()
    before = shapes.trie.count
    for length in range(2, 30):
        await Book.objects.filter(marks__contains=[*range(length)]).acount()
    assert shapes.trie.count == before


async def test_what_is_written(snapshot: Snapshot):
    assert await Book.objects.filter(marks__contains=[1, 2]).aupdate(marks=[4]) == 1
    assert await Book.objects.filter(marks=[4]).acount() == 1
    await Tag.books.through.objects.all().adelete()
    assert (await Book.objects.filter(marks__overlap=[4, 5]).adelete())[0] >= 1
    assert not await Book.objects.filter(marks__contains=[4]).aexists()


async def test_the_values_are_those_of_the_moment():
    marks = [1, 2]
    found = Book.objects.filter(marks__contains=marks)
    marks.append(9)
    assert [book.title for book in await found.alist()] == ["Algebra"]
    assert str(found.query) == str(QuerySet(Book).filter(marks__contains=[1, 2]).query)
