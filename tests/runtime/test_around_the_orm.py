"""What surrounds the ORM keeps working: logging, forms, migrations, sync code on the same models."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import call_command
from django.db import connection, connections, migrations, models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ModelState, ProjectState
from django.forms import ModelForm, modelformset_factory
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext

from tests.project.library.models import Author, Book, Migrated, MigratedManager, Tag
from tests.runtime.support import assert_pool_is_clean, backend_pid, query
from turbo_orm import AsyncManager, atomic, run_sync


@pytest.mark.parametrize("in_block", [False, True])
async def test_execute_wrapper(in_block: bool):
    calls: list[tuple[str, bool]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        calls.append((sql.split(maxsplit=1)[0], context["connection"].alias == "default"))
        return execute(sql, params, many, context)

    async def work() -> None:
        await Tag.objects.acreate(label="x")
        await asyncio.gather(Tag.objects.acount(), Tag.objects.aexists())

    with connection.execute_wrapper(note):
        async with atomic() if in_block else nullcontext():
            await work()
    await Tag.objects.acount()
    assert calls == [("INSERT", True), ("SELECT", True), ("SELECT", True)]


async def test_a_blocking_execute_wrapper():
    def block(*args: Any) -> None:
        raise LookupError("no queries here")

    with connection.execute_wrapper(block), pytest.raises(LookupError, match="no queries here"):
        await Tag.objects.acount()
    assert await Tag.objects.acount() == 0


@pytest.mark.parametrize("in_block", [False, True])
async def test_connection_queries_under_debug(in_block: bool):
    connection.queries_log.clear()
    with override_settings(DEBUG=True):
        async with atomic() if in_block else nullcontext():
            await Tag.objects.acreate(label="x")
        await asyncio.gather(Tag.objects.acount(), Tag.objects.aexists())
        kinds = [each["sql"].split()[0] for each in connection.queries]
    expected = ["INSERT", "SELECT", "SELECT"]
    assert kinds == (["BEGIN", *expected[:1], "COMMIT", *expected[1:]] if in_block else expected)
    await Tag.objects.acount()
    assert len(connection.queries) == len(kinds), "nothing is logged without DEBUG"
    connection.queries_log.clear()


class TagForm(ModelForm):
    class Meta:
        model = Tag
        fields = ["label"]


class BookForm(ModelForm):
    class Meta:
        model = Book
        fields = ["title", "author", "tags", "price", "meta", "marks"]


async def test_forms():
    def save(form_class: Any, data: Any) -> Any:
        form = form_class(data)
        return form.save() if form.is_valid() else form.errors

    tag = await run_sync(save, TagForm, {"label": "x"})
    assert await Tag.objects.aget(label="x") == tag
    errors = await run_sync(save, TagForm, {"label": "x"})
    assert errors == {"label": ["Tag with this Label already exists."]}
    author = await Author.objects.acreate(name="a")
    data = {
        "title": "b",
        "author": author.pk,
        "tags": [tag.pk],
        "price": "1",
        "meta": '{"a": 1}',
        "marks": "1,2",
    }
    with pytest.raises(LookupError):
        async with atomic():
            book = await run_sync(save, BookForm, data)
            assert [each.label async for each in book.tags.all()] == ["x"]
            raise LookupError
    assert await Book.objects.acount() == 0
    book = await run_sync(save, BookForm, data)
    assert (book.marks, await book.tags.acount()) == ([1, 2], 1)


async def test_formsets():
    await Tag.objects.abulk_create([Tag(label=str(number)) for number in range(3)])

    def rename() -> int:
        formset_class = modelformset_factory(Tag, form=TagForm, extra=0)
        ids = list(Tag.objects.order_by("pk").values_list("pk", flat=True))
        data = {"form-TOTAL_FORMS": "3", "form-INITIAL_FORMS": "3"}
        for index, pk in enumerate(ids):
            data |= {f"form-{index}-id": str(pk), f"form-{index}-label": f"new-{index}"}
        formset = formset_class(data, queryset=Tag.objects.order_by("pk"))
        assert formset.is_valid(), formset.errors
        return len(formset.save())

    assert await run_sync(rename) == 3
    assert await Tag.objects.filter(label__startswith="new-").acount() == 3


async def test_admin_style_code():
    await Tag.objects.abulk_create([Tag(label=str(number)) for number in range(3)])
    model_admin = admin.ModelAdmin(Tag, admin.AdminSite())
    request = RequestFactory().get("/")

    def use() -> tuple[int, str]:
        found = model_admin.get_queryset(request)
        model_admin.save_model(request, Tag(label="made"), form=None, change=False)
        model_admin.delete_queryset(request, found.filter(label="0"))
        return found.count(), str(model_admin.get_object(request, str(found.get(label="1").pk)).label)

    assert await run_sync(use) == (3, "1")
    assert [tag.label async for tag in Tag.objects.order_by("label")] == ["1", "2", "made"]


async def test_management_commands():
    await Tag.objects.acreate(label="x")
    from io import StringIO

    out = StringIO()
    await run_sync(call_command, "dumpdata", "library.Tag", stdout=out)
    assert '"label": "x"' in out.getvalue()


def test_sync_code_on_the_same_models(django_databases: None):
    """Sync, then async, then sync again, in one process."""
    with CaptureQueriesContext(connection) as queries:
        tag = Tag.objects.create(label="sync")
        assert [each.label for each in Tag.objects.all()] == ["sync"]
        assert list(Tag.objects.iterator()) == [tag]
    assert len(queries) == 3

    async def use() -> int:
        found = await Tag.objects.aget(label="sync")
        assert found == tag
        with pytest.raises(SynchronousOnlyOperation):
            Tag.objects.count()
        found.label = "async"
        await found.asave()
        return await Tag.objects.acount()

    assert asyncio.run(use()) == 1
    tag.refresh_from_db()
    assert tag.label == "async"
    author = Author.objects.create(name="a")
    author.books.create(title="b")
    assert Author.objects.prefetch_related("books").get().books.all()[0].title == "b"
    tag.delete()


@pytest.mark.threads
async def test_sync_code_in_a_thread_beside():
    """Of a thread that asgiref has nothing to do with. Its connection is its own, as without us."""

    def count() -> tuple[int, int, int]:
        try:
            return Tag.objects.count(), backend_pid(), threading.get_ident()
        finally:
            connections.close_all()

    async with atomic():
        await Tag.objects.acreate(label="x")
        seen, pid, thread = await asyncio.to_thread(count)
        assert seen == 0
        assert pid != await run_sync(backend_pid)
        assert thread != threading.get_ident()
    assert (await asyncio.to_thread(count))[0] == 1
    await assert_pool_is_clean()


def _state() -> ProjectState:
    state = ProjectState()
    state.add_model(ModelState.from_model(Migrated))
    return state


def test_managers_in_migrations():
    managers = _state().models["library", "migrated"].managers
    assert [(name, type(manager)) for name, manager in managers] == [("objects", MigratedManager)]
    historical: Any = _state().apps.get_model("library", "Migrated")
    assert isinstance(historical.objects, MigratedManager)
    assert MigrationAutodetector(_state(), _state())._detect_changes() == {}


class First(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Harbour",
            [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=50))],
            managers=[("objects", MigratedManager())],
        )
    ]


def _fill(apps: Any, schema_editor: Any) -> None:
    model = apps.get_model("library", "Harbour")
    assert isinstance(model.objects, AsyncManager)
    model.objects.create(name="made by a migration")


class Second(migrations.Migration):
    dependencies = [("library", "first")]
    operations = [
        migrations.RunPython(_fill, migrations.RunPython.noop),
        migrations.AddField("Harbour", "deep", models.BooleanField(default=False)),
    ]


def _migrate() -> list[Any]:
    """Forwards, look, and backwards, as `migrate` does."""
    executor = MigrationExecutor(connection)
    for name, migration in (("first", First), ("second", Second)):
        key = ("library", name)
        executor.loader.graph.add_node(key, migration(name, "library"))
        executor.loader.disk_migrations[key] = executor.loader.graph.nodes[key]
    executor.loader.graph.add_dependency(None, ("library", "second"), ("library", "first"))
    state = executor.migrate([("library", "second")])
    harbours = list(state.apps.get_model("library", "Harbour").objects.values_list("name", "deep"))
    executor.loader.applied_migrations = executor.recorder.applied_migrations()
    executor.migrate([("library", None)])
    query_left = "SELECT count(*) FROM pg_class WHERE relname = 'library_harbour'"
    assert query(query_left) == [(0,)]
    return harbours


def test_migrations_in_sync_code(django_databases: None):
    assert _migrate() == [("made by a migration", False)]


async def test_migrations_in_the_bridge():
    assert await run_sync(_migrate) == [("made by a migration", False)]
    await assert_pool_is_clean()
