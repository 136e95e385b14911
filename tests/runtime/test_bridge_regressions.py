"""Bugs found by running Django's own tests through the runtime (`dev.py conformance`)."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.db import connection
from django.db.models import Model

from tests.project.library.models import Author, Book, BookQuerySet, Person, Plain, Tag
from tests.runtime.support import assert_pool_is_clean, query
from turbo_orm import AsyncQuerySet, on_commit, run_sync
from turbo_orm.errors import BridgeError


def test_migrations_can_name_a_manager_made_by_as_manager():
    assert BookQuerySet.as_manager().deconstruct() == (
        True,
        None,
        "tests.project.library.models.BookQuerySet",
        None,
        None,
    )


class Backwards(AsyncQuerySet):
    def __iter__(self) -> Iterator[Any]:
        return iter(list(super().__iter__())[::-1])


async def test_alist_honours_an_overridden_iter():
    for label in ("a", "b", "c"):
        await Tag.objects.acreate(label=label)
    rows = Backwards(Tag).order_by("label")
    assert [tag.label for tag in await rows.alist()] == ["c", "b", "a"]


@pytest.mark.skipif(django.VERSION < (5, 1), reason="Django 5.1 brought the shortcut")
@pytest.mark.parametrize(("name", "expected"), [("count", 2), ("exists", True)])
async def test_counting_a_many_to_many_relation_does_not_join(name: str, expected: object):
    author = await Author.objects.acreate(name="Ann")
    book = await Book.objects.acreate(title="Title", author=author)
    await book.tags.aset([await Tag.objects.acreate(label=label) for label in ("a", "b")])

    def sync() -> Any:
        return getattr(book.tags, name)()

    statements: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        assert await run_sync(sync) == expected
        assert await getattr(book.tags, f"a{name}")() == expected
    assert len(statements) == 2
    assert not [sql for sql in statements if "JOIN" in sql]


async def test_counting_through_a_filtering_manager_counts_what_it_shows():
    ann = await Person.everyone.acreate(name="Ann")
    await ann.friends.aset([await Person.everyone.acreate(name="Bob", alive=False)])
    assert await ann.friends.acount() == 1
    assert await ann.friends(manager="living").acount() == 0


@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
async def test_an_abandoned_iterator_found_by_the_garbage_collector(monkeypatch: pytest.MonkeyPatch):
    # Switching greenlets inside a collection crashed Python; and the cursor, gone from memory, was
    # still open on the connection when the next operation got it.
    ignored: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: ignored.append(unraisable.exc_value))
    await Tag.objects.abulk_create([Tag(label=f"tag-{number}") for number in range(9)])

    def abandon() -> None:
        rows = Tag.objects.iterator(chunk_size=2)
        next(rows)
        cycle: list[Any] = [rows]
        cycle.append(cycle)

    def work() -> int:
        abandon()
        gc.collect()
        return len(Tag.objects.all())

    for _ in range(2):
        assert await asyncio.gather(*[run_sync(work) for _ in range(2)]) == [9, 9]
    assert len(ignored) == 4
    assert {type(exc) for exc in ignored} == {BridgeError}
    assert "garbage collector" in str(ignored[0])
    await assert_pool_is_clean()
    open_cursors = "SELECT count(*) FROM pg_cursors WHERE name LIKE '_django_curs%%'"
    assert await run_sync(query, open_cursors, []) == [(0,)]


async def test_on_commit_refuses_what_can_not_be_called():
    with pytest.raises(TypeError, match="must be a callable"):
        await on_commit(None)  # type: ignore[arg-type]


async def test_an_error_of_awaited_user_code_keeps_its_traceback():
    async def receiver() -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        await run_sync(async_to_sync(receiver))
    assert [entry.name for entry in caught.traceback][-1] == "receiver"


async def test_django_warns_of_the_caller_of_a_model_without_async_manager():
    assert iscoroutinefunction(Model.asave)
    coroutine = Plain().asave()
    assert coroutine.cr_code.co_filename == inspect.getfile(Model)
    coroutine.close()
