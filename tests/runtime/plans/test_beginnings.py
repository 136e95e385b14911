"""Managers' methods begin with a queryset that many calls share, and nobody can tell."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.db.models import Count, Q, QuerySet, StdDev
from django.test import override_settings

from tests.project.library.models import Author, Book, Person, Tag
from tests.runtime.plans.test_mode import attributes
from turbo_orm import AsyncManager, AsyncQuerySet, atomic
from turbo_orm.plans.beginnings import BEGINNINGS
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.shapes import ROOT

pytestmark = pytest.mark.usefixtures("snapshot", "at_once")

ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "acontains": ((Author(pk=1),), {}),
    "aearliest": (("pk",), {}),
    "aget": ((), {"pk": 1}),
    "alatest": (("pk",), {}),
    "alias": ((), {"n": Count("books")}),
    "annotate": ((), {"n": Count("books")}),
    "defer": (("name",), {}),
    "exclude": ((Q(name="x"),), {"pk": 0}),
    "filter": ((), {"name": "x"}),
    "only": (("name",), {}),
    "order_by": (("name",), {}),
    "prefetch_related": (("books",), {}),
    "select_related": (("profile",), {}),
    "values": (("name",), {}),
    "values_list": (("name",), {"flat": True}),
}

#: Calls which have Django do it.
IN_DJANGO: dict[str, Callable[[Any], Any]] = {
    "an expression": lambda manager: manager.order_by(StdDev("books__price").desc()),
    "annotated by an expression": lambda manager: manager.annotate(n=StdDev("books__price")),
    "an unknown field": lambda manager: manager.filter(no_such_field=1),
    "a lookup of a union": lambda manager: manager.filter(
        pk__in=Author.objects.filter(pk=1).union(Author.objects.filter(pk=2)).values("pk")
    ),
}


def kept(model: Any, queryset_class: type = AsyncQuerySet, alias: str | None = None) -> Any:
    return model._meta.__dict__[ROOT].querysets.get((queryset_class, alias))


def made(make: Callable[[], Any]) -> int:
    """How many querysets *make* makes which begin, and are no clones."""
    original, count = PlannedQuerySet.__init__, 0

    def counting(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += kwargs.get("query") is None
        original(self, *args, **kwargs)

    with mock.patch.object(AsyncQuerySet, "__init__", counting):
        make()
    return count


def test_one_for_many_calls() -> None:
    Author.objects.filter(name="x")
    assert made(lambda: [Author.objects.filter(name=str(each)) for each in range(5)]) == 0
    assert made(lambda: [Author.objects.all() for each in range(5)]) == 5


@pytest.mark.parametrize("name", BEGINNINGS)
async def test_it_stays_as_it_was(name: str) -> None:
    args, kwargs = ARGUMENTS.get(name, ((), {}))
    Author.objects.filter(name="x")
    queryset = kept(Author)
    before = attributes(queryset)
    for _ in range(3):
        answer = getattr(Author.objects, name)(*args, **kwargs)
        if asyncio.iscoroutine(answer):
            await answer
        else:
            assert answer is not queryset
            async with atomic():
                await answer.all()[:1].alist()
            answer._hints["instance"] = answer._known_related_objects["field"] = object()
    assert attributes(queryset) == before == attributes(AsyncQuerySet(Author))
    assert (queryset._planned is not None) == (kept(Author) is queryset)


@pytest.mark.parametrize("call", IN_DJANGO.values(), ids=IN_DJANGO)
def test_a_call_that_is_djangos_leaves_a_good_one_behind(call: Callable[[Any], Any]) -> None:
    for _ in range(3):
        outcomes = []
        for manager in (Author.objects, QuerySet(Author)):
            try:
                outcomes.append(str(call(manager).query))
            except Exception as exc:
                outcomes.append(f"{type(exc).__name__}: {exc}")
        assert outcomes[0] == outcomes[1]
        assert str(Author.objects.filter(name="x").query) == str(QuerySet(Author).filter(name="x").query)


def test_of_each_database() -> None:
    assert Author.objects.using("other").filter(pk=1).db == "other"
    assert Author.objects.db_manager("other").filter(pk=1).db == "other"
    assert Author.objects.db_manager("other").filter(pk=1).db == "other"
    assert Author.objects.filter(pk=1).db == "default"
    assert kept(Author, alias="other") is not kept(Author)


def test_hints_are_not_shared() -> None:
    manager = Author.objects.db_manager(hints={"instance": 1})
    assert manager.filter(pk=1)._hints == {"instance": 1}
    assert Author.objects.filter(pk=1)._hints == {}


class Living(AsyncManager):
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(alive=True)


def test_own_get_queryset_is_asked() -> None:
    living: Any = Living()
    living.model = Person
    with mock.patch.object(Living, "get_queryset", autospec=True, side_effect=Living.get_queryset) as asked:
        living.order_by("pk")
        living.order_by("pk")
    assert asked.call_count == 2


def test_replaced_get_queryset_is_asked() -> None:
    Author.objects.filter(name="x")
    nobody = AsyncQuerySet(Author).filter(pk=0)
    with mock.patch.object(Author.objects, "get_queryset", return_value=nobody):
        assert "0" in str(Author.objects.filter(name="x").query)
    with mock.patch.object(AsyncManager, "get_queryset", return_value=nobody):
        assert "0" in str(Author.objects.filter(name="x").query)
    assert "0" not in str(Author.objects.filter(name="x").query)


class Adding(AsyncQuerySet):
    def named(self) -> Any:
        return self.filter(name="x")


class Replacing(AsyncQuerySet):
    def filter(self, *args: Any, **kwargs: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return super().filter(*args, **kwargs)


class ReplacingInside(Adding):
    def _combinator_query(self, *args: Any, **kwargs: Any) -> Any:
        return super()._combinator_query(*args, **kwargs)


@pytest.mark.parametrize(
    ("queryset_class", "is_kept"), [(Adding, True), (Replacing, False), (ReplacingInside, False)]
)
def test_only_where_the_project_replaces_nothing(queryset_class: Any, is_kept: bool) -> None:
    manager: Any = queryset_class.as_manager()
    manager.model = Tag
    manager.filter(pk=1)
    manager.filter(pk=1)
    assert (kept(Tag, queryset_class) is not None) == is_kept


def test_managers_are_equal_and_can_be_copied() -> None:
    Author.objects.filter(name="x")
    twin = copy.copy(Author.objects)
    assert twin == Author.objects
    assert vars(twin).keys() == vars(AsyncManager()).keys()
    rows = Author.objects.filter(name="x")
    assert str(pickle.loads(pickle.dumps(rows)).query) == str(rows.query)


def test_not_without_plans() -> None:
    Author.objects.filter(name="x")
    with override_settings(TURBO_ORM={"PLANS": False}):
        rows: Any = Author.objects.filter(name="x")
        assert rows._planned is None


async def test_tasks_do_not_disturb_each_other() -> None:
    async def pages(name: str) -> tuple[int, list[str], bool]:
        return (
            await Book.objects.filter(title=name).acount(),
            await Book.objects.order_by("title").values_list("title", flat=True)[:2].alist(),
            await Book.objects.aexists(),
        )

    expected = [await pages(name) for name in ("", "x")]
    assert await asyncio.gather(*(pages(name) for name in ["", "x"] * 10)) == expected * 10
