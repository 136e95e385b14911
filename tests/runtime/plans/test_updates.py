"""`aupdate()` by plan against Django's `update()`: what is sent, stored and raised."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import models
from django.utils import timezone
from django.utils.safestring import mark_safe

from tests.project.library.models import Author, Book, Note, Person
from tests.runtime.parity.data import Snapshot
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.plans.verify import Verified

UTC = dt.timezone.utc


class Names(models.TextChoices):
    A = "a"


#: Model, field, and values of which each is new to the plan that the ones before it made.
UPDATES: dict[str, tuple[type[models.Model], str, list[Any]]] = {
    "integers": (Author, "age", [1, 40_000, -(2**31)]),
    "integers of a foreign key": (Book, "author_id", [1, 2]),
    "a small column": (Note, "object_id", [1, 2]),
    "booleans for integers": (Author, "age", [True, False]),
    "texts for integers": (Author, "age", ["1", "2"]),
    "floats for integers": (Author, "age", [1.0, 2.0]),
    "texts": (Book, "title", ["a", "b", ""]),
    "enums": (Book, "title", [Names.A, Names.A]),
    "subclasses of texts": (Book, "title", [mark_safe("a"), mark_safe("b")]),
    "numbers for texts": (Book, "title", [1, 2]),
    "decimals": (Book, "price", [Decimal("1.50"), Decimal(2)]),
    "floats for decimals": (Book, "price", [1.5, 2.5]),
    "booleans": (Person, "alive", [True, False]),
    "uuids": (Person, "parent_id", [None]),
    "aware times": (
        Author,
        "created",
        [
            dt.datetime(2020, 1, 1, tzinfo=UTC),
            dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        ],
    ),
    "dates": (Book, "published", [dt.date(2020, 1, 1), dt.date(2021, 1, 1)]),
    "times for dates": (Book, "published", [dt.datetime(2020, 1, 1, 23, tzinfo=UTC)] * 2),
    "texts for dates": (Book, "published", ["2020-01-01", "2020-01-02"]),
    "JSON": (Book, "meta", [{"a": 1}, {"b": [2]}]),
    "arrays": (Book, "marks", [[1], [2, 3]]),
}


pytestmark = pytest.mark.usefixtures("at_once", "verifying")


def _stored(model: type[models.Model], name: str) -> list[Any]:
    return [*AsyncQuerySet(model).order_by("pk").values_list("pk", name)]


@pytest.mark.parametrize("name", UPDATES)
async def test_values(snapshot: Snapshot, name: str) -> None:
    model, field, values = UPDATES[name]
    await AsyncQuerySet(model).acount()
    for value in values:
        results = []
        same = Verified.same
        for update in (
            AsyncQuerySet(model).aupdate,
            lambda **kwargs: run_sync(AsyncQuerySet(model).update, **kwargs),
        ):
            count = await update(**{field: value})
            results.append((count, await run_sync(_stored, model, field)))
            snapshot.restore()
        assert results[0] == results[1], value
        assert Verified.same > same, f"no plan for {value!r}"


@pytest.mark.parametrize(
    ("model", "field", "values"),
    [
        (Author, "age", [1, 2**40]),
        (Author, "age", ["1", "x"]),
        (Book, "price", [Decimal(1), Decimal("NaN")]),
        (Book, "price", [Decimal(1), Decimal("Infinity")]),
        (Book, "price", [Decimal(1), Decimal(10) ** 9]),
        (Book, "title", ["a", "\0"]),
        (Book, "title", ["a", "x" * 300]),
        (Book, "meta", [{"a": 1}, {"a": object()}]),
    ],
)
async def test_mistakes(snapshot: Snapshot, model: Any, field: str, values: list[Any]) -> None:
    right, wrong = values
    await AsyncQuerySet(model).acount()
    errors = []
    for update in (
        AsyncQuerySet(model).aupdate,
        lambda **kwargs: run_sync(AsyncQuerySet(model).update, **kwargs),
    ):
        if right != wrong:
            await update(**{field: right})
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is, it is the same
            await update(**{field: wrong})
        errors.append((type(caught.value), str(caught.value)))
        snapshot.restore()
    assert errors[0] == errors[1]


async def test_times_without_a_zone(snapshot: Snapshot) -> None:
    await AsyncQuerySet(Author).acount()
    await AsyncQuerySet(Author).aupdate(created=dt.datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.warns(RuntimeWarning, match="received a naive datetime"):
        await AsyncQuerySet(Author).aupdate(created=dt.datetime(2021, 1, 1))
    created = await AsyncQuerySet(Author).values_list("created", flat=True).afirst()
    assert created == timezone.make_aware(dt.datetime(2021, 1, 1))
