"""Every promise of the README this library was asked for with, as that README shows it."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, models
from django.test import override_settings
from django.test.utils import isolate_apps
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

import turbo_orm
from tests.project.library.models import Author, Book, Tag
from tests.runtime.support import backend_pid, pool, sleep
from turbo_orm import AsyncManager, AsyncQuerySet, execution, run_sync

needs_async_backend = pytest.mark.skipif(
    "async_backend" not in connection.settings_dict["ENGINE"], reason="about ENGINE django_async_backend"
)


async def authors() -> None:
    for name, age in (("admin", 30), ("bob", 20), ("cyd", None)):
        await Author.objects.acreate(name=name, age=age)


# 1: `objects = AsyncManager()` is the only change


@isolate_apps("tests.project.library")
def test_a_model_with_an_async_manager_is_an_ordinary_model() -> None:
    class User(models.Model):
        username = models.CharField(max_length=150)
        email = models.EmailField()
        is_active = models.BooleanField(default=True)

        objects = AsyncManager()

        class Meta:
            app_label = "library"

    assert isinstance(User.objects, models.Manager)
    assert isinstance(User.objects.all(), models.QuerySet)
    assert isinstance(User.objects.all(), AsyncQuerySet)
    assert User.check() == []


# 2: chainable, lazy, no database


def test_chainable_methods_do_not_touch_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a chainable method connected to the database")

    monkeypatch.setattr(AsyncConnection, "connect", connect)
    monkeypatch.setattr(type(connections["default"]), "connect", connect)
    chain = (
        Book.objects.all()
        .filter(price__gt=1)
        .exclude(title="admin")
        .order_by("-id")
        .select_related("author")
        .prefetch_related("tags")
        .only("title", "author")
        .defer("title")
        .distinct()
    )
    for queryset in (chain, chain[:10], Book.objects.values("id"), Book.objects.values_list("id", flat=True)):
        assert type(queryset).__name__ == "BookQuerySet"
        assert queryset._result_cache is None


async def test_chainable_methods_filter_order_and_slice() -> None:
    await authors()
    chain = Author.objects.filter(age__isnull=False).exclude(name="nobody").order_by("-id")[:10]
    assert [author.name for author in await chain.alist()] == ["bob", "admin"]
    assert await Author.objects.order_by("id").values("name", "age")[:1].alist() == [
        {"name": "admin", "age": 30}
    ]
    assert await Author.objects.order_by("id").values_list("name", flat=True).alist() == [
        "admin",
        "bob",
        "cyd",
    ]


async def test_related_objects_come_along() -> None:
    author = await Author.objects.acreate(name="bob")
    book = await Book.objects.acreate(title="t", author=author)
    await book.tags.aadd(await Tag.objects.acreate(label="x"))
    found = await Book.objects.select_related("author").prefetch_related("tags").aget()
    assert (found.author.name, [tag.label for tag in found.tags.all()]) == ("bob", ["x"])
    assert (await Book.objects.only("title").aget()).get_deferred_fields() >= {"price", "meta"}
    assert (await Book.objects.defer("meta").aget()).get_deferred_fields() == {"meta"}


# 3: terminals


async def test_terminals() -> None:
    await authors()
    active = Author.objects.filter(age__isnull=False).order_by("id")
    assert (await active.aget(name="bob")).age == 20
    assert (await active.afirst()).name == "admin"
    assert (await active.alast()).name == "bob"
    assert await active.filter(age=1).afirst() is None
    assert await active.filter(age=1).alast() is None
    assert await active.acount() == 2
    assert await active.aexists() is True
    assert [author.name for author in await active.alist()] == ["admin", "bob"]
    assert (await active.acreate(name="dot", age=5)).pk is not None
    assert await active.aupdate(age=7) == 3
    assert [author.age async for author in active] == [7, 7, 7]
    assert await active.adelete() == (3, {"library.Author": 3})
    assert [author.name async for author in Author.objects.all()] == ["cyd"]


async def test_aget_raises_what_django_raises() -> None:
    await authors()
    with pytest.raises(Author.DoesNotExist):
        await Author.objects.aget(id=999)
    with pytest.raises(Author.MultipleObjectsReturned):
        await Author.objects.aget(id__gt=0)


# 4: the manager has them too


async def test_manager_shortcuts() -> None:
    await authors()
    assert (await Author.objects.aget(name="bob")).name == "bob"
    assert (await Author.objects.afirst()).name == "admin"
    assert (await Author.objects.alast()).name == "cyd"
    assert await Author.objects.acount() == 3
    assert await Author.objects.aexists() is True
    assert len(await Author.objects.alist()) == 3
    assert (await Author.objects.acreate(name="new")).name == "new"
    assert await Author.objects.aupdate(age=1) == 4
    assert [author.age async for author in Author.objects] == [1, 1, 1, 1]
    assert (await Author.objects.adelete())[0] == 4


CHAINABLE = (
    "all filter exclude order_by select_related prefetch_related only defer distinct values values_list"
)


@pytest.mark.parametrize("name", CHAINABLE.split())
def test_manager_has_the_chainable_methods(name: str) -> None:
    arguments = ["groups"] if name.endswith("related") else []
    assert isinstance(getattr(Author.objects, name)(*arguments), AsyncQuerySet)


# 5: SQL from Django's own compiler


async def test_the_sql_is_that_of_djangos_compiler() -> None:
    queryset = Author.objects.filter(age__gt=3).order_by("-id")[:10]
    seen: list[Any] = []

    def remember(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(remember):
        await queryset.alist()
    assert seen == [queryset.query.sql_with_params()]


# 6: real async I/O


async def test_the_loop_goes_on_while_a_query_runs() -> None:
    query = asyncio.ensure_future(run_sync(sleep, 30))
    for _ in range(10):
        await asyncio.sleep(0.005)
    assert not query.done()
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query


async def test_queries_run_on_psycopgs_async_connections() -> None:
    await authors()
    assert isinstance(pool(), AsyncConnectionPool)
    assert all(isinstance(conn, AsyncConnection) for conn in pool()._pool)
    before = pool().get_stats()["requests_num"]  # also for Django to set the new connection up
    for _ in range(3):
        await Author.objects.acount()
    assert pool().get_stats()["requests_num"] == before + 3


# 7: pooling


async def test_each_query_returns_its_connection_to_the_pool() -> None:
    assert await Author.objects.acount() == 0
    first = await run_sync(backend_pid)
    assert await run_sync(backend_pid) == first
    assert len(pool()._pool) == pool()._nconns == 1


async def test_a_hundred_requests_do_not_fight_over_one_connection() -> None:
    counts = await asyncio.gather(*(Author.objects.acount() for _ in range(100)))
    assert counts == [0] * 100
    assert 1 < pool()._nconns <= 20


# 8: django-async-backend's own pool


@needs_async_backend
async def test_the_backends_own_pool_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_async_backend.db import async_connections

    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 5, "max_size": 20}}
    monkeypatch.setitem(async_connections.settings["default"], "OPTIONS", options)
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    pid = await run_sync(backend_pid)
    backends_pool = async_connections["default"].pool
    assert backends_pool is pool()
    conn = await backends_pool.getconn()
    try:
        cursor = await conn.execute("SELECT pg_backend_pid()")
        assert await cursor.fetchone() == (pid,)
    finally:
        await backends_pool.putconn(conn)


async def test_pool_options_of_the_database_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 3}}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    counts = await asyncio.gather(*(Author.objects.acount() for _ in range(30)))
    assert counts == [0] * 30
    assert (pool().warm_size, pool().max_size) == (1, 3)
    assert pool()._nconns <= 3


# 9: `turbo_orm.execution`


@pytest.mark.parametrize("verb", ["aget", "acount", "aupdate", "adelete", "aaggregate"])
async def test_every_query_goes_through_execution(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    async def run_sync(function: Any, *args: Any, **kwargs: Any) -> None:
        called.append(function.__name__)

    monkeypatch.setattr(execution, "run_sync", run_sync)
    with override_settings(TURBO_ORM={"PLANS": False}):
        await getattr(Author.objects, verb)()
    assert called == [verb[1:]]


# 10: versions


def test_the_metadata_says_python_3_10_and_django_4_2() -> None:
    text = (Path(turbo_orm.__file__).parents[1] / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.10"' in text
    assert '"Django>=4.2"' in text
    assert '"psycopg[binary,pool]>=3' in text


def test_names_of_the_readme() -> None:
    assert inspect.iscoroutinefunction(turbo_orm.AsyncQuerySet.alist)
    assert {"AsyncManager", "AsyncQuerySet"} <= set(turbo_orm.__all__)
