"""What async code writes through the other ends of keys: as Django does, without the bridge where it can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import router
from django.db.models import Prefetch
from django.db.models.signals import post_delete, post_save
from django.test import override_settings

from tests.project.library.models import Author, Book, Note, Person, Plain, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import POOL, as_django, djangos_set
from turbo_orm import AsyncManager, atomic, run_sync
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("at_once", "frozen_now", "verifying")


@pytest.fixture(autouse=True)
async def known_content_types(verifying: None) -> None:
    """Generic relations ask for them as soon as one looks at them."""
    await run_sync(ContentType.objects.get_for_model, Book)
    await run_sync(ContentType.objects.get_for_model, Author)


Call = Callable[[], Awaitable[Any]]


async def _book(pk: int) -> Any:
    return await Book.objects.aget(pk=pk)


async def _books(*pks: int) -> list[Any]:
    return [await _book(pk) for pk in pks]


async def _notes(*texts: str) -> list[Any]:
    return [await Note.objects.aget(text=text) for text in texts]


async def _related(manager: Any, call: Callable[..., Awaitable[Any]], *objs: Any) -> Any:
    """What *call* returns, what it did to *objs*, and who is related then."""
    made = await call(manager, *objs)
    return made, objs, [each.pk async for each in manager.order_by("pk")]


def _edited(call: Callable[..., Awaitable[Any]], *pks: int) -> Call:
    async def calling() -> Any:
        return await _related((await Author.objects.aget(pk=2)).edited, call, *await _books(*pks))

    return calling


def _noted(call: Callable[..., Awaitable[Any]], *texts: str) -> Call:
    async def calling() -> Any:
        return await _related((await _book(1)).notes, call, *await _notes(*texts))

    return calling


def _with_prefetches(call: Callable[..., Awaitable[Any]], *pks: int) -> Call:
    async def calling() -> Any:
        rows = Author.objects.prefetch_related(Prefetch("edited", Book.objects.filter(pk__gt=1)))
        author = await rows.aget(pk=2)
        await call(author.edited, *await _books(*pks))
        kept = "edited" in author._prefetched_objects_cache
        return kept, [book.pk async for book in author.edited.order_by("pk")]

    return calling


def _with_notes(call: Callable[..., Awaitable[Any]], *texts: str) -> Call:
    async def calling() -> Any:
        book = await Book.objects.prefetch_related("notes").aget(pk=1)
        await call(book.notes, *await _notes(*texts))
        return "notes" in book._prefetched_objects_cache, [
            note.pk async for note in book.notes.order_by("pk")
        ]

    return calling


def _children(call: Callable[..., Awaitable[Any]], *names: str) -> Call:
    async def calling() -> Any:
        eve = await Person.everyone.aget(name="Eve")
        people = [await Person.everyone.aget(name=name) for name in names]
        return await _related(eve.children, call, *people)

    return calling


#: What is called, and whether it needs no bridge; None if that depends on Django's version.
CALLS: dict[str, tuple[Call, bool | None]] = {
    "add": (_edited(lambda edited, *objs: edited.aadd(*objs), 2), True),
    "add several": (_edited(lambda edited, *objs: edited.aadd(*objs), 2, 4), True),
    "add what is there": (_edited(lambda edited, *objs: edited.aadd(*objs), 1), True),
    "add the same twice": (_edited(lambda edited, *objs: edited.aadd(*objs, *objs), 2), True),
    "add nothing": (_edited(lambda edited: edited.aadd()), True),
    "add one by one": (_edited(lambda edited, *objs: edited.aadd(*objs, bulk=False), 2, 4), False),
    "add unsaved ones by one": (
        lambda: Author(pk=2).edited.aadd(Book(title="x", author_id=1), bulk=False),
        False,
    ),
    "add what is not saved": (
        _edited(lambda edited, *objs: edited.aadd(*objs, Book(title="x", author_id=1)), 2),
        False,
    ),
    "add another model's": (_edited(lambda edited, *objs: edited.aadd(*objs, Tag(pk=1)), 2), False),
    "add a key": (_edited(lambda edited, *objs: edited.aadd(*objs, 4), 2), False),
    "add another database's": (_edited(lambda edited, *objs: _elsewhere(edited, objs), 2), False),
    "add with a wrong option": (_edited(lambda edited, *objs: edited.aadd(*objs, clear=True), 2), False),
    "add to what is prefetched": (_with_prefetches(lambda edited, *objs: edited.aadd(*objs), 2), True),
    "add nothing to what is prefetched": (_with_prefetches(lambda edited: edited.aadd()), True),
    "add to an unsaved one": (lambda: Author(name="x").edited.aadd(), False),
    "add to nobody": (_edited(lambda edited, *objs: Author(pk=999).edited.aadd(*objs), 2), True),
    "add where it must be": (_edited(lambda edited, *objs: Author(pk=2).books.aadd(*objs), 2, 1), True),
    "add an unmanaged model's": (
        lambda: _plains(lambda plains, *objs: plains.aadd(*objs)),
        False,
    ),
    "add children": (_children(lambda children, *objs: children.aadd(*objs), "Eve", "Kim"), True),
    "remove": (_edited(lambda edited, *objs: edited.aremove(*objs), 1), True),
    "remove all": (_edited(lambda edited, *objs: edited.aremove(*objs), 1, 3), True),
    "remove the same twice": (_edited(lambda edited, *objs: edited.aremove(*objs, *objs), 3), True),
    "remove nothing": (_edited(lambda edited: edited.aremove()), True),
    "remove nothing from an unsaved one": (lambda: Author(name="x").edited.aremove(), True),
    "remove from an unsaved one": (lambda: Author(name="x").edited.aremove(Book(pk=1)), False),
    "remove what is not related": (_edited(lambda edited, *objs: edited.aremove(*objs), 1, 2), False),
    "remove another model's": (_edited(lambda edited: edited.aremove(Tag(pk=1))), False),
    "remove a key": (_edited(lambda edited: edited.aremove(1)), False),
    "remove one by one": (_edited(lambda edited, *objs: edited.aremove(*objs, bulk=False), 1), False),
    "remove what is only there": (_edited(lambda edited: edited.aremove(Book(pk=1, editor_id=2))), True),
    "remove what is prefetched": (_with_prefetches(lambda edited, *objs: edited.aremove(*objs), 1), None),
    "remove children": (_children(lambda children, *objs: children.aremove(*objs), "Kim"), True),
    "remove where it must be": (lambda: Author(pk=1).books.aremove(Book(pk=1)), None),
    "clear": (_edited(lambda edited: edited.aclear()), True),
    "clear one by one": (_edited(lambda edited: edited.aclear(bulk=False)), False),
    "clear what is prefetched": (_with_prefetches(lambda edited: edited.aclear()), None),
    "clear with an argument": (_edited(lambda edited: edited.aclear(1)), False),
    "clear an unsaved one": (lambda: Author(name="x").edited.aclear(), False),
    "clear children": (_children(lambda children: children.aclear()), True),
    "set": (_edited(lambda edited, *objs: edited.aset(objs), 1, 2), True),
    "set nothing": (_edited(lambda edited: edited.aset([])), True),
    "set what is there": (_edited(lambda edited, *objs: edited.aset({*objs}), 1, 3), True),
    "set, cleared first": (_edited(lambda edited, *objs: edited.aset(objs, clear=True), 1, 2), True),
    "set one by one": (_edited(lambda edited, *objs: edited.aset(objs, bulk=False), 1, 2), False),
    "set a queryset": (_edited(lambda edited: edited.aset(Book.objects.filter(pk__in=[1, 4]))), True),
    "set a generator": (_edited(lambda edited, *objs: edited.aset(each for each in objs), 1, 2), False),
    "set by name": (_edited(lambda edited, *objs: edited.aset(objs=objs), 1, 2), False),
    "set without an argument": (_edited(lambda edited: edited.aset()), False),
    "set what is not saved": (_edited(lambda edited, *objs: edited.aset([*objs, Book(title="x")]), 2), False),
    "set another model's": (_edited(lambda edited, *objs: edited.aset([*objs, Tag(pk=1)]), 2), False),
    "set an unsaved one's": (lambda: Author(name="x").edited.aset([]), False),
    "set what is prefetched": (_with_prefetches(lambda edited, *objs: edited.aset(objs), 2), None),
    "set where it must be": (_edited(lambda edited, *objs: Author(pk=2).books.aset(objs), 1), True),
    "set children": (_children(lambda children, *objs: children.aset(objs), "Kim", "Eve"), True),
    "create a note": (_noted(lambda notes: notes.acreate(text="x")), True),
    "create another's note": (_noted(lambda notes: notes.acreate(text="x", object_id=2)), True),
    "create what is no field": (_noted(lambda notes: notes.acreate(txt="x")), False),
    "create a note by position": (_noted(lambda notes: notes.acreate("x")), False),
    "create a note of an unsaved one's": (lambda: Book().notes.acreate(text="x"), None),
    "create a note, with prefetches": (_with_notes(lambda notes: notes.acreate(text="x")), None),
    "get a note": (_noted(lambda notes: notes.aget_or_create(text="good")), True),
    "get another's note": (_noted(lambda notes: notes.aget_or_create(text="short")), False),
    "get a note, with prefetches": (_with_notes(lambda notes: notes.aget_or_create(text="good")), None),
    "update a note": (
        _noted(lambda notes: notes.aupdate_or_create(text="good", defaults={"text": "x"})),
        None,
    ),
    "update a new note": (
        _noted(lambda notes: notes.aupdate_or_create(text="new", defaults={"text": "x"})),
        None,
    ),
    "count notes": (_noted(lambda notes: notes.acount()), True),
    "are there notes": (_noted(lambda notes: notes.aexists()), True),
    "add a note": (_noted(lambda notes, *objs: notes.aadd(*objs), "short"), True),
    "add notes": (_noted(lambda notes, *objs: notes.aadd(*objs), "short", "a person"), True),
    "add no note": (_noted(lambda notes: notes.aadd()), True),
    "add notes one by one": (_noted(lambda notes, *objs: notes.aadd(*objs, bulk=False), "short"), False),
    "add an unsaved note": (_noted(lambda notes, *objs: notes.aadd(*objs, Note(text="x")), "short"), False),
    "add no kind of note": (_noted(lambda notes, *objs: notes.aadd(*objs, Tag(pk=1)), "short"), False),
    "add a key for a note": (_noted(lambda notes, *objs: notes.aadd(*objs, 1), "short"), False),
    "add a note to what is prefetched": (_with_notes(lambda notes, *objs: notes.aadd(*objs), "short"), None),
    "remove a note": (_noted(lambda notes, *objs: notes.aremove(*objs), "good"), True),
    "remove another's note": (_noted(lambda notes, *objs: notes.aremove(*objs), "good", "short"), True),
    "remove no note": (_noted(lambda notes: notes.aremove()), True),
    "remove a key of a note": (_noted(lambda notes: notes.aremove(1)), False),
    "remove notes one by one": (_noted(lambda notes, *objs: notes.aremove(*objs, bulk=False), "good"), False),
    "remove a prefetched note": (_with_notes(lambda notes, *objs: notes.aremove(*objs), "good"), None),
    "clear notes": (_noted(lambda notes: notes.aclear()), True),
    "clear notes one by one": (_noted(lambda notes: notes.aclear(bulk=False)), False),
    "clear prefetched notes": (_with_notes(lambda notes: notes.aclear()), None),
    "set notes": (_noted(lambda notes, *objs: notes.aset(objs), "good", "short"), True),
    "set no notes": (_noted(lambda notes: notes.aset([])), True),
    "set notes, cleared first": (
        _noted(lambda notes, *objs: notes.aset(objs, clear=True), "good", "short"),
        True,
    ),
    "set a queryset of notes": (_noted(lambda notes: notes.aset(Note.objects.filter(pk__gt=1))), True),
    "set notes one by one": (_noted(lambda notes, *objs: notes.aset(objs, bulk=False), "short"), False),
    "set an unsaved note": (_noted(lambda notes, *objs: notes.aset([*objs, Note()]), "short"), False),
    "set prefetched notes": (_with_notes(lambda notes, *objs: notes.aset(objs), "short"), None),
}


async def _elsewhere(edited: Any, objs: Any) -> None:
    objs[0]._state.db = "other"
    await edited.aadd(*objs)


async def _plains(call: Callable[..., Awaitable[Any]]) -> Any:
    plains = await run_sync(lambda: [*Plain.objects.order_by("pk")])
    return await _related(Author(pk=2).plains, call, *plains)


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("name", CALLS)
async def test_as_django(snapshot: Snapshot, name: str, in_block: bool, bridged: list[Any]):
    call, without_bridge = CALLS[name]
    did_without = await as_django(snapshot, call, bridged, in_block=in_block)
    if without_bridge is not None:
        assert did_without is without_bridge


async def test_the_statements_are_djangos(snapshot: Snapshot):
    async def statements() -> list[str]:
        author, book = await Author.objects.aget(pk=2), await _book(1)
        books, notes = await _books(1, 2, 3), await _notes("good", "short")
        with capture_queries() as queries:
            for block in (nullcontext(), atomic()):
                async with block:
                    await author.edited.aadd(*books[1:])
                    await author.edited.aremove(*books[1:])
                    await author.edited.aset(books[:2])
                    await author.edited.aset(books, clear=True)
                    await author.edited.aclear()
                    await author.books.aset(books[:1])
                    await book.notes.aadd(*notes)
                    await book.notes.aset(notes[:1])
                    await book.notes.acreate(text="new")
                    await book.notes.aget_or_create(text="new")
            async with atomic():
                await book.notes.aremove(notes[0])
                await book.notes.aclear()
        return [each["sql"] for each in queries]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}), djangos_set():
        expected = await statements()
    snapshot.restore()
    assert await statements() == expected


class Own(AsyncManager):
    """A manager class of the project, which has not all rows."""

    def get_queryset(self) -> Any:
        return super().get_queryset().exclude(pk=3)


async def _of_own(author: Any, name: str) -> Any:
    edited = author.edited(manager="own")
    await getattr(edited, name)(*([[]] if name == "aset" else []))
    return [book.pk async for book in author.edited.order_by("pk")]


@pytest.mark.parametrize("name", ["aclear", "aset"])
async def test_a_manager_that_has_not_all_rows(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, name: str, bridged: list[Any]
):
    own = Own()
    own.model, own.name = Book, "own"
    monkeypatch.setattr(Book, "own", own, raising=False)
    bridged.clear()
    assert await _of_own(Author(pk=2), name) == [3]
    assert bridged == []


@pytest.mark.parametrize("watcher", ["a method of its own", "a router that queries", "receivers"])
async def test_who_must_be_asked(snapshot: Snapshot, watcher: str, bridged: list[Any], monkeypatch: Any):
    heard: list[Any] = []

    def receiver(instance: Any, **_: Any) -> None:
        heard.append((instance, Tag.objects.count()))

    class Router:
        def db_for_write(self, model: Any, **hints: Any) -> str:
            heard.append(Tag.objects.count())
            return "default"

    book = await _book(1)
    notes = await _notes("good", "short")
    manager: Any = book.notes
    bridged.clear()
    if watcher == "receivers":
        post_delete.connect(receiver, sender=Note)
        post_save.connect(receiver, sender=Note)
    elif watcher == "a method of its own":

        class OfProject(type(manager)):  # type: ignore[misc]
            def remove(self, *objs: Any, **options: Any) -> None:
                heard.append(objs)
                super().remove(*objs, **options)

        manager.__class__ = OfProject
    else:
        monkeypatch.setattr(router, "routers", [Router()])
    try:
        await manager.aset(notes[1:])
    finally:
        post_delete.disconnect(receiver, sender=Note)
        post_save.disconnect(receiver, sender=Note)
    assert heard
    assert bridged
    assert [note.text async for note in book.notes.all()] == ["short"]


async def test_relations_a_router_refuses(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch):
    class Router:
        def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
            return False

    author, book = await Author.objects.aget(pk=2), await _book(2)
    monkeypatch.setattr(router, "routers", [Router()])
    with pytest.raises(ValueError, match="router prevents this relation"):
        await author.edited.aadd(book)
    assert await Book.objects.filter(pk=2, editor=None).aexists()


async def test_sets_in_one_block_come_one_after_the_other(snapshot: Snapshot):
    """Each of them looks what is there, and writes what is not."""
    author = await Author.objects.aget(pk=2)
    books = await _books(1, 2, 3, 4)
    async with atomic():
        await asyncio.gather(*[author.edited.aset([book]) for book in books])
    assert await author.edited.acount() == 1
