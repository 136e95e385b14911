"""What holds of every plan, beyond what the other tests here show.

A query or a plan, never both, and subclasses' overrides: `test_mode`; what is kept, epochs and
swapped orderings: `test_shapes`; nothing half made is seen: `test_threads`; errors, clones and
time zones of any chain: `test_fuzz`.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import models
from django.db.models import QuerySet
from django.test import override_settings
from django.test.utils import register_lookup
from django.utils import timezone, translation

from tests.project.library.models import Author, Book, Tag
from turbo_orm.plans import shapes as shapes_module
from turbo_orm.plans.connections import compiling_connection, forget_connections

pytestmark = pytest.mark.usefixtures("snapshot", "at_once")


class Unequal(models.Lookup):
    lookup_name = "unequal"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        sql, params = self.process_lhs(compiler, connection)
        other, more = self.process_rhs(compiler, connection)
        return f"{sql} <> {other}", [*params, *more]


def statement(queryset: Any) -> tuple[str, list[str]]:
    sql, params = queryset.query.get_compiler("default").as_sql()
    return sql, [*map(repr, params)]


def planned(queryset: Any) -> tuple[str, list[str]]:
    sql, params = queryset._bound("list").as_sql()
    return sql, [*map(repr, params)]


def test_no_plan_for_a_lookup_that_is_not_djangos() -> None:
    with register_lookup(models.CharField, Unequal):
        queryset = Tag.objects.filter(label__unequal="red")
        assert queryset._bound("list") is None
        assert {tag.label for tag in queryset} == {"green", "blue"}


def test_no_plan_where_a_parameter_has_an_unknown_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = models.lookups.Exact.as_sql

    def with_another(self: Any, compiler: Any, connection: Any) -> Any:
        sql, params = exact(self, compiler, connection)
        return f"{sql} AND %s = 1", [*params, 1]

    monkeypatch.setattr(models.lookups.Exact, "as_sql", with_another)
    queryset = Book.objects.filter(title="x")
    bound = queryset._bound("list")
    assert bound is None or planned(queryset) == statement(QuerySet(Book).filter(title="x"))


def test_every_value_is_a_parameter() -> None:
    queryset = Book.objects.filter(title="x", price__in=[1, 2]).exclude(tags__label="y")
    plan = queryset._bound("list").plan
    assert planned(queryset) == statement(
        QuerySet(Book).filter(title="x", price__in=[1, 2]).exclude(tags__label="y")
    )
    params, lengths = plan.bind(("a", [3, 4, 3], "b"))
    assert (sorted(map(str, params)), lengths) == (["3", "4", "a", "b"], (2,))


def test_a_plan_for_each_time_zone_it_depends_on() -> None:
    found = set()
    for _ in range(2):
        for name in ("UTC", "Asia/Kathmandu", "America/New_York"):
            with timezone.override(ZoneInfo(name)):
                queryset = Author.objects.filter(created__date="2024-05-06")
                assert planned(queryset) == statement(QuerySet(Author).filter(created__date="2024-05-06"))
                found.add(str(planned(queryset)))
    assert len(found) == 3
    plans = Author.objects.filter(created__date="2024-05-06")._planned[0].plans
    assert len(plans) == 3


def test_one_plan_for_all_where_it_depends_on_none() -> None:
    for name in ("UTC", "Asia/Kathmandu"):
        with timezone.override(ZoneInfo(name)), translation.override("de"):
            bound = Author.objects.filter(created="2024-05-06T07:08:09Z")._bound("list")
            assert bound is not None
    assert len(Author.objects.filter(created="2024-05-06T07:08:09Z")._planned[0].plans) == 1


class Router:
    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


def test_routers_are_asked_for_each_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    from turbo_orm.bridge import readiness

    version = readiness.server_versions["default"]
    monkeypatch.setitem(readiness.server_versions, "other", version)
    with override_settings(DATABASE_ROUTERS=[Router()]):
        queryset = Book.objects.filter(title="x")
        for alias in ("default", "other", "default"):
            monkeypatch.setattr(Router, "alias", alias)
            assert queryset._bound("list").alias == alias
            assert queryset.using("other")._bound("list").alias == "other"


def test_compiling_never_connects() -> None:
    forget_connections()
    shapes_module.clear()
    queryset = Book.objects.filter(title="x").select_related("author")
    for terminal in ("list", "get", "first", "last", "count", "exists"):
        assert queryset._bound(terminal) is not None
    connection: Any = compiling_connection("default", lambda compiler_class: compiler_class)
    assert connection.connection is None


def test_no_plan_before_the_server_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from turbo_orm.bridge import readiness

    monkeypatch.setattr(readiness, "server_versions", {})
    queryset = Book.objects.filter(title="x")
    assert queryset._bound("list") is None
    monkeypatch.undo()
    assert queryset._bound("list") is not None
