"""Database backends of other packages, and what replaces methods of Django: all statements pass them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.postgresql.base import Cursor
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.db.models import Prefetch, QuerySet
from django.test import override_settings

from tests.project.backends.commits.base import ended
from tests.project.backends.tenants.base import tenant
from tests.project.library.models import Author, Book, Migrated, Tag
from turbo_orm import atomic, batch, run_sync
from turbo_orm.bridge.cursors import has_djangos
from turbo_orm.execution import reading_in_bridge

TENANTS = ("public", "one", "two")


@pytest.fixture
def tenants(django_databases: None) -> Iterator[str]:
    """An alias of the default database with a schema for each tenant, in which a row has its name."""
    with connection.cursor() as cursor:
        for name in TENANTS[1:]:
            cursor.execute(f"CREATE SCHEMA {name}")
            table = f"{name}.library_migrated"
            cursor.execute(f"CREATE TABLE {table} (LIKE public.library_migrated INCLUDING ALL)")
        for name in TENANTS:
            cursor.execute(f"INSERT INTO {name}.library_migrated (name) VALUES ('{name}')")
    connections.settings["tenants"] = {
        **connections["default"].settings_dict,
        "ENGINE": "tests.project.backends.tenants",
    }
    yield "tenants"
    del connections.settings["tenants"]
    with connection.cursor() as cursor:
        for name in TENANTS[1:]:
            cursor.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.mark.parametrize("multiplex", [False, True])
async def test_a_backend_that_prepares_each_cursor(tenants: str, multiplex: bool) -> None:
    with override_settings(TURBO_ORM={"MULTIPLEX": multiplex}):
        for name in TENANTS * 3:
            tenant.set(name)
            rows = Migrated.objects.using(tenants)
            names = rows.values_list("name", flat=True)
            assert (await rows.aget()).name == name
            assert await names.all().alist() == [name]
            assert [row.name async for row in rows.aiterator()] == [name]
            assert await run_sync(list, names.all()) == [name]
            assert await batch(names.all(), rows.acount()) == ([name], 1)
            assert await rows.filter(name=name).aupdate(name=name) == 1
            async with atomic(tenants):
                row = await rows.acreate(name="new")
                assert await names.order_by("pk").alist() == [name, "new"]
                row.name = "newer"
                await row.asave()
                await row.adelete()
            made = await rows.abulk_create([Migrated(name="a"), Migrated(name="b")])
            await rows.abulk_update(made, ["name"])
            assert await rows.exclude(name=name).adelete() == (2, {"library.Migrated": 2})


@pytest.fixture
def djangos_engine() -> Iterator[Any]:
    """Django's engine, for methods to be replaced in it: whether they are is asked once for each."""
    yield type(connections["default"])
    has_djangos.cache_clear()


