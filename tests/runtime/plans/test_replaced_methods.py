"""Methods replaced in one queryset, as django-money does: the a-methods call these, as Django's do."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from django.db.models import Count, QuerySet

from tests.project.library.models import Author, Book
from turbo_orm import AsyncManager, AsyncQuerySet
from turbo_orm.plans.verify import Verified

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")

CALLS: dict[str, Callable[[Any], Any]] = {
    "aggregate": lambda rows: rows.aaggregate(n=Count("pk")),
    "bulk_create": lambda rows: rows.abulk_create([]),
    "bulk_update": lambda rows: rows.abulk_update([], ["title"]),
    "contains": lambda rows: rows.acontains(Book(pk=1)),
    "count": lambda rows: rows.acount(),
    "create": lambda rows: rows.acreate(title="x"),
    "delete": lambda rows: rows.adelete(),
    "earliest": lambda rows: rows.aearliest("pk"),
    "exists": lambda rows: rows.aexists(),
    "first": lambda rows: rows.afirst(),
    "get": lambda rows: rows.aget(pk=1),
    "get_or_create": lambda rows: rows.aget_or_create(title="x"),
    "in_bulk": lambda rows: rows.ain_bulk([1]),
    "last": lambda rows: rows.alast(),
    "latest": lambda rows: rows.alatest("pk"),
    "update": lambda rows: rows.aupdate(title="x"),
    "update_or_create": lambda rows: rows.aupdate_or_create(title="x", defaults={}),
}


@pytest.mark.threads
@pytest.mark.parametrize("name", CALLS)
async def test_the_replacement_is_called(name: str) -> None:
    for rows in (QuerySet(Book), AsyncQuerySet(Book), AsyncQuerySet(Book)):
        setattr(rows, name, lambda *_, **__: "replaced")
        assert await CALLS[name](rows) == "replaced"


class _OnlyAda(AsyncManager):
    """Like the manager of django-money: what it adds to the arguments is there in every queryset."""

    def get_queryset(self) -> Any:
        return _understanding(super().get_queryset())


def _understanding(rows: Any) -> Any:
    for name in ("get", "filter"):
        setattr(rows, name, _adding(getattr(rows, name)))
    return rows


def _adding(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def adding(*args: Any, **kwargs: Any) -> Any:
        found = method(*args, **kwargs, name="Ada")
        return _understanding(found) if isinstance(found, QuerySet) else found

    return adding


async def test_what_a_replacement_adds_has_a_plan() -> None:
    await Author.objects.all().adelete()
    for name in ("Ada", "Ben"):
        await Author.objects.acreate(name=name, age=1)
    manager: Any = _OnlyAda()
    manager.model = Author
    before = Verified.same
    for _ in range(2):
        assert (await manager.aget(age=1)).name == "Ada"
        assert (await manager.filter(age=1).aget()).name == "Ada"
    assert Verified.same >= before + 4
