"""Prefetches of single objects, and what else Django gets through base managers: planned, and as Django's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import django
import pytest
from django.db.models import Manager, Prefetch, QuerySet, prefetch_related_objects
from django.test import override_settings

from tests.project.library.models import Author, Book, Contribution, Note, Person, Plain, Profile, Restaurant
from tests.runtime.plans.same import seen
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.base_manager import BaseManager
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")

#: What is done, and how many statements it takes; all of them have plans.
PLANNED: dict[str, tuple[Callable[[], Awaitable[Any]], int]] = {
    "a foreign key": (lambda: Book.objects.prefetch_related("author").alist(), 2),
    "one that is null": (lambda: Book.objects.prefetch_related("editor").alist(), 2),
    "further": (lambda: Book.objects.prefetch_related("author__profile").alist(), 3),
    "the other end of a key": (lambda: Author.objects.prefetch_related("profile").alist(), 2),
    "a key that is one to one": (lambda: Profile.objects.prefetch_related("author").alist(), 2),
    "a parent": (lambda: AsyncQuerySet(Restaurant).prefetch_related("place_ptr").alist(), 2),
    "keys that are UUIDs": (lambda: Person.everyone.prefetch_related("parent").alist(), 2),
    "rows of one's own": (
        lambda: Book.objects.prefetch_related(
            Prefetch("author", queryset=Author.objects.filter(age__gt=1).order_by("-age"))
        ).alist(),
        2,
    ),
    "parts of rows": (
        lambda: Book.objects.prefetch_related(
            Prefetch("author", queryset=Author.objects.only("name"))
        ).alist(),
        2,
    ),
    "with what belongs to them": (
        lambda: Contribution.objects.prefetch_related(
            Prefetch("book", queryset=Book.objects.select_related("author"))
        ).alist(),
        2,
    ),
    "of all kinds": (lambda: Note.objects.prefetch_related("target").alist(), 3),
    "again": (lambda: _refreshed(), 2),
    "again, in part": (lambda: _refreshed("name", "age"), 2),
    "what was deferred": (lambda: _deferred(), 2),
    "by a foreign key, in sync code": (
        lambda: run_sync(lambda: [book.author.name for book in Book.objects.all()]),
        5,
    ),
}


#: Content types have a manager, and a cache, of their own. Before Django 5.2 there is None among the keys.
UNCERTAIN = {"of all kinds"}
if django.VERSION < (5, 2):
    UNCERTAIN |= {"one that is null", "keys that are UUIDs"}


async def _refreshed(*names: str) -> Any:
    author = await Author.objects.aget(pk=1)
    author.name = "changed"
    await author.arefresh_from_db(fields=names or None)
    return author


async def _deferred() -> Any:
    author = await Author.objects.only("pk").aget(pk=1)
    return await author.afetch("name")


def _seen(found: Any) -> Any:
    return [seen(each) for each in found] if isinstance(found, list) else seen(found)


@pytest.mark.parametrize("name", PLANNED)
async def test_planned(name: str) -> None:
    do, count = PLANNED[name]
    with override_settings(TURBO_ORM={"PLANS": False}):
        with capture_queries() as expected_queries:
            await do()
        expected = _seen(await do())
    for _ in range(2):
        same = Verified.same
        assert _seen(await do()) == expected
        if name not in UNCERTAIN:
            assert Verified.same == same + count
    with capture_queries() as queries:
        await do()
    assert sorted(query["sql"] for query in queries) == sorted(query["sql"] for query in expected_queries)


async def test_two_at_the_same_time() -> None:
    for _ in range(3):
        books = await Book.objects.filter(editor__isnull=False).prefetch_related("author", "editor").alist()
        assert [(book.author.name, book.editor.name) for book in books if book.editor] == [
            ("Ada", "Bob"),
            ("Bob", "Bob"),
        ]


async def test_no_keys() -> None:
    assert any(book.editor for book in await Book.objects.prefetch_related("editor").alist())
    await Book.objects.aupdate(editor=None)
    for _ in range(3):
        books = await Book.objects.prefetch_related("editor").alist()
        assert [book.editor for book in books] == [None] * 4


async def test_other_lists_of_keys() -> None:
    """One plan for all lengths, and for keys of another type."""
    for keys in ([1], [1, 2], [3, 1, 2], [2]):
        same = Verified.same
        books = await Book.objects.filter(author__in=keys).prefetch_related("author").alist()
        assert {book.author.pk for book in books} == {*keys}
        assert Verified.same == same + 2


async def test_keys_of_another_type() -> None:
    """Django does not find what it has loaded then."""
    for plans in (False, True, True):
        with override_settings(TURBO_ORM={"PLANS": plans}):
            book = Book(pk=1, author_id="1")
            await run_sync(prefetch_related_objects, [book], "author")
            with pytest.raises(Author.DoesNotExist):
                assert book.author


@pytest.mark.skipif(django.VERSION < (5, 0), reason="Django before 5.0 has no querysets for single objects")
async def test_slices_are_refused_as_by_django() -> None:
    for plans in (False, True, True):
        rows = Book.objects.prefetch_related(Prefetch("author", queryset=Author.objects.all()[:2]))
        with override_settings(TURBO_ORM={"PLANS": plans}), pytest.raises(TypeError, match="once a slice"):
            await rows.alist()


def test_base_managers() -> None:
    manager: Any = Author._base_manager
    assert type(manager) is BaseManager
    assert manager is Author._meta.base_manager
    assert (manager.name, manager.model, manager.auto_created) == ("_base_manager", Author, True)
    assert type(Plain._base_manager) is Manager  # its model has no AsyncManager
    # Sync code has Django's querysets.
    assert type(manager.all()) is type(manager.using("default")) is QuerySet


async def test_base_managers_in_async_code() -> None:
    manager: Any = Author._base_manager
    for rows in (manager.all(), await run_sync(lambda: manager.db_manager("default", hints={"x": 1}).all())):
        assert type(rows) is AsyncQuerySet
    assert (await manager.aget(pk=1)).name == "Ada"
