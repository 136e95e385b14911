"""The tables Django makes for many-to-many relations: their managers, and what is written to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import django
import pytest
from django.contrib.auth.models import Group, User
from django.db import router
from django.db.models import Manager, Prefetch, QuerySet
from django.db.models.signals import m2m_changed
from django.test import override_settings

from tests.project.library.models import Author, Book, Person, Plain, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import POOL, as_django, djangos_set
from turbo_orm import AsyncQuerySet, atomic, run_sync
from turbo_orm.base_manager import BaseManager
from turbo_orm.errors import SyncCallError
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("at_once", "frozen_now", "verifying")

BETWEEN = {
    "both ends": (Book.tags.through, True),
    "one end, another app's": (Author.groups.through, True),
    "the other end": (Plain.fans.through, True),
    "with itself": (Person.friends.through, True),
    "neither": (User.groups.through, False),
    "declared": (Book.contributors.through, None),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_managers(name: str):
    model, ours = BETWEEN[name]
    managers = {type(model._default_manager), type(model._base_manager), type(model.objects)}
    if ours is not None:
        assert managers == {BaseManager if ours else Manager}
    if ours:
        # Sync code has Django's querysets.
        assert type(model.objects.all()) is QuerySet
        assert model.objects is model._default_manager
        assert model._meta.default_manager is model._default_manager
        assert model._default_manager.name == "objects"


async def test_querysets_of_async_code():
    rows: Any = Book.tags.through._default_manager.all()
    assert type(rows) is AsyncQuerySet
    assert await rows.acount() == len([row async for row in rows])


async def test_in_a_block(snapshot: Snapshot):
    between: Any = Book.tags.through
    before = await between.objects.acount()
    tag = await Tag.objects.aget(label="blue")
    with pytest.raises(ZeroDivisionError):
        async with atomic():
            book = await Book.objects.acreate(title="New", author=await Author.objects.afirst())
            await between.objects.abulk_create([between(book=book, tag=tag)])  # of the same transaction
            await between.objects.aget_or_create(book_id=1, tag=tag)
            await between.objects.filter(book=book).aupdate(book_id=2)
            row = await between.objects.alatest("pk")
            await row.adelete()
            await row.asave(force_insert=True)
            raise ZeroDivisionError
    assert await between.objects.acount() == before
    with pytest.raises(SyncCallError):
        between.objects.count()


def _tags(*labels: str) -> list[Any]:
    return [Tag.objects.get(label=label) for label in labels]


def _book() -> Any:
    return Book.objects.get(pk=1)


#: What is done, and whether there are planned statements in it on every Django.
CHANGES: dict[str, tuple[Callable[[], Any], bool]] = {
    "add one": (lambda: _book().tags.add(Tag.objects.create(label="new")), True),
    "add several": (lambda: _book().tags.add(*[Tag.objects.create(label=f"new{n}") for n in range(4)]), True),
    "add again": (lambda: _book().tags.add(*_tags("red", "blue")), True),
    "add keys": (lambda: _book().tags.add(1, 2), True),
    "add nothing": (lambda: _book().tags.add(), True),
    "remove": (lambda: _book().tags.remove(*_tags("red", "blue")), True),
    "remove none": (lambda: _book().tags.remove(), True),
    "set": (lambda: _book().tags.set(_tags("blue")), True),
    "set, cleared first": (lambda: _book().tags.set(_tags("blue"), clear=True), True),
    "clear": (lambda: _book().tags.clear(), True),
    "create": (lambda: _book().tags.create(label="new"), True),
    "the other way": (lambda: Tag.objects.get(label="red").books.set(Book.objects.all()), True),
    "with itself": (lambda: _friends().add(*Person.everyone.exclude(name="Eve")), True),
    "with itself, removed": (lambda: _friends().clear(), True),
    "another app's": (lambda: Author.objects.get(pk=1).groups.add(Group.objects.create(name="g")), True),
    "defaults": (
        lambda: _book().contributors.add(Author.objects.get(pk=2), through_defaults={"role": "x"}),
        True,
    ),
    "a mistake": (lambda: _book().tags.add(Author.objects.get(pk=1)), True),
}


def _friends() -> Any:
    return Person.everyone.get(name="Eve").friends


def _outcome(change: Callable[[], Any]) -> Any:
    try:
        change()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("name", CHANGES)
async def test_changes_are_djangos(snapshot: Snapshot, name: str, told: bool):
    change, planned = CHANGES[name]
    outcomes = []
    signals: list[Any] = []

    def receiver(sender: Any, action: str, pk_set: Any, **_: Any) -> None:
        signals.append((sender, action, pk_set))

    if told:
        m2m_changed.connect(receiver)
    try:
        for plans in (False, True):
            snapshot.restore()
            signals.clear()
            with override_settings(TURBO_ORM={"PLANS": plans, "VERIFY_PLANS": True, "POOL": POOL}):
                await Tag.objects.acount()  # then the server's version is known
                before = Verified.same
                outcome = await run_sync(_outcome, change)
                outcomes.append((outcome, snapshot.rows(), [*signals]))
                assert (Verified.same > before) is (plans and planned)
    finally:
        m2m_changed.disconnect(receiver)
    assert outcomes[0] == outcomes[1]


async def _set_and_asked(book: Any, *tags: Any) -> Any:
    await book.tags.aset(tags)
    return sorted([tag.label async for tag in book.tags.all()])


async def _set_queryset(tags: Any) -> Any:
    return await (await Book.objects.aget(pk=1)).tags.aset(tags)


async def _prefetched(change: Callable[[Any], Awaitable[Any]]) -> Any:
    book = await Book.objects.prefetch_related("tags").aget(pk=1)
    await change(book)
    return "tags" in book._prefetched_objects_cache, sorted([tag.label async for tag in book.tags.all()])


async def _prefetched_in_part(change: Callable[[Any], Awaitable[Any]]) -> Any:
    books = Book.objects.prefetch_related(Prefetch("tags", Tag.objects.exclude(pk=1)))
    book = await books.aget(pk=1)
    await change(book)
    return sorted([tag.label async for tag in book.tags.all()])


async def _eve() -> Any:
    return await Person.everyone.aget(name="Eve")


async def _others() -> list[Any]:
    return await Person.everyone.exclude(name="Eve").order_by("pk").alist()


#: Before, Django does not ask the join table alone; with the join there is a plan as ever.
_SINCE_5_1 = True if django.VERSION >= (5, 1) else None

#: Before, Django inserts several rows by VALUES, which has no plan.
_SINCE_5_2 = True if django.VERSION >= (5, 2) else None

#: What async code does, and whether the bridge has no part in it; None if it depends on Django's version.
ASYNC_CHANGES: dict[str, tuple[Callable[[], Awaitable[Any]], bool | None]] = {
    "add": (lambda: Book(pk=1).tags.aadd(Tag(pk=1)), True),
    "add one more": (lambda: Book(pk=2).tags.aadd(3), True),
    "add several": (lambda: Book(pk=2).tags.aadd(1, 2, Tag(pk=3)), _SINCE_5_2),
    "add the same twice": (lambda: Book(pk=2).tags.aadd(3, "3", Tag(pk=3)), True),
    "add nothing": (lambda: Book(pk=1).tags.aadd(), True),
    "add to what is prefetched": (lambda: _prefetched(lambda book: book.tags.aadd(1, 2, 3)), None),
    "add nothing to what is prefetched": (lambda: _prefetched(lambda book: book.tags.aadd()), None),
    "add what is not there": (lambda: Book(pk=1).tags.aadd(999), True),
    "add what is not saved": (lambda: Book(pk=1).tags.aadd(Tag(label="x")), False),
    "add no key": (lambda: Book(pk=1).tags.aadd("x"), False),
    "add another model's": (lambda: Book(pk=1).tags.aadd(Author(pk=1)), False),
    "add with defaults": (lambda: Book(pk=1).contributors.aadd(2, through_defaults={"role": "x"}), False),
    "add with a wrong option": (lambda: Book(pk=1).tags.aadd(1, defaults={}), False),
    "remove": (lambda: Book(pk=1).tags.aremove(Tag(pk=1)), True),
    "remove several": (lambda: Book(pk=1).tags.aremove(1, Tag(pk=2), 999), True),
    "remove nothing": (lambda: Book(pk=1).tags.aremove(), True),
    "remove no key": (lambda: Book(pk=1).tags.aremove("x"), False),
    "remove what is not hashable": (lambda: Book(pk=1).tags.aremove([]), False),
    "remove from what is prefetched": (lambda: _prefetched(lambda book: book.tags.aremove(1)), None),
    "clear": (lambda: Book(pk=1).tags.aclear(), True),
    "clear what is empty": (lambda: Book(pk=999).tags.aclear(), True),
    "clear what is prefetched": (lambda: _prefetched(lambda book: book.tags.aclear()), None),
    "count": (lambda: Book(pk=1).tags.acount(), _SINCE_5_1),
    "exists": (lambda: Book(pk=1).tags.aexists(), _SINCE_5_1),
    "exists not": (lambda: Book(pk=999).tags.aexists(), _SINCE_5_1),
    "count what is not saved": (lambda: Book().tags.acount(), None),
    "count what is prefetched": (lambda: _prefetched(lambda book: book.tags.acount()), None),
    "count what is declared": (lambda: Book(pk=1).contributors.acount(), _SINCE_5_1),
    "set": (lambda: _set_and_asked(Book(pk=1), Tag(pk=3)), True),
    "set what is there": (lambda: _set_and_asked(Book(pk=1), 1, "2"), True),
    "set nothing": (lambda: _set_and_asked(Book(pk=1)), True),
    "set, cleared first": (lambda: Book(pk=1).tags.aset([1, 3], clear=True), None),
    "set a queryset": (lambda: _set_queryset(Tag.objects.filter(pk__gt=1)), True),
    "set a queryset of another database": (lambda: Book(pk=1).tags.aset(Tag.objects.all()), False),
    "set a queryset of keys": (lambda: Book(pk=1).tags.aset(Tag.objects.values_list("pk", flat=True)), True),
    "set a generator": (lambda: Book(pk=1).tags.aset(pk for pk in [1, 3]), False),
    "set several": (lambda: Book(pk=2).tags.aset([1, 3]), _SINCE_5_2),
    "set what is prefetched in part": (lambda: _prefetched_in_part(lambda book: book.tags.aset([3])), None),
    "set what is not there": (lambda: Book(pk=1).tags.aset([999]), None),
    "set no key": (lambda: Book(pk=1).tags.aset([1, "x"]), None),
    "set what is not saved": (lambda: Book(pk=1).tags.aset([Tag(label="x")]), None),
    "set what is prefetched": (lambda: _prefetched(lambda book: book.tags.aset([3])), None),
    "the other way": (lambda: Tag(pk=1).books.aset([2, 3]), None),
    # Its manager is of a class of Book's own.
    "the other way, added": (lambda: Tag(pk=1).books.aadd(2), True),
    "the other way, removed": (lambda: Tag(pk=1).books.aremove(1), True),
    "the other way, cleared": (lambda: Tag(pk=1).books.aclear(), True),
    "remove with an option": (lambda: Book(pk=1).tags.aremove(1, clear=True), False),
    "clear with an argument": (lambda: Book(pk=1).tags.aclear(1), False),
    "set without an argument": (lambda: Book(pk=1).tags.aset(), False),
    "set with a wrong option": (lambda: Book(pk=1).tags.aset([1], bulk=True), False),
    "set by name": (lambda: Book(pk=1).tags.aset(objs=[1]), False),
}


async def _to_itself(change: str) -> Any:
    eve, others = await _eve(), await _others()
    arguments = {"aadd": others, "aremove": others[:1], "aclear": [], "aset": [others]}[change]
    await getattr(eve.friends, change)(*arguments)
    return [each.pk async for each in others[0].friends.order_by("pk")]


ASYNC_CHANGES |= {
    f"with itself, {name}": (partial(_to_itself, name), None)
    for name in ("aadd", "aremove", "aclear", "aset")
}


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("name", ASYNC_CHANGES)
async def test_async_changes_are_djangos(snapshot: Snapshot, name: str, in_block: bool, bridged: list[Any]):
    change, without_bridge = ASYNC_CHANGES[name]
    did_without = await as_django(snapshot, change, bridged, in_block=in_block)
    if without_bridge is not None:
        assert did_without is without_bridge


@pytest.mark.parametrize("watcher", ["receivers", "another add()", "a router that queries"])
async def test_who_must_be_asked(snapshot: Snapshot, watcher: str, bridged: list[Any], monkeypatch: Any):
    heard: list[Any] = []

    def receiver(action: str, pk_set: Any, **_: Any) -> None:
        heard.append((action, pk_set, Tag.objects.count()))

    class Router:
        def db_for_write(self, model: Any, **hints: Any) -> str:
            heard.append(Tag.objects.count())
            return "default"

    manager: Any = Book(pk=2).tags
    if watcher == "receivers":
        m2m_changed.connect(receiver, sender=Book.tags.through)
    elif watcher == "another add()":

        class Own(type(manager)):  # type: ignore[misc]
            def add(self, *objs: Any, **options: Any) -> None:
                heard.append(objs)
                super().add(*objs, **options)

        manager.__class__ = Own
    else:
        monkeypatch.setattr(router, "routers", [Router()])
    try:
        await manager.aadd(Tag(pk=3))
    finally:
        m2m_changed.disconnect(receiver, sender=Book.tags.through)
    assert heard
    assert bridged
    assert await Book.tags.through.objects.filter(book_id=2, tag_id=3).acount() == 1


async def test_the_statements_are_djangos(snapshot: Snapshot):
    async def change() -> list[str]:
        book = await Book.objects.aget(pk=1)
        new = await Tag.objects.acreate(label="new")
        with capture_queries() as queries:
            await book.tags.aadd(new)
            await book.tags.aremove(new)
            await book.tags.aset([new])
            await book.tags.aclear()
            async with atomic():
                await book.tags.aadd(new)
                await book.tags.aset([])
        return [each["sql"] for each in queries]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}), djangos_set():
        expected = await change()
    snapshot.restore()
    assert await change() == expected


#: What `bulk_create()` of one object is told of conflicts.
CONFLICTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "ignored": {"ignore_conflicts": True},
    "updated": {"update_conflicts": True, "update_fields": ["label"], "unique_fields": ["pk"]},
}


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("name", CONFLICTS)
async def test_bulk_create_of_one(snapshot: Snapshot, name: str, taken: bool):
    outcomes = []
    for plans in (False, True):
        snapshot.restore()
        with override_settings(TURBO_ORM={"PLANS": plans, "VERIFY_PLANS": True, "POOL": POOL}):
            await Tag.objects.acount()
            before = Verified.same
            tag = Tag(pk=1 if taken else 1000, label="one")
            try:
                (found,) = await Tag.objects.abulk_create([tag], **CONFLICTS[name])
            except Exception as error:
                outcome: Any = type(error), str(error)
            else:
                outcome = found is tag, tag._state.adding, tag._state.db, tag.pk
            assert (Verified.same > before) is plans
        outcomes.append((outcome, snapshot.rows()))
    assert outcomes[0] == outcomes[1]
