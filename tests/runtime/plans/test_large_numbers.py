"""Numbers that a column can't hold: never cut off, whichever way they take to the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError
from django.db.models import F
from psycopg.errors import NumericValueOutOfRange
from psycopg.types.numeric import Int2, Int4, Int8

from tests.project.library.models import Author, Book
from tests.runtime.parity.data import Snapshot
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.bridge.straight import take_ready
from turbo_orm.db.leases import give_back
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import wire_of

LARGE = [2**31, 2**32, 2**40, -(2**31) - 1, 2**63 - 1, 2**63, 10**30]


@pytest.mark.parametrize("number", LARGE)
@pytest.mark.parametrize("name", ["create", "update", "save"])
async def test_they_are_refused(snapshot: Snapshot, at_once: None, name: str, number: int) -> None:
    await Author.objects.acount()
    await Author.objects.acreate(name="small", age=1)
    await Author.objects.aupdate(age=1)
    errors = []
    for run in (_planned, _by_django):
        with pytest.raises(DataError) as caught:
            await run(name, number)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert await Author.objects.exclude(age=1).acount() == 0


async def _planned(name: str, number: int) -> Any:
    if name == "create":
        return await Author.objects.acreate(name="large", age=number)
    if name == "update":
        return await Author.objects.aupdate(age=number)
    return await Author(name="large", age=number).asave()


async def _by_django(name: str, number: int) -> Any:
    author: Any = Author.objects if name != "save" else Author(name="large", age=number)
    kwargs = {"create": {"name": "large", "age": number}, "update": {"age": number}, "save": {}}[name]
    return await run_sync(getattr(author, name), **kwargs)


FILTERS: dict[str, Callable[[Any, int], Any]] = {
    "exact": lambda rows, number: rows.filter(age=number),
    "in": lambda rows, number: rows.filter(age__in=[1, number]),
    "all in": lambda rows, number: rows.filter(age__in=[number, number + 1]),
    "gt": lambda rows, number: rows.filter(age__gt=number),
    "lte": lambda rows, number: rows.filter(age__lte=number),
    "range": lambda rows, number: rows.filter(age__range=(0, number)),
    "a key": lambda rows, number: rows.filter(pk=number),
    "keys": lambda rows, number: rows.filter(pk__in=[1, number]),
}


@pytest.mark.parametrize("number", LARGE)
@pytest.mark.parametrize("name", FILTERS)
async def test_they_match_nothing(snapshot: Snapshot, at_once: None, name: str, number: int) -> None:
    await Author.objects.acount()
    await Author.objects.aupdate(age=0)
    outcomes = []
    for run in (lambda rows: rows.acount(), lambda rows: run_sync(rows.count)):
        await run(FILTERS[name](Author.objects, 7))
        try:
            outcomes.append(await run(FILTERS[name](Author.objects, number)))
        except DataError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


async def test_arithmetic(snapshot: Snapshot, at_once: None) -> None:
    await Book.objects.acount()
    await Author.objects.aupdate(age=0)
    await Author.objects.aupdate(age=F("age") + 1)
    for number in [number for number in LARGE if number > 0]:
        with pytest.raises(DataError):
            await Author.objects.aupdate(age=F("age") + number)
    assert {1} == {age async for age in AsyncQuerySet(Author).values_list("age", flat=True)}


@pytest.mark.parametrize(("kind", "number"), [(Int2, 2**15), (Int4, 2**32), (Int8, 2**64)])
async def test_the_wire_cuts_nothing_off(snapshot: Snapshot, kind: Any, number: int) -> None:
    await Author.objects.acount()
    taken = await take_ready(asyncio.get_running_loop(), "default")
    assert taken is not None
    wire = wire_of(taken[0])
    assert wire is not None
    with pytest.raises(NumericValueOutOfRange):
        await wire.run(statement("SELECT %s", 1), [kind(number)])
    assert (await wire.run(statement("SELECT %s", 1), [kind(-1)])).rows == [(-1,)]
    await give_back(*taken)
