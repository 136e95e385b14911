"""`asave()`, and `save()` in the bridge, on plans: what Django does, in each way to get there."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_save, pre_save
from django.test import override_settings

from tests.project.library.models import (
    Author,
    Book,
    Contribution,
    Note,
    Person,
    Plain,
    Profile,
    Restaurant,
    Shouter,
    Tag,
    Writer,
)
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import seen
from turbo_orm import AsyncQuerySet, atomic, run_sync
from turbo_orm.instance import is_managed
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("snapshot", "frozen_now")

POOL = {"min_size": 1, "max_size": 5}


class Case(NamedTuple):
    """What is saved, made by sync code, and how."""

    make: Callable[[], Any]
    kwargs: dict[str, Any]
    #: Whether all of its statements have plans: by `asave()`, and in the bridge.
    planned: bool = True
    planned_in_bridge: bool = True


def changed(obj: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(obj, name, value)
    return obj


def gone(obj: Any) -> Any:
    type(obj)._base_manager.filter(pk=obj.pk).delete()
    return obj


def unsaved_author() -> Any:
    return changed(Book.objects.get(pk=1), author=Author(name="new"))


def author_saved_since() -> Any:
    book = changed(Book.objects.get(pk=1), author=Author(name="new"))
    book.author.save()
    return book


def with_other_author() -> Any:
    book = Book.objects.select_related("author").get(pk=1)
    book.author_id = 2
    return book


def book(**values: Any) -> Callable[[], Any]:
    return lambda: changed(Book.objects.get(pk=1), **values)


DIRECT = ({"force_update": True}, {"update_fields": ["title"]}, {"using": "default"})

SAVES: dict[str, Case] = {
    "everything": Case(book(title="x", price=Decimal(3), meta={"b": [1]}, marks=[4], published=None), {}),
    "nothing new": Case(book(), {}),
    "NULLs": Case(book(editor=None, published=None), {}),
    "JSON null": Case(book(meta=None), {}),
    **{f"with {kwargs}": Case(book(title="x", price=9), kwargs) for kwargs in DIRECT},
    "a field by its column": Case(book(author_id=2, title="x"), {"update_fields": ["author_id"]}),
    "a field by its name": Case(book(author_id=2, title="x"), {"update_fields": {"author", "price"}}),
    "no fields": Case(book(title="x"), {"update_fields": []}, False, False),
    "an unknown field": Case(book(title="x"), {"update_fields": ["title", "titel"]}, False, False),
    "the key as a field": Case(book(title="x"), {"update_fields": ["id"]}, False, False),
    "both ways forced": Case(book(), {"force_update": True, "force_insert": True}, False, False),
    "an insert forced": Case(book(title="x"), {"force_insert": True}),
    "numbers as texts": Case(book(price="4.5", author_id="2", published="2020-02-02"), {}),
    "a number too large": Case(lambda: changed(Author.objects.get(pk=1), age=2**40), {}, False, False),
    "no number": Case(lambda: changed(Author.objects.get(pk=1), age="x"), {}, False, False),
    "an expression": Case(lambda: changed(Author.objects.get(pk=1), age=F("age") + 1), {}, False, False),
    "related objects": Case(lambda: Book.objects.select_related("author", "editor").get(pk=1), {}),
    "a related object not saved": Case(unsaved_author, {}, False, False),
    "a related object saved since": Case(author_saved_since, {}),
    "a related object changed": Case(with_other_author, {}),
    "deferred fields": Case(lambda: changed(Book.objects.only("title").get(pk=1), title="x"), {}, False),
    "deferred fields, and one named": Case(
        lambda: changed(Book.objects.defer("meta").get(pk=1), title="x"), {"update_fields": ["title"]}
    ),
    "a deferred field named": Case(
        lambda: Book.objects.only("title").get(pk=1), {"update_fields": ["price"]}, False
    ),
    "a row that is gone": Case(lambda: gone(Contribution.objects.get(pk=1)), {}),
    "a row that is gone, forced": Case(lambda: gone(Contribution.objects.get(pk=1)), {"force_update": True}),
    "a row that is gone, by field": Case(
        lambda: gone(Contribution.objects.get(pk=1)), {"update_fields": ["role"]}
    ),
    "a new object": Case(lambda: Tag(label="new"), {}),
    "a new object, forced": Case(lambda: Tag(label="new"), {"force_insert": True}),
    "a new object, update forced": Case(lambda: Tag(label="new"), {"force_update": True}, False, False),
    "a new object with a key": Case(lambda: Tag(id=77, label="new"), {}),
    "a new object with the key of a row": Case(lambda: Tag(id=1, label="new"), {}),
    "a new object with a default key": Case(lambda: Person(id=uuid.UUID(int=9), name="x"), {}),
    "a new object with the default key of a row": Case(lambda: Person(id=uuid.UUID(int=1), name="x"), {}),
    "a key that is taken": Case(lambda: Tag(id=1, label="new"), {"force_insert": True}),
    "a label that is taken": Case(lambda: changed(Tag.objects.get(label="red"), label="green"), {}),
    "a uuid key": Case(lambda: changed(Person.everyone.get(name="Kim"), name="x", parent=None), {}),
    "a uuid key as text": Case(
        lambda: changed(Person.everyone.get(name="Kim"), pk=str(uuid.UUID(int=2))), {}, False, False
    ),
    # Django knows that no row has it, and inserts.
    "a key too large": Case(lambda: changed(Tag.objects.get(label="red"), pk=2**70), {}, False),
    "a key as text": Case(lambda: changed(Tag.objects.get(label="red"), pk="1", label="x"), {}, False, False),
    "no key any more": Case(lambda: changed(Tag.objects.get(label="red"), pk=None, label="x"), {}, False),
    "one to one": Case(lambda: changed(Profile.objects.get(), bio="y"), {}),
    "generic": Case(lambda: changed(Note.objects.get(pk=1), target=Author.objects.get(pk=2)), {}),
    "a proxy": Case(lambda: changed(Writer.objects.get(name="Ada"), age=4), {}),
    "several tables": Case(
        lambda: changed(Restaurant.objects.get(name="Cafe"), stars=5, name="x"), {}, False
    ),
    "several tables, new": Case(lambda: Restaurant(name="x", stars=2), {}, False),
    "several tables, one named": Case(
        lambda: changed(Restaurant.objects.get(name="Cafe"), stars=5), {"update_fields": ["stars"]}, False
    ),
    "a save() of its own": Case(lambda: Shouter.objects.get(name="HEY"), {}, False),
    "a new one with a save() of its own": Case(lambda: Shouter(name="ho"), {}, False),
    "no AsyncManager": Case(lambda: changed(Plain.objects.get(name="p"), author=None), {}),
    "a datetime": Case(
        lambda: changed(Author.objects.get(pk=1), created=dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)), {}
    ),
}


@contextmanager
def receivers(log: list[Any]) -> Iterator[None]:
    def receiver(signal: Any, sender: Any, instance: Any, **kwargs: Any) -> None:
        name = "pre_save" if signal is pre_save else "post_save"
        # A query of its own, before or after: what is there already.
        there = type(instance)._base_manager.filter(pk=instance.pk).count()
        log.append((name, sender, instance._state.adding, instance._state.db, there, sorted(kwargs.items())))
        if signal is pre_save and isinstance(instance, Author):
            instance.age = 99

    pre_save.connect(receiver)
    post_save.connect(receiver)
    try:
        yield
    finally:
        pre_save.disconnect(receiver)
        post_save.disconnect(receiver)


async def outcome(
    snapshot: Snapshot, case: Case, save: Any, *, watched: bool, signals: bool, block: Any
) -> Any:
    """Everything there is to see of one way to save."""
    snapshot.restore()
    await AsyncQuerySet(Tag).acount()  # then the server's version is known
    obj = await run_sync(case.make)
    log: list[Any] = []
    error = broken = None
    with capture_queries() if watched else nullcontext([]) as queries:
        try:
            async with block():
                try:
                    with receivers(log) if signals else nullcontext():
                        await save(obj, case.kwargs)
                except Exception as exc:
                    error = (type(exc), str(exc))
                    broken = await run_sync(lambda: transaction.get_connection().needs_rollback)
                    raise
        except Exception as exc:
            assert error is not None, exc  # noqa: PT017 - it is the one that was seen inside
    statements = [query["sql"] for query in queries]
    return error, broken, seen(obj), snapshot.rows(), statements, log


async def djangos(obj: Any, kwargs: dict[str, Any]) -> None:
    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        await run_sync(obj.save, **kwargs)


async def by_asave(obj: Any, kwargs: dict[str, Any]) -> None:
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await (obj.asave(**kwargs) if is_managed(type(obj)) else run_sync(obj.save, **kwargs))


async def in_bridge(obj: Any, kwargs: dict[str, Any]) -> None:
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await run_sync(obj.save, **kwargs)


@pytest.mark.parametrize(
    ("watched", "signals", "block"),
    [
        pytest.param(False, False, nullcontext, id="on the wire"),
        pytest.param(False, True, atomic, id="on the wire, with receivers, in a block"),
        pytest.param(True, True, nullcontext, id="watched, with receivers"),
        pytest.param(True, False, atomic, id="watched, in a block"),
    ],
)
@pytest.mark.parametrize("name", SAVES)
async def test_saves(snapshot: Snapshot, name: str, watched: bool, signals: bool, block: Any) -> None:
    case = SAVES[name]
    how = {"watched": watched, "signals": signals, "block": block}
    expected = await outcome(snapshot, case, djangos, **how)
    for save in (by_asave, in_bridge):
        found = await outcome(snapshot, case, save, **how)
        assert found == expected, save.__name__


@pytest.mark.parametrize("name", SAVES)
async def test_they_have_plans(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = SAVES[name]
    by_django = []

    async def spy(function: Any, *args: Any, **kwargs: Any) -> Any:
        by_django.append(function.__name__ == "save")
        return await run_sync(function, *args, **kwargs)

    monkeypatch.setattr("turbo_orm.creation.run_sync", spy)
    for save, planned in ((by_asave, case.planned), (in_bridge, case.planned_in_bridge)):
        await AsyncQuerySet(Tag).acount()
        obj = await run_sync(case.make)
        same, error = Verified.same, None
        try:
            await save(obj, case.kwargs)
        except Exception as exc:  # the test above compares them
            error = exc
        # What asave() has no plan for is Django's save() in the bridge, which may have some.
        assert (Verified.same > same) is (planned or case.planned_in_bridge), save.__name__
        if save is by_asave and is_managed(type(obj)):
            assert any(by_django) is not planned or (error is not None and not planned)
        snapshot.restore()