async def test_a_backend_that_names_its_cursors_to_the_connection(
    djangos_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Django 4.2.0 does; its later ones put them among the parameters."""

    class Named(Cursor):
        pass

    connect, params = djangos_engine.get_new_connection, djangos_engine.get_connection_params

    def named(self: Any, conn_params: Any) -> Any:
        conn = connect(self, conn_params)
        conn.cursor_factory = Named
        return conn

    def without(self: Any) -> dict[str, Any]:
        return {name: value for name, value in params(self).items() if name != "cursor_factory"}

    def cursor_class() -> type:
        with connection.cursor() as cursor:
            return type(cursor.cursor)

    monkeypatch.setattr(djangos_engine, "get_new_connection", named)
    monkeypatch.setattr(djangos_engine, "get_connection_params", without)
    assert await run_sync(cursor_class) is Named
    assert await Migrated.objects.acount() == 0


async def test_many_tenants_at_once(tenants: str) -> None:
    async def look(name: str) -> list[str]:
        tenant.set(name)
        async with atomic(tenants):
            return await Migrated.objects.using(tenants).values_list("name", flat=True).alist()

    names = list(TENANTS * 5)
    assert await asyncio.gather(*map(look, names)) == [[name] for name in names]


async def test_each_operation_tells_receivers_of_its_connection(tenants: str) -> None:
    """docs/deployment.md: what they set on the object, as the tenant, is that of the task."""
    current: ContextVar[str] = ContextVar("current", default="")

    def use_tenant(connection: Any, **kwargs: Any) -> None:
        if connection.alias == tenants and (name := current.get()):
            connection.tenant = name

    async def look(name: str) -> None:
        current.set(name)
        for _ in range(3):
            assert await run_sync(see) == name
            async with atomic(tenants):
                assert await run_sync(see) == name
                await Migrated.objects.using(tenants).acount()
                assert await run_sync(see) == name
            await asyncio.sleep(0)

    def see() -> Any:
        Migrated.objects.using(tenants).count()
        return getattr(connections[tenants], "tenant", None)

    connection_created.connect(use_tenant)
    try:
        await asyncio.gather(*map(look, TENANTS * 3))
    finally:
        connection_created.disconnect(use_tenant)


async def test_receivers_are_told_once(django_databases: None) -> None:
    told: list[Any] = []

    def note(connection: Any, **kwargs: Any) -> None:
        told.append(connection)

    for _ in range(3):
        await Migrated.objects.acount()
    connection_created.connect(note)
    try:
        await Migrated.objects.acount()
        async with atomic():
            await Migrated.objects.acount()
        assert len(told) == 2
    finally:
        connection_created.disconnect(note)


async def test_a_backend_that_takes_part_in_the_ends_of_blocks(django_databases: None) -> None:
    connections.settings["commits"] = {
        **connections["default"].settings_dict,
        "ENGINE": "tests.project.backends.commits",
    }
    try:
        for _ in range(2):
            async with atomic("commits"):
                await Migrated.objects.using("commits").acreate(name="a")
            with suppress(ZeroDivisionError):
                async with atomic("commits"):
                    await Migrated.objects.using("commits").acreate(name="b")
                    raise ZeroDivisionError
        assert ended == ["commit", "rollback"] * 2
        assert await Migrated.objects.using("commits").acount() == 2
    finally:
        del connections.settings["commits"]


async def test_cursors_that_others_have_replaced_see_all_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    execute = CursorWrapper.execute

    @wraps(execute)
    def noting(self: Any, sql: str, params: Any = None) -> Any:
        seen.append(sql.partition(" ")[0])
        return execute(self, sql, params)

    async def work() -> None:
        row = await Migrated.objects.acreate(name="a")
        async with atomic():
            assert await Migrated.objects.acount() == 1
            await row.adelete()

    for _ in range(3):
        await work()
    assert seen == []
    monkeypatch.setattr(CursorWrapper, "execute", noting)
    for _ in range(2):
        await work()
    assert seen == ["INSERT", "SELECT", "DELETE"] * 2
    with override_settings(TURBO_ORM={"WIRE": "always"}):
        await work()
    assert len(seen) == 6
    monkeypatch.undo()
    await work()
    assert len(seen) == 6


async def test_bulk_create_that_others_have_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    bulk_create: Any = QuerySet.bulk_create

    @wraps(bulk_create)
    def noting(self: Any, objs: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(len(objs))
        return bulk_create(self, objs, *args, **kwargs)

    async def work() -> None:
        await Migrated.objects.abulk_create([Migrated(name="a"), Migrated(name="b")])
        await run_sync(Migrated.objects.bulk_create, [Migrated(name="c") for _ in range(3)])

    for _ in range(3):
        await work()
    monkeypatch.setattr(QuerySet, "bulk_create", noting)
    await work()
    assert made == [2, 3]


@pytest.mark.parametrize("name", ["count", "exists", "delete"])
def test_methods_that_others_have_replaced_in_sync_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuerySet, name, lambda self: "replaced")
    assert getattr(Migrated.objects.all(), name)() == "replaced"


def test_methods_that_others_had_replaced_before_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions have other names than the method where `functools.wraps()` was not used."""
    in_bulk = QuerySet.in_bulk
    monkeypatch.setattr(QuerySet, "in_bulk", lambda self, *args, **kwargs: in_bulk(self, *args, **kwargs))
    method = reading_in_bridge("in_bulk", QuerySet.in_bulk)
    assert method(Migrated.objects.none()) == {}


async def test_clones_have_what_others_keep_in_querysets(monkeypatch: pytest.MonkeyPatch) -> None:
    """strawberry-django and django-cacheops replace ``QuerySet._clone`` like this."""
    clone_of_django: Any = QuerySet._clone  # type: ignore[attr-defined]

    def clone(self: Any) -> Any:
        if getattr(self, "in_place", False):
            return self
        made = clone_of_django(self)
        made.kept = getattr(self, "kept", None)
        return made

    def mark(rows: Any) -> Any:
        rows.kept = "kept"
        return rows

    monkeypatch.setattr(QuerySet, "_clone", clone)
    for number in range(4):
        name = f"a{number}"
        migrated = await Migrated.objects.acreate(name=name)
        rows = mark(Migrated.objects.all()).filter(name=name).exclude(name="").order_by("name")
        assert rows.kept == rows.all()[:5].kept == rows.values("name").kept == "kept"
        assert Migrated.objects.filter(name=name).kept is None
        assert await rows.alist() == [migrated]
        assert (rows._planned is None) == (number == 0)
        assert await rows.acount() == await run_sync(rows.count) == 1

        rows = rows.all()
        rows.in_place = True
        assert rows.exclude(name=name) is rows
        assert await run_sync(rows.in_bulk) == {}
        assert await run_sync(rows.count) == await rows.acount() == 0
        assert str(rows.query).count(f"= {name}") == 2


async def test_clones_by_others_forget_which_joins_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first filter after that of a related manager is about the same row of the join table."""
    clone_of_django: Any = QuerySet._clone  # type: ignore[attr-defined]
    monkeypatch.setattr(QuerySet, "_clone", lambda self: clone_of_django(self))
    author = await Author.objects.acreate(name="A")
    tag = await Tag.objects.acreate(label="t")
    books = [await Book.objects.acreate(author=author, title=title, price=1) for title in "ab"]
    for book in books:
        await book.tags.aadd(tag)
    for _ in range(4):
        every: Any = Tag.objects.all()
        # As a related manager does it, since Django 6.1 without a clone.
        tags = every._next_is_sticky().filter(books=books[0])
        assert await tags.filter(books__title="a").filter(books__title="b").alist() == [tag]


async def test_prefetched_rows_have_what_others_keep_in_querysets(monkeypatch: pytest.MonkeyPatch) -> None:
    clone_of_django: Any = QuerySet._clone  # type: ignore[attr-defined]

    def clone(self: Any) -> Any:
        made = clone_of_django(self)
        made.kept = getattr(self, "kept", None)
        return made

    monkeypatch.setattr(QuerySet, "_clone", clone)
    author = await Author.objects.acreate(name="A")
    book = await Book.objects.acreate(author=author, title="B", price=1)
    for _ in range(4):
        books: Any = Book.objects.filter(price=1)
        books.kept = "kept"
        for prefetched in (
            await Author.objects.prefetch_related(Prefetch("books", books)).aget(),
            await run_sync(Author.objects.prefetch_related(Prefetch("books", books)).get),
        ):
            rows: Any = prefetched.books.all()
            assert (list(rows), rows.kept) == ([book], "kept")
