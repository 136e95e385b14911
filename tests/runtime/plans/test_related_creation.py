"""What async code creates through related managers: as Django does, without the bridge where it can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import router
from django.db.models import F
from django.test import override_settings

from tests.project.library.models import Author, Book, Person, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import POOL, as_django
from turbo_orm import AsyncManager
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("at_once", "frozen_now", "verifying")


def _ada() -> Any:
    return Author(pk=1)


async def _with_prefetches(call: Callable[[Any], Awaitable[Any]]) -> Any:
    author = await Author.objects.prefetch_related("books").aget(pk=1)
    made = await call(author.books)
    created = made[1] if isinstance(made, tuple) else made.author is author
    return created, [book.title async for book in author.books.all()]


async def _tagged(call: Callable[[Any], Awaitable[Any]]) -> Any:
    return await call((await Book.objects.aget(pk=1)).tags)


async def _with_tags(call: Callable[[Any], Awaitable[Any]]) -> Any:
    book = await Book.objects.prefetch_related("tags").aget(pk=1)
    made = await call(book.tags)
    return made, sorted([tag.label async for tag in book.tags.all()])


async def _child(name: str) -> Any:
    eve = await Person.everyone.aget(name="Eve")
    made = await eve.children.acreate(pk=eve.pk.__class__(int=7), name=name)
    return made, made.parent is eve


#: What is called, and whether it needs no bridge; None if that depends on Django's version.
CALLS: dict[str, tuple[Callable[[], Awaitable[Any]], bool | None]] = {
    "create": (lambda: _ada().books.acreate(title="New", price=1), True),
    "create, with prefetches": (
        lambda: _with_prefetches(lambda books: books.acreate(title="New", price=1)),
        None,
    ),
    "create of another's": (lambda: _ada().books.acreate(title="New", author=Author(pk=2)), True),
    "create of an unsaved one's": (lambda: Author(name="x").books.acreate(title="New"), False),
    "create of nobody's": (lambda: Author(pk=999).books.acreate(title="New"), True),
    "create what is no field": (lambda: _ada().books.acreate(titel="New"), False),
    "create by position": (lambda: _ada().books.acreate("New"), False),
    "create with an expression": (lambda: _ada().books.acreate(title="New", price=F("pages")), False),
    "create, other manager": (lambda: _ada().books(manager="as_books").acreate(title="New"), True),
    "create what may be null": (lambda: _ada().edited.acreate(title="New", author=Author(pk=2)), True),
    "create a child": (lambda: _child("Abel"), None),
    "get": (lambda: _ada().books.aget_or_create(title="Algebra"), True),
    "get, with defaults": (lambda: _ada().books.aget_or_create({"price": 3}, title="Algebra"), False),
    "get, with named defaults": (
        lambda: _ada().books.aget_or_create(defaults={"price": 3}, title="Algebra"),
        True,
    ),
    "get another's": (lambda: Author(pk=2).books.aget_or_create(title="Algebra"), False),
    "get what is not there": (lambda: _ada().books.aget_or_create(title="New", defaults={"price": 3}), False),
    "get what is no field": (lambda: _ada().books.aget_or_create(titel="New"), False),
    "get, with prefetches": (
        lambda: _with_prefetches(lambda books: books.aget_or_create(title="Algebra")),
        None,
    ),
    "update": (lambda: _ada().books.aupdate_or_create(title="Algebra", defaults={"price": 3}), None),
    "update what is not there": (
        lambda: _ada().books.aupdate_or_create(title="New", defaults={"price": 3}),
        None,
    ),
    "update, by position": (lambda: _ada().books.aupdate_or_create({"price": 3}, title="Algebra"), False),
    "update with what new ones get": (
        lambda: _ada().books.aupdate_or_create(
            title="New", defaults={"price": 3}, create_defaults={"price": 4}
        ),
        None,
    ),
    "create a tag": (lambda: _tagged(lambda tags: tags.acreate(label="new")), True),
    "create a tag, with prefetches": (lambda: _with_tags(lambda tags: tags.acreate(label="new")), None),
    "create a tag that is there": (lambda: _tagged(lambda tags: tags.acreate(label="red")), True),
    "create a tag of one that is elsewhere": (lambda: Book(pk=1).tags.acreate(label="new"), False),
    "create a tag of an unsaved one": (lambda: Book().tags.acreate(label="new"), None),
    "create a contributor": (
        lambda: Book(pk=1).contributors.acreate(name="New", through_defaults={"role": "x"}),
        False,
    ),
    "create a contributor, no defaults": (lambda: Book(pk=1).contributors.acreate(name="New"), False),
    "create a book for a tag": (lambda: Tag(pk=1).books.acreate(title="New", author=_ada()), False),
    "get a tag": (lambda: Book(pk=1).tags.aget_or_create(label="red"), True),
    "get a tag of another": (lambda: Book(pk=999).tags.aget_or_create(label="red"), False),
    "get a new tag": (lambda: _tagged(lambda tags: tags.aget_or_create(label="new")), False),
    "update a tag": (lambda: Book(pk=1).tags.aupdate_or_create(label="red", defaults={"label": "x"}), None),
    "update a new tag": (
        lambda: Book(pk=1).tags.aupdate_or_create(label="new", defaults={"label": "x"}),
        None,
    ),
}


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("name", CALLS)
async def test_as_django(snapshot: Snapshot, name: str, in_block: bool, bridged: list[Any]):
    call, without_bridge = CALLS[name]
    did_without = await as_django(snapshot, call, bridged, in_block=in_block)
    if without_bridge is not None and not in_block:
        assert did_without is without_bridge


async def test_the_statements_are_djangos(snapshot: Snapshot):
    async def statements() -> list[str]:
        with capture_queries() as queries:
            await _ada().books.acreate(title="New", price=1)
            await _ada().books.aget_or_create(title="New")
            await _ada().books.aupdate_or_create(title="New", defaults={"price": 2})
            await _tagged(lambda tags: tags.acreate(label="new"))
            await _tagged(lambda tags: tags.aget_or_create(label="newer"))
        return [each["sql"] for each in queries]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await statements()
    snapshot.restore()
    assert await statements() == expected


class Loud(AsyncManager):
    def create(self, **kwargs: Any) -> Any:
        return super().create(**{**kwargs, "title": kwargs["title"].upper()})


async def test_a_manager_with_a_create_of_its_own(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch):
    loud = Loud()
    loud.model, loud.name = Book, "loud"
    monkeypatch.setattr(Book, "loud", loud, raising=False)
    made = await _ada().books(manager="loud").acreate(title="quiet")
    assert made.title == "QUIET"


async def test_a_related_manager_of_the_project(snapshot: Snapshot):
    manager: Any = _ada().books

    class Own(type(manager)):  # type: ignore[misc]
        def create(self, **kwargs: Any) -> Any:
            return "mine", kwargs

    manager.__class__ = Own
    assert await manager.acreate(title="x") == ("mine", {"title": "x"})


async def test_the_database_to_write_to(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    class Router:
        def db_for_read(self, model: Any, **hints: Any) -> str:
            asked.append("read")
            return "default"

        def db_for_write(self, model: Any, instance: Any = None, **hints: Any) -> str:
            asked.append((model, Tag.objects.count()))  # which is refused in async code
            return "default"

    monkeypatch.setattr(router, "routers", [Router()])
    made = await _ada().books.acreate(title="New")
    assert (made.title, made.author_id) == ("New", 1)
    assert (Book, 3) in asked
