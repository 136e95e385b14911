"""Floats: PostgreSQL gets those of plans as it gets Django's, which are literals of type ``numeric``."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField, DecimalRangeField
from django.db import connection, connections, models
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.db.models import Avg, Count, F, Q
from django.test import override_settings
from django.test.utils import isolate_apps

from tests.runtime.parity.data import Snapshot
from turbo_orm import AsyncManager, run_sync

pytestmark = pytest.mark.usefixtures("at_once")


class Rounded(models.Field):
    """Floats in a column of integers."""

    def db_type(self, connection: Any) -> str:
        return "integer"


class Exact(models.Field):
    """Floats in a column that has more digits."""

    def db_type(self, connection: Any) -> str:
        return "numeric"


@pytest.fixture(scope="module")
def sheet(filled: Snapshot) -> Iterator[Any]:
    """A model with a column of each type that takes floats, and its table."""
    with isolate_apps("tests.project.library"):

        class Sheet(models.Model):
            number = models.IntegerField(default=0)
            size = models.FloatField(default=0)
            rounded = Rounded(null=True)
            exact = Exact(null=True)
            sizes = ArrayField(models.FloatField(), default=list)
            between = DecimalRangeField(null=True)

            objects = AsyncManager()
            django = models.Manager()

            class Meta:
                app_label = "library"
                indexes = [models.Index("size", name="sheet_size")]

        with connection.schema_editor() as editor:
            editor.create_model(Sheet)
        connections.close_all()
        yield Sheet
        with connection.schema_editor() as editor:
            editor.delete_model(Sheet)
        connections.close_all()


@pytest.fixture
async def sheets(sheet: Any) -> Any:
    """The model, without rows."""
    await sheet.objects.all().adelete()
    return sheet


def sample() -> list[float]:
    chance = random.Random(20)
    bits = [struct.unpack("d", chance.randbytes(8))[0] for _ in range(100)]
    plain = [round(chance.uniform(-100, 100), chance.randrange(17)) for _ in range(50)]
    edges = [0.0, -0.0, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e16, 1e22, 2.0**53]
    return [*filter(isfinite, bits), *plain, *edges, float("inf"), float("-inf")]


async def by_django(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with override_settings(TURBO_ORM={"PLANS": False, "POOL": {"min_size": 1, "max_size": 5}}):
        return await run_sync(function, *args, **kwargs)


def stored(rows: Any) -> str:
    """What the columns have, with the signs of zeros."""
    return repr([*rows.django.order_by("pk").values_list("size", "exact", "sizes")])


async def test_what_is_stored(sheets: Any) -> None:
    values = sample()
    await by_django(
        lambda: [sheets.django.create(size=value, exact=value, sizes=[value, 1.5]) for value in values]
    )
    expected = await by_django(stored, sheets)
    await sheets.objects.all().adelete()
    made = [await sheets.objects.acreate(size=value, exact=value, sizes=[value, 1.5]) for value in values]
    assert await by_django(stored, sheets) == expected
    for size, each in enumerate(made):
        each.size, each.exact, each.sizes = float(size), None, []
        await each.asave()
    for value, each in zip(values, made, strict=True):
        changed = {"size": value, "exact": value, "sizes": [value, 1.5]}
        assert await sheets.objects.filter(pk=each.pk).aupdate(**changed) == 1
    assert await by_django(stored, sheets) == expected
    results = []
    for run in (partial(by_django, sheets.django.bulk_update), sheets.objects.abulk_update):
        await sheets.objects.all().aupdate(size=7.5, exact=7.5, sizes=[])
        for value, each in zip(values, made, strict=True):
            each.size, each.exact, each.sizes = value, value, [value, 1.5]
        await run(made, ["size", "exact", "sizes"])
        results.append(await by_django(stored, sheets))
    assert results[0] == results[1]


async def test_they_are_found(sheets: Any) -> None:
    values = sample()
    for value in values:
        await sheets.objects.acreate(size=value)
    for value in values:
        found = await sheets.objects.filter(size=value).order_by("pk").values_list("size", flat=True).alist()
        assert found == [each for each in values if each == value]
    for number, value in enumerate(values[:20], 1):
        assert await sheets.objects.filter(size__gt=value).acount() == sum(each > value for each in values)
        assert await sheets.objects.filter(size__in=values[:number]).acount() == number


CONDITIONS: dict[str, dict[str, Any]] = {
    "more": {"average__gt": 1 / 3},
    "exactly": {"average": 1 / 3},
    "one of": {"average__in": [1 / 3, 0.5]},
    "between": {"average__range": (1 / 3, 1.0)},
    "less than infinity": {"average__lt": float("inf")},
}

COMPARED: dict[str, Callable[[Any], Any]] = {
    **{
        name: lambda rows, condition=condition: (
            rows.values("rounded").annotate(average=Avg("number")).filter(**condition).values_list("average")
        )
        for name, condition in CONDITIONS.items()
    },
    "in an aggregate's condition": lambda rows: (
        rows.values("number")
        .annotate(average=Avg("number") / 3.0)
        .annotate(n=Count("pk", filter=Q(number__gte=0.5)))
        .filter(average__gte=1 / 3)
        .values_list("number", "n")
    ),
    "with other columns": lambda rows: rows.filter(exact=0.1 + 0.2, rounded__lt=2.5).values_list("pk"),
    "arithmetic": lambda rows: (
        rows.order_by("pk").annotate(x=F("size") * 1.1, y=F("number") / 3.0).filter(x__gt=1 / 3)
    ).values_list("x", "y"),
    "arrays": lambda rows: rows.filter(sizes=[0.1, -0.0], sizes__contains=[0.1]).values_list("sizes"),
    "ranges": lambda rows: rows.filter(between__contains=NumericRange(0.25, 0.5)).values_list("pk"),
}


@pytest.mark.parametrize("name", COMPARED)
async def test_compared(sheets: Any, name: str) -> None:
    for number in (1, 0, 0):
        await sheets.objects.acreate(
            number=number,
            size=number / 3,
            rounded=2,
            exact=0.1 + 0.2,
            sizes=[0.1, -0.0],
            between=NumericRange(0.1, 0.7),
        )
    make = COMPARED[name]
    expected = repr(await by_django(lambda: [*make(sheets.django)]))
    for _ in range(2):
        assert repr(await make(sheets.objects).alist()) == expected


async def test_arithmetic_that_is_stored(sheets: Any) -> None:
    results = []
    for rows in (sheets.django, sheets.objects, sheets.objects):
        await sheets.objects.all().adelete()
        await sheets.objects.acreate(number=5, size=0.1, rounded=3, exact=0.1)
        changes = {"number": F("number") * 0.5, "size": F("size") + 0.2, "rounded": 2.5, "exact": 0.1 + 0.2}
        await (by_django(rows.update, **changes) if rows is sheets.django else rows.aupdate(**changes))
        results.append(await sheets.objects.values_list("number", "size", "rounded", "exact").aget())
    assert results[0] == results[1] == results[2]
