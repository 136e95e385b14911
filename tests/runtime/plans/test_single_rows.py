"""What `save()` sends in the bridge: on plans, wherever it comes from, or by Django's own methods."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from weakref import ref

import django
import pytest
from django.core.exceptions import FieldError
from django.core.files.base import ContentFile
from django.db import DataError, ProgrammingError, connection, models
from django.db.models.functions import Concat, Lower, TruncYear, Upper
from django.db.models.signals import post_init, post_save
from django.test import override_settings
from django.test.utils import isolate_apps

from tests.project.library.models import Author, Book, Person, Place, Restaurant, Shouter, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import seen
from tests.runtime.plans.test_inserts import CREATIONS, shelf  # noqa: F401  fixtures
from turbo_orm import AsyncManager, AsyncQuerySet, run_sync
from turbo_orm.errors import PlanMismatchError
from turbo_orm.plans import mode
from turbo_orm.plans.verify import Verified

POOL = {"min_size": 1, "max_size": 5}


pytestmark = pytest.mark.usefixtures("frozen_now", "verifying")


async def by_django(function: Any, *args: Any, **kwargs: Any) -> Any:
    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        return await run_sync(function, *args, **kwargs)


@pytest.mark.usefixtures("same_keys")
@pytest.mark.parametrize("name", CREATIONS)
async def test_create(snapshot: Snapshot, name: str) -> None:
    model, kwargs = CREATIONS[name]
    values = await run_sync(kwargs)
    outcomes = []
    for run in (by_django, run_sync):
        snapshot.restore()
        same = Verified.same
        obj = await run(model._base_manager.create, **values)
        outcomes.append((seen(obj), snapshot.rows()))
    assert outcomes[0] == outcomes[1]
    assert Verified.same > same


@pytest.fixture
def same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Person._meta.get_field("id"), "_get_default", lambda: uuid.UUID(int=1000))


UNUSUAL = [
    ("Upper", {"text": "a"}),
    ("Lonely", {}),
    ("Keyed", {"key": "a"}),
    ("Keys", {}),
    ("Generated", {"n": 4}),
    ("Defaults", {}),
    ("Defaults", {"a": 1}),
    ("Defaults", {"a": 1, "b": "y"}),
    ("OnlyDefaults", {"id": 6}),
    ("Counting", {"number": 1}),
    ("Upload", {"file": "x.txt"}),
]


@pytest.mark.parametrize("number", range(len(UNUSUAL)))
async def test_unusual_tables(shelf: dict[str, Any], number: int) -> None:  # noqa: F811  the fixture
    name, kwargs = UNUSUAL[number]
    if name not in shelf:
        return  # Django 4.2 knows neither generated fields nor database defaults
    model = shelf[name]

    def create_and_change() -> Any:
        obj = model._base_manager.create(**kwargs)
        created = {**model._base_manager.values().get(pk=obj.pk), "id": None, "d": None}
        obj.save()
        obj.save(force_update=True)
        changed = {**model._base_manager.values().get(pk=obj.pk), "id": None, "d": None}
        shown = [(key, str(value)) for key, value in vars(obj).items() if key not in {"id", "d", "_state"}]
        obj.delete()
        return created, changed, shown

    expected = await by_django(create_and_change)
    same = Verified.same
    assert await run_sync(create_and_change) == expected
    # Where a pre_save() is the project's, it is the UPDATE, whose values are known.
    assert Verified.same > same


async def test_files_are_stored_once(shelf: dict[str, Any], tmp_path: Path) -> None:  # noqa: F811  the fixture
    with override_settings(MEDIA_ROOT=str(tmp_path)):
        obj = shelf["Upload"](file=ContentFile(b"content", name="a.txt"))
        same = Verified.same
        await run_sync(obj.save)
        assert Verified.same == same + 1
        assert obj.file.name == "a.txt"
        assert await run_sync(_stored_in, tmp_path) == {"a.txt": b"content"}
        assert await run_sync(lambda: shelf["Upload"]._base_manager.get(pk=obj.pk).file.name) == "a.txt"


def _stored_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_saves_of_ones_own_and_parents_have_plans() -> None:
    for obj, statements in (
        (Shouter(name="x"), 1),
        (Restaurant(name="x", stars=2), 2),
        (await run_sync(Shouter.objects.get, name="HEY"), 1),
        (await run_sync(Restaurant.objects.get, name="Cafe"), 2),
    ):
        same = Verified.same
        await run_sync(obj.save)
        # Shouter counts, too.
        assert Verified.same - same >= statements


async def test_get_or_create_and_update_or_create() -> None:
    same = Verified.same
    tag, created = await Tag.objects.aget_or_create(label="new")
    assert created
    assert (await Tag.objects.aget(label="new")) == tag
    assert Verified.same > same
    same = Verified.same
    author, created = await Author.objects.aupdate_or_create(name="Ada", defaults={"age": 50})
    assert not created
    assert (author.age, (await Author.objects.aget(name="Ada")).age) == (50, 50)
    assert Verified.same > same


async def test_receivers_that_write(snapshot: Snapshot) -> None:
    seen_in_receiver = []

    def receiver(instance: Any, created: bool, **kwargs: Any) -> None:
        Tag.objects.create(label=f"of-{instance.name}")
        seen_in_receiver.append((instance.pk, created, instance._state.adding))

    post_save.connect(receiver, sender=Place)
    try:
        same = Verified.same
        place = await AsyncQuerySet(Place).acreate(name="here")
    finally:
        post_save.disconnect(receiver, sender=Place)
    assert seen_in_receiver == [(place.pk, True, False)]
    assert await Tag.objects.filter(label="of-here").acount() == 1
    assert Verified.same - same >= 2


async def test_objects_built_by_django() -> None:
    def receiver(instance: Any, **kwargs: Any) -> None:
        instance.name = instance.name.upper()

    post_init.connect(receiver, sender=Place)
    try:
        same = Verified.same
        place = await AsyncQuerySet(Place).acreate(name="here")
    finally:
        post_init.disconnect(receiver, sender=Place)
    assert place.name == "HERE"
    assert Verified.same > same


@pytest.fixture
def unusual() -> Iterator[dict[str, Any]]:
    with isolate_apps("tests.project.library"):

        class Locked(models.Model):
            """With a version that must not have changed."""

            version = models.IntegerField(default=0)

            class Meta:
                app_label = "library"

            def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *args: Any) -> Any:
                base_qs = base_qs.filter(version=self.version - 1)
                return super()._do_update(base_qs, using, pk_val, values, *args)

        class Visible(models.Manager):  # type: ignore[type-arg]
            def get_queryset(self) -> Any:
                return super().get_queryset().filter(hidden=False)

        class Hidden(models.Model):
            hidden = models.BooleanField()

            objects = Visible()

            class Meta:
                app_label = "library"
                base_manager_name = "objects"

        class Watched(models.Model):
            """Looks before it writes."""

            name = models.CharField(max_length=9)

            class Meta:
                app_label = "library"
                select_on_save = True

        made: dict[str, Any] = {"Locked": Locked, "Hidden": Hidden, "Watched": Watched}
        if hasattr(models, "GeneratedField"):

            class Doubled(models.Model):
                n = models.IntegerField()
                twice = models.GeneratedField(
                    expression=models.F("n") * 2, output_field=models.IntegerField(), db_persist=True
                )

                objects = AsyncManager()

                class Meta:
                    app_label = "library"

            made["Doubled"] = Doubled
        with connection.schema_editor() as editor:
            for model in made.values():
                editor.create_model(model)
        yield made
        with connection.schema_editor() as editor:
            for model in made.values():
                editor.delete_model(model)


async def test_a_queryset_that_is_filtered(unusual: dict[str, Any]) -> None:
    def work() -> list[Any]:
        obj = unusual["Locked"]._base_manager.create()
        found = []
        for version in (1, 2):
            obj.version = version
            obj.save(force_update=True)
            found.append(unusual["Locked"]._base_manager.get(pk=obj.pk).version)
        with pytest.raises(Exception, match="did not affect any rows"):
            obj.save(force_update=True)
        return found

    assert await run_sync(work) == await by_django(work) == [1, 2]


async def test_a_base_manager_that_filters(unusual: dict[str, Any]) -> None:
    def work() -> int:
        obj = unusual["Hidden"](hidden=True)
        obj.save()
        obj.hidden = False
        with pytest.raises(Exception, match="did not affect any rows"):
            obj.save(force_update=True)
        return models.QuerySet(unusual["Hidden"]).filter(hidden=False).count()

    assert await by_django(work) == 0
    assert await run_sync(work) == 0


async def test_one_that_looks_first(unusual: dict[str, Any]) -> None:
    def work() -> list[str]:
        obj = unusual["Watched"]._base_manager.create(name="a")
        obj.name = "b"
        obj.save()
        return [*unusual["Watched"]._base_manager.values_list("name", flat=True)]

    assert await run_sync(work) == ["b"]
    assert await by_django(work) == ["b", "b"]


#: What is set before a book is saved; its number is another one in each of several saves.
EXPRESSIONS: dict[str, Callable[[int], dict[str, Any]]] = {
    "a field": lambda number: {"price": models.F("id")},
    "with a value": lambda number: {"price": models.F("price") + number},
    "with a decimal": lambda number: {"price": models.F("price") * Decimal(number)},
    "two": lambda number: {"title": Upper("title"), "price": models.F("id") - number},
    "beside values": lambda number: {"price": models.F("price") / number, "meta": {"edition": number}},
    "beside NULL": lambda number: {"title": Lower("title"), "published": None, "editor_id": None},
    "a value": lambda number: {"title": models.Value(f"number {number}")},
    "a text": lambda number: {"title": Concat("title", models.Value(f" {number}"))},
    "a date": lambda number: {"published": TruncYear("published")},
    "JSON": lambda number: {"meta": models.F("meta")},
    "an array": lambda number: {"marks": models.F("marks")},
    "a key": lambda number: {"editor_id": models.F("author_id")},
    "a case": lambda number: {
        "title": models.Case(models.When(price__gt=number, then=models.Value("dear")), default="title")
    },
    "a subquery": lambda number: {
        "title": models.Subquery(
            Author.objects.filter(pk=models.OuterRef("author_id")).exclude(age=number).values("name")[:1]
        )
    },
    "its key": lambda number: {"price": models.F("pk")},
}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("fields", ["all", "some"])
async def test_expressions(snapshot: Snapshot, name: str, fields: str) -> None:
    async def saved(asynchronously: bool) -> Any:
        books = await run_sync(list, Book.objects.order_by("pk")[:3])
        found = []
        for number, book in enumerate(books, start=1):
            given = EXPRESSIONS[name](number)
            for attribute, value in given.items():
                setattr(book, attribute, value)
            options = {"update_fields": [*given]} if fields == "some" else {}
            if asynchronously:
                await book.asave(**options)
            else:
                await run_sync(book.save, **options)
            # Since Django 6.0 it has what became of the expression; before, it keeps that.
            found.append({name: _shown(value) for name, value in vars(book).items() if name != "_state"})
        return found, snapshot.rows()

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await saved(asynchronously=False)
    for asynchronously in (False, True):
        snapshot.restore()
        same = Verified.same
        assert await saved(asynchronously) == expected
        assert Verified.same - same >= len(expected[0])


def _shown(value: Any) -> str:
    return type(value).__name__ if hasattr(value, "resolve_expression") else str(value)


WRONG = {
    "no such field": (lambda: models.F("nothing"), FieldError),
    "a relation's": (lambda: models.F("author__age"), FieldError),
    "an aggregate": (lambda: models.Max("price"), FieldError),
    "of another type": (lambda: models.F("title"), ProgrammingError),
    "out of range": (lambda: models.F("price") + 10**12, DataError),
}


@pytest.mark.parametrize("name", WRONG)
async def test_expressions_that_are_refused(name: str) -> None:
    make, error = WRONG[name]
    before = (await Book.objects.aget(pk=1)).price
    for _ in range(3):
        book = await Book.objects.aget(pk=1)
        book.price = make()
        with pytest.raises(error):
            await book.asave(update_fields=["price"])
    assert (await Book.objects.aget(pk=1)).price == before


async def test_expressions_of_rows_that_are_gone() -> None:
    for options, message in (
        ({"update_fields": ["price"]}, "did not affect any rows"),
        ({}, "F.. expressions can only be used to update, not to insert"),
    ):
        for _ in range(3):
            book = await Book.objects.aget(pk=1)
            book.pk, book.price = 999, models.F("price") + 1
            with pytest.raises(Exception, match=message):
                await book.asave(**options)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("wire", [True, False])
@pytest.mark.parametrize("way", ["asave", "in the bridge"])
async def test_what_the_database_generates(unusual: dict[str, Any], way: str, wire: bool) -> None:
    if "Doubled" not in unusual:
        return  # Django 4.2 knows no generated fields
    with override_settings(TURBO_ORM={"WIRE": wire, "VERIFY_PLANS": True, "POOL": POOL}):
        await _generated(unusual, way)


async def _generated(unusual: dict[str, Any], way: str) -> None:
    made = await run_sync(unusual["Doubled"].objects.create, n=1)
    for n in (2, 3, models.F("n") + 4):
        made.n = n
        same = Verified.same
        await (made.asave() if way == "asave" else run_sync(made.save))
        assert Verified.same > same
        expected = await run_sync(unusual["Doubled"].objects.get)
        if django.VERSION >= (6,):
            assert (made.n, made.twice) == (expected.n, expected.twice)
    assert (expected.n, expected.twice) == (7, 14)


@pytest.mark.usefixtures("at_once")
async def test_a_mismatch_of_expressions_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(*_: Any) -> None:
        raise PlanMismatchError("it differs")

    book = await Book.objects.aget(pk=1)
    monkeypatch.setattr(mode, "verify", differ)
    book.price = models.F("price") + 1
    with pytest.raises(PlanMismatchError):
        await book.asave(update_fields=["price"])


async def test_raw_saves_are_djangos() -> None:
    book = await run_sync(Book.objects.get, pk=1)
    book.title = "raw"
    await run_sync(book.save_base, raw=True)
    assert (await run_sync(Book.objects.get, pk=1)).title == "raw"
    same = Verified.same
    await run_sync(Tag(label="raw").save_base, raw=True, force_insert=True)
    assert Verified.same == same


class NeverUpdates(AsyncQuerySet):
    """What tests put in the place of a manager's querysets."""

    def _update(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._update(*args, **kwargs)  # type: ignore[misc]
        return [] if isinstance(found, list) else 0

    def _insert(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("way", ["asave", "in the bridge"])
async def test_querysets_of_the_manager_that_are_replaced(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def save(tag: Tag, **kwargs: Any) -> Any:
        return tag.asave(**kwargs) if way == "asave" else run_sync(tag.save, **kwargs)

    tag = await Tag.objects.aget(label="red")
    await save(tag, force_update=True)
    await save(Tag(label="new"))
    monkeypatch.setattr(Tag._base_manager, "_queryset_class", NeverUpdates)
    with pytest.raises(Exception, match="Forced update did not affect any rows"):
        await save(tag, force_update=True)
    with pytest.raises(NotImplementedError):
        await save(Tag(label="newer"))
    tag.label = Concat("label", models.Value("dish"))
    with pytest.raises(Exception, match="Forced update did not affect any rows"):
        await save(tag, force_update=True)
    monkeypatch.undo()
    await save(tag, force_update=True)


async def test_plans_have_a_bound() -> None:
    names = ["title", "author", "editor", "price", "published", "meta", "marks"]
    book = await Book.objects.aget(pk=1)
    for number in range(1, 2 ** len(names)):
        fields = [name for position, name in enumerate(names) if number >> position & 1]
        await book.asave(update_fields=fields)
    known: Any = vars(Book._meta)["_turbo_row_updates"]
    assert 20 < len(known.plans) <= 100
    assert 20 < len(known.reads) <= 100


async def test_plans_keep_no_values_alive() -> None:
    class Text(str):
        __slots__ = ("__weakref__",)

    for way in ("asave", "in the bridge"):
        for attribute in ("_turbo_inserts", "_turbo_row_updates", "_turbo_single_rows"):
            vars(Tag._meta).pop(attribute, None)
        text = Text(f"of {way}")
        tag = Tag(label=text)
        for kwargs in ({}, {"force_update": True}):
            await (tag.asave(**kwargs) if way == "asave" else run_sync(tag.save, **kwargs))
        gone = [ref(text), ref(tag)]
        del text, tag
        gc.collect()
        assert [each() for each in gone] == [None, None], way
