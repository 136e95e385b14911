"""Prefetched foreign keys on plans: outside of the bridge, and only where that is the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import DO_NOTHING, CharField, ForeignKey, Manager, Model, Prefetch, QuerySet
from django.test.utils import isolate_apps

from tests.project.library.models import Author, Book, Note, Person, Plain, Profile
from turbo_orm import run_sync
from turbo_orm.execution import aprefetch_related_objects
from turbo_orm.fetch_modes import FETCH_PEERS
from turbo_orm.manager import AsyncManager
from turbo_orm.plans import shapes
from turbo_orm.plans.keys import ARE_TUPLES
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.skipif(
    not ARE_TUPLES, reason="Django before 5.2 prefetches these with ordinary filters"
)


@pytest.fixture(autouse=True)
async def _books() -> None:
    authors = [await Author.objects.acreate(name=name) for name in ("a", "b")]
    for number in range(3):
        editor = authors[0] if number else None
        await Book.objects.acreate(title=f"b{number}", author=authors[number % 2], editor=editor)


def books() -> Any:
    return Book.objects.order_by("title")


async def authors(rows: Any, name: str = "author") -> list[Any]:
    return [getattr(getattr(book, name), "name", None) for book in await rows.alist()]


EXPECTED = ["a", "b", "a"]


async def test_outside_of_the_bridge_once_the_shape_is_known(by_django: list[str]) -> None:
    for _ in range(3):
        assert await authors(books().prefetch_related("author")) == EXPECTED
        assert await authors(books().prefetch_related("editor"), "editor") == [None, "a", "a"]
    by_django.clear()
    assert await authors(books().prefetch_related("author")) == EXPECTED
    assert await authors(books().prefetch_related("editor"), "editor") == [None, "a", "a"]
    assert by_django == []


async def test_what_is_left_behind() -> None:
    seen = []
    for _ in range(4):
        found = await books().prefetch_related("author").alist()
        assert found[0].author is found[2].author
        assert found[0].author is not found[1].author
        assert found[0].author._state.db == "default"
        seen.append([(vars(book).keys(), book._state.fields_cache.keys()) for book in found])
        assert all(book._prefetched_objects_cache == {} for book in found)
    assert all(each == seen[0] for each in seen)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("some have it", "author"),
        ("its key was deferred", "author"),
        ("of several models", "author"),
        ("the other end of a key", "profile"),
        ("a generic one", "target"),
        ("a base manager of a project", "parent"),
        ("a model without AsyncManager", "author"),
    ],
)
async def test_left_to_django(case: str, name: str, by_django: list[str], monkeypatch: Any) -> None:
    author = await Author.objects.aget(name="a")
    await Profile.objects.acreate(author=author)
    await Note.objects.acreate(text="x", target=author)
    await run_sync(Plain.objects.create, name="x", author=author)
    parent = await Person.everyone.acreate(name="x")
    await Person.everyone.acreate(name="y", parent=parent)
    rows: Any = {
        "its key was deferred": books().defer("author"),
        "the other end of a key": Author.objects.order_by("name"),
        "a generic one": Note.objects.order_by("pk"),
        "a base manager of a project": Person.everyone.order_by("name"),
    }.get(case, books())
    found = await rows.alist()
    if case == "some have it":
        await found[0].afetch("editor")
        found[1].author = author
    elif case == "of several models":
        found.append(await run_sync(Plain.objects.get))
    elif case == "a base manager of a project":
        monkeypatch.setattr(Person._meta, "base_manager_name", "living")
        Person._meta._expire_cache()
    elif case == "a model without AsyncManager":
        monkeypatch.setitem(vars(Author._meta), "base_manager", _plain_manager())
    await aprefetch_related_objects(found, name)
    assert by_django == [name]
    Person._meta._expire_cache()
    first = name.partition("__")[0]
    assert all(first in each._state.fields_cache or first in each._prefetched_objects_cache for each in found)


def _plain_manager() -> Any:
    manager: Any = Manager()
    vars(manager).update(name="_base_manager", model=Author, auto_created=True)
    return manager


@pytest.mark.usefixtures("at_once")
async def test_keys_that_nothing_has(by_django: list[str]) -> None:
    found = await books().alist()
    found[0].author_id = 10**6
    await aprefetch_related_objects(found, "author")
    assert found[0]._state.fields_cache["author"] is None
    assert found[1].author.name == "b"
    found = await books().filter(editor__isnull=True).alist()
    await aprefetch_related_objects(found, "editor")
    assert found[0].editor is None
    assert by_django == ["editor"]  # there are no keys


@pytest.mark.usefixtures("at_once")
async def test_fetch_modes(by_django: list[str]) -> None:
    found = await books().fetch_mode(FETCH_PEERS).alist()
    await aprefetch_related_objects(found, "author")
    assert [book.author.name for book in found] == EXPECTED
    assert by_django == ["author"]


@pytest.mark.usefixtures("at_once")
async def test_in_sync_code() -> None:
    found = await run_sync(lambda: list(books().prefetch_related("author")))
    assert [book.author.name for book in found] == EXPECTED


@pytest.mark.parametrize(
    "deferring",
    [
        lambda rows: rows,
        lambda rows: rows.only("age"),
        lambda rows: rows.only("name"),
        lambda rows: rows.defer("name"),
        lambda rows: rows.defer("age"),
    ],
)
@isolate_apps("tests.project.library")
async def test_a_deferred_column_that_it_refers_to_is_asked_for_as_by_django(deferring: Any) -> None:
    """Row by row, and the rows themselves once."""

    class Named(Model):
        title = CharField(max_length=200)
        by = ForeignKey(
            Author, DO_NOTHING, to_field="name", db_column="title", db_constraint=False, related_name="+"
        )
        objects = AsyncManager()

        class Meta:
            app_label = "library"
            db_table = "library_book"

    for author in ("a", "b"):
        await Book.objects.filter(title__in=["b0", "b1"], author__name=author).aupdate(title=author)

    def prefetched(rows: Any, authors: Any) -> Any:
        lookup = Prefetch("by", deferring(authors.order_by("pk")))
        return rows.filter(title__in=["a", "b"]).order_by("title").prefetch_related(lookup)

    with capture_queries() as djangos:
        expected = await run_sync(
            lambda: [each.by.pk for each in prefetched(QuerySet(Named), QuerySet(Author))]
        )
    for _ in range(4):
        with capture_queries() as ours:
            found = await prefetched(Named.objects, Author.objects).alist()
        assert [each.by.pk for each in found] == expected
        assert len(ours) == len(djangos)


@pytest.fixture
def at_once() -> Any:
    shapes.build_at_once()
    yield
    shapes.build_at_once(False)
