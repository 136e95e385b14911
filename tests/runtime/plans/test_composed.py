"""`acontains()`, `aget_or_create()` and others: by planned statements, as Django's composition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, router, transaction
from django.db.models import F, Model
from django.db.models.signals import post_save, pre_save
from django.test import override_settings

from tests.project.library.models import Author, Book, Shouter, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import seen
from tests.runtime.support import assert_pool_is_clean
from turbo_orm import AsyncQuerySet, atomic, batch, composed, run_sync
from turbo_orm.plans import running
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

POOL = {"min_size": 1, "max_size": 5}

pytestmark = pytest.mark.usefixtures("at_once", "frozen_now", "verifying")


class Filtering(AsyncQuerySet):
    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, **kwargs).exclude(name="Ada")


class Own(AsyncQuerySet):
    def contains(self, obj: Any) -> Any:
        return "mine"

    def in_bulk(self, id_list: Any = None, **kwargs: Any) -> Any:
        return {"mine": id_list}

    def get_or_create(self, defaults: Any = None, **kwargs: Any) -> Any:
        return "mine", defaults


class OwnUpdate(AsyncQuerySet):
    def update_or_create(self, *args: Any, **kwargs: Any) -> Any:
        return "mine", args, kwargs


async def _evaluated(queryset: Any) -> Any:
    await queryset.alist()
    return queryset


async def _contains_evaluated() -> Any:
    return await (await _evaluated(Book.objects.filter(pk__lt=3))).acontains(Book(pk=2))


async def _shouted() -> Any:
    await Shouter.objects.acreate(name="hello")
    return await Shouter.objects.aupdate_or_create({"saves": 9}, name="HELLO")


#: What is called, and whether it needs no bridge.
CALLS: dict[str, tuple[Callable[[], Awaitable[Any]], bool | None]] = {
    "contained": (lambda: Book.objects.filter(pk__lt=3).acontains(Book(pk=2)), True),
    "not contained": (lambda: Book.objects.filter(pk__lt=3).acontains(Book(pk=4)), True),
    "of all": (lambda: Book.objects.acontains(Book(pk=1)), True),
    "ordered": (lambda: Book.objects.order_by("title").acontains(Book(pk=1)), True),
    "another model's": (lambda: Book.objects.acontains(Author(pk=1)), False),
    "no object": (lambda: Book.objects.acontains(1), False),
    "unsaved": (lambda: Book.objects.acontains(Book()), False),
    "of a slice": (lambda: Book.objects.all()[:2].acontains(Book(pk=1)), False),
    "of values": (lambda: Book.objects.values("pk").acontains(Book(pk=1)), False),
    "of rows": (_contains_evaluated, False),
    "a contains() of its own": (lambda: Own(Author).acontains(Author(pk=1)), False),
    "a filter() beneath": (lambda: Filtering(Author).acontains(Author(pk=1)), False),
    "in bulk": (lambda: Book.objects.ain_bulk([3, 1, 2]), True),
    "some that are not there": (lambda: Book.objects.ain_bulk({1, 99}), True),
    "filtered": (lambda: Book.objects.filter(pk__gt=1).ain_bulk((1, 2)), True),
    "with relations": (lambda: Book.objects.select_related("author").ain_bulk([1]), True),
    "the same twice": (lambda: Book.objects.ain_bulk([1, 1]), True),
    "nothing in bulk": (lambda: Book.objects.ain_bulk([]), False),
    "everything in bulk": (lambda: Book.objects.ain_bulk(), False),
    "by another field": (lambda: Author.objects.ain_bulk(["Ada"], field_name="name"), False),
    "by no unique field": (lambda: Book.objects.ain_bulk(["x"], field_name="title"), False),
    "a slice in bulk": (lambda: Book.objects.all()[:2].ain_bulk([1]), False),
    "None in bulk": (lambda: Book.objects.ain_bulk([1, None]), False),
    "no keys": (lambda: Book.objects.ain_bulk(["x"]), None),
    "an in_bulk() of its own": (lambda: Own(Author).ain_bulk([1]), False),
    "there": (lambda: Tag.objects.aget_or_create(label="red"), True),
    "there, with defaults": (lambda: Author.objects.aget_or_create({"age": 1}, name="Ada"), True),
    "there, with a lookup": (lambda: Author.objects.aget_or_create(name__iexact="ADA"), True),
    "there, filtered": (lambda: Author.objects.filter(age__gt=1).aget_or_create(name="Ada"), True),
    "several": (lambda: Book.objects.aget_or_create(author_id=1), True),
    "not there": (lambda: Tag.objects.aget_or_create(label="new"), False),
    "not there, with defaults": (
        lambda: Author.objects.aget_or_create(name="new", defaults={"age": lambda: 7}),
        False,
    ),
    "no such field": (lambda: Tag.objects.aget_or_create(lable="red"), False),
    "of another relation": (lambda: Author(pk=1).books.aget_or_create(title="Algebra"), True),
    "a get_or_create() of its own": (lambda: Own(Author).aget_or_create({"age": 1}, name="Ada"), False),
    "with prefetches": (lambda: Book.objects.prefetch_related("tags").aget_or_create(pk=1), True),
    "updated": (lambda: Author.objects.aupdate_or_create(name="Ada", defaults={"age": 3}), True),
    "updated, by position": (lambda: Author.objects.aupdate_or_create({"age": 3}, name="Ada"), True),
    "updated by a lookup": (lambda: Author.objects.aupdate_or_create({"age": 3}, name__iexact="ADA"), True),
    "updated, filtered": (
        lambda: Author.objects.filter(age__gt=1).aupdate_or_create({"age": 3}, name="Ada"),
        True,
    ),
    "updated with a function": (
        lambda: Author.objects.aupdate_or_create({"age": lambda: 7}, name="Ada"),
        True,
    ),
    "updated with a query": (
        lambda: Author.objects.aupdate_or_create({"age": lambda: Tag.objects.count()}, name="Ada"),
        None,
    ),
    "updated with a relation": (
        lambda: Book.objects.aupdate_or_create({"author": Author(pk=3)}, pk=1),
        True,
    ),
    "updated, its key": (lambda: Tag.objects.aupdate_or_create({"pk": 99, "label": "x"}, label="red"), None),
    "updated, no field": (
        lambda: Author.objects.aupdate_or_create({"nobody": 1, "age": 3}, name="Ada"),
        True,
    ),
    "updated with an expression": (
        lambda: Author.objects.aupdate_or_create({"age": F("age") + 1}, name="Ada"),
        None,
    ),
    "updated with nothing": (lambda: Tag.objects.aupdate_or_create(label="red"), None),
    "updated to what is taken": (lambda: Tag.objects.aupdate_or_create({"label": "blue"}, label="red"), None),
    "updated to no number": (lambda: Author.objects.aupdate_or_create({"age": "old"}, name="Ada"), None),
    "updated, with a save() of its own": (_shouted, None),
    "updated, with what new ones get": (
        lambda: Author.objects.aupdate_or_create({"age": 3}, create_defaults={"age": 4}, name="Ada"),
        None,
    ),
    "new": (lambda: Author.objects.aupdate_or_create({"age": 3}, name="new"), None),
    "new, with what new ones get": (
        lambda: Author.objects.aupdate_or_create({"age": 3}, create_defaults={"age": 4}, name="new"),
        None,
    ),
    "new, with nothing for new ones": (
        lambda: Author.objects.aupdate_or_create({"age": 3}, create_defaults={}, name="new"),
        None,
    ),
    "several to update": (lambda: Book.objects.aupdate_or_create({"title": "x"}, author_id=1), None),
    "no such field to look for": (lambda: Tag.objects.aupdate_or_create({"label": "x"}, lable="red"), False),
    "too many arguments": (lambda: Tag.objects.aupdate_or_create({}, {}, {}, label="red"), False),
    "of another relation, updated": (
        lambda: Author(pk=1).books.aupdate_or_create({"title": "x"}, title="Algebra"),
        False,
    ),
    "an update_or_create() of its own": (
        lambda: OwnUpdate(Author).aupdate_or_create({"age": 1}, name="Ada"),
        False,
    ),
    "a get_or_create() beneath": (lambda: Own(Author).aupdate_or_create({"age": 1}, name="Ada"), False),
}


async def _outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        found = await call()
    except Exception as error:
        return type(error), str(error)
    for each in found if isinstance(found, tuple) else ():
        if getattr(each, "__dict__", {}).pop("_prefetched_objects_cache", None):
            return "with prefetches", seen(found)
    return seen(found)


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("name", CALLS)
async def test_answers_and_errors_are_djangos(
    snapshot: Snapshot, name: str, in_block: bool, bridged: list[Any]
):
    call, without_bridge = CALLS[name]
    outcomes = []
    for plans in (False, True):
        snapshot.restore()
        with override_settings(TURBO_ORM={"PLANS": plans, "VERIFY_PLANS": True, "POOL": POOL}):
            await Tag.objects.acount()  # then the server's version is known
            before = Verified.same
            bridged.clear()
            async with atomic() if in_block else nullcontext():
                outcome = await _outcome(call)
            if plans and without_bridge:
                assert Verified.same > before
            if not in_block and plans and without_bridge is not None:
                # Functions of the caller, and his properties.
                assert ([each for each in bridged if each is not composed._assign] == []) is without_bridge
        outcomes.append((outcome, snapshot.rows()))
    assert outcomes[0] == outcomes[1]


async def test_statements_are_djangos(snapshot: Snapshot):
    async def statements() -> list[str]:
        with capture_queries() as queries:
            await Book.objects.acontains(Book(pk=1))
            await Book.objects.ain_bulk([1, 2])
            await Tag.objects.aget_or_create(label="red")
            await Tag.objects.aget_or_create(label="new")
            await Author.objects.aupdate_or_create({"age": 3}, name="Ada")
            await Author.objects.aupdate_or_create({"age": 3}, name="new")
        return [each["sql"] for each in queries]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await statements()
    snapshot.restore()
    assert await statements() == expected


@pytest.mark.parametrize("name", ["Ada", "new"])
async def test_receivers_hear_of_an_update_or_create(snapshot: Snapshot, name: str):
    heard: list[Any] = []

    def hear(signal: Any, instance: Any, **kwargs: Any) -> None:
        assert transaction.get_connection().in_atomic_block
        fields = kwargs["update_fields"]
        heard.append((instance.name, instance.age, kwargs.get("created"), fields and sorted(fields)))

    async def call(plans: bool) -> list[Any]:
        snapshot.restore()
        heard.clear()
        with override_settings(TURBO_ORM={"PLANS": plans, "POOL": POOL}):
            await Author.objects.aupdate_or_create({"age": 3}, name=name)
        return list(heard)

    for signal in (pre_save, post_save):
        signal.connect(hear, sender=Author)
    try:
        assert await call(plans=True) == await call(plans=False) != []
    finally:
        for signal in (pre_save, post_save):
            signal.disconnect(hear, sender=Author)


async def test_an_update_or_create_that_fails_leaves_nothing(snapshot: Snapshot):
    before = snapshot.rows()
    for _ in range(3):
        with pytest.raises(IntegrityError):
            await Tag.objects.aupdate_or_create({"label": "blue"}, label="red")
        with pytest.raises(Book.MultipleObjectsReturned):
            await Book.objects.aupdate_or_create({"title": "x"}, author_id=1)
    assert snapshot.rows() == before
    await assert_pool_is_clean()


async def test_get_or_create_asks_for_the_database_to_write_to(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    class Router:
        def db_for_read(self, model: Any, **hints: Any) -> None:
            asked.append("read")

        def db_for_write(self, model: Any, **hints: Any) -> None:
            asked.append("write")

    monkeypatch.setattr(router, "routers", [Router()])
    tag, created = await Tag.objects.aget_or_create(label="red")
    assert (tag.label, created) == ("red", False)
    assert set(asked) == {"write"}


async def test_in_one_round_trip(monkeypatch: pytest.MonkeyPatch):
    sent: list[int] = []
    together = running.run_together

    async def noting(alias: str, works: Any) -> Any:
        sent.append(len(works))
        return await together(alias, works)

    monkeypatch.setattr(running, "run_together", noting)
    found, books, (tag, created), count = await batch(
        Book.objects.acontains(Book(pk=1)),
        Book.objects.ain_bulk([1, 2]),
        Tag.objects.aget_or_create(label="red"),
        Tag.objects.acount(),
    )
    assert (found, sorted(books), tag.label, created) == (True, [1, 2], "red", False)
    assert sent == [4]
    assert count == await Tag.objects.acount()


async def test_somebody_else_was_faster(
    snapshot: Snapshot, janitors: list[psycopg.Connection[Any]], monkeypatch: pytest.MonkeyPatch
):
    """It was created between the look and the INSERT: Django looks again."""
    create = AsyncQuerySet.create

    def late(self: Any, **kwargs: Any) -> Any:
        janitors[0].execute("INSERT INTO library_author (name, created) VALUES ('Zed', now())")
        return create(self, **kwargs)

    monkeypatch.setattr(AsyncQuerySet, "create", late)
    author, created = await AsyncQuerySet(Author).aget_or_create(name="Zed")
    assert (author.name, created) == ("Zed", False)


def _with_author() -> Any:
    return Book.objects.select_related("author").get(pk=1)


def _changed() -> Any:
    book = Book.objects.get(pk=1)
    book.title, book.author_id = "changed", 3
    return book


def _prefetched() -> Any:
    return Book.objects.prefetch_related("tags").get(pk=1)


def _gone() -> Any:
    book = Book.objects.get(pk=1)
    book.title = "kept"
    Book.objects.filter(pk=1).delete()
    return book


class Refreshing(Tag):
    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        self.label = "mine"

    class Meta:
        proxy = True
        app_label = "library"


NEEDS_NO_BRIDGE = "from_queryset" in Model.refresh_from_db.__code__.co_varnames

#: What is refreshed, how, and whether it needs no bridge where Django takes a queryset for it.
REFRESHED: dict[str, tuple[Callable[[], Any], dict[str, Any], bool | None]] = {
    "changed": (_changed, {}, True),
    "as it is": (lambda: Author.objects.get(pk=1), {}, True),
    "a field": (_changed, {"fields": ["title"]}, True),
    "fields": (_changed, {"fields": {"title", "author"}}, True),
    "by the column": (_changed, {"fields": ("author_id",)}, True),
    "on a database": (_changed, {"using": "default"}, True),
    "with a relation": (_with_author, {}, True),
    "with a relation, a field": (_with_author, {"fields": ["title"]}, True),
    "what is not loaded": (lambda: Book.objects.only("title").get(pk=1), {}, False),
    "what was prefetched": (_prefetched, {}, True),
    "a prefetched relation": (_prefetched, {"fields": ["tags"]}, False),
    "gone": (_gone, {}, True),
    "unsaved": (lambda: Book(title="x"), {}, False),
    "no such field": (_changed, {"fields": ["titel"]}, None),
    "no field": (_changed, {"fields": []}, False),
    "a lookup": (_changed, {"fields": ["author__name"]}, False),
    "an iterator": (_changed, {}, False),
    "no such database": (_changed, {"using": "nowhere"}, None),
    "a refresh_from_db() of its own": (lambda: Refreshing.objects.get(pk=1), {}, False),
    "from a queryset": (_changed, {"from_queryset": Book.objects.filter(title="x")}, False),
}


@pytest.mark.parametrize("name", REFRESHED)
async def test_refreshed(snapshot: Snapshot, name: str, bridged: list[Any]):
    make, kwargs, without_bridge = REFRESHED[name]
    if "from_queryset" in kwargs and not NEEDS_NO_BRIDGE:
        pytest.skip("a parameter since Django 5.1")
    outcomes = []
    for plans in (False, True):
        snapshot.restore()
        with override_settings(TURBO_ORM={"PLANS": plans, "VERIFY_PLANS": True, "POOL": POOL}):
            obj = await run_sync(make)
            bridged.clear()
            given = {"fields": iter(["title"])} if name == "an iterator" else deepcopy(kwargs)
            try:
                error: Any = await obj.arefresh_from_db(**given)
            except Exception as raised:
                error = type(raised), str(raised)
            if plans and without_bridge is not None:
                assert (bridged == []) is (without_bridge and NEEDS_NO_BRIDGE)
            prefetched = [*obj.__dict__.pop("_prefetched_objects_cache", ())]
            outcomes.append((error, prefetched, seen(obj)))
    assert outcomes[0] == outcomes[1]


async def _refreshed_in_sync(book: Book) -> None:
    await run_sync(Model.refresh_from_db, book)


async def test_what_was_prefetched_is_dropped_where_no_answer_comes() -> None:
    outcomes = []
    for refresh in (_refreshed_in_sync, Book.arefresh_from_db):
        book = await run_sync(_prefetched)
        async with atomic():
            with pytest.raises(IntegrityError):
                await Tag(pk=1).asave(force_insert=True)
            with pytest.raises(transaction.TransactionManagementError) as refused:
                await refresh(book)
        outcomes.append((str(refused.value), book.__dict__["_prefetched_objects_cache"], seen(book)))
    assert outcomes[0] == outcomes[1]
    assert outcomes[1][1] == {}
