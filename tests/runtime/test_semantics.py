"""What Django calls on its own is called: overrides, signals, hooks, defaults of the database."""

from __future__ import annotations

import django
import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, models
from django.db.models import Case, F, Model, Value, When
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_init,
    post_save,
    pre_delete,
    pre_init,
    pre_save,
)

from tests.project.library.models import Author, Book, Place, Profile, Restaurant, Shouter, Tag
from turbo_orm import AsyncManager, atomic, run_sync


@pytest.fixture
def signals():
    log = []
    connected = []

    def connect(signal, name, sender):
        def receiver(**kwargs):
            log.append((name, connection.in_atomic_block if name not in ("pre_init", "post_init") else None))

        signal.connect(receiver, sender=sender, weak=False)
        connected.append((signal, receiver, sender))

    yield log, connect
    for signal, receiver, sender in connected:
        signal.disconnect(receiver, sender=sender)


async def test_overridden_save_and_async_delete():
    shouter = await Shouter.objects.acreate(name="hey")
    assert (shouter.name, shouter.saves) == ("HEY", 1)
    shouter.name = "again"
    await shouter.asave()
    assert (shouter.name, shouter.saves) == ("AGAIN", 2)
    await shouter.adelete()
    assert [row.name async for row in Shouter.objects.all()] == ["AGAIN WAS HERE"]


async def test_signals_of_one_save_and_delete(signals):
    log, connect = signals
    for name, signal in (
        ("pre_init", pre_init),
        ("post_init", post_init),
        ("pre_save", pre_save),
        ("post_save", post_save),
        ("pre_delete", pre_delete),
        ("post_delete", post_delete),
    ):
        connect(signal, name, Author)
    author = await Author.objects.acreate(name="x")
    await author.adelete()
    assert [name for name, _ in log] == [
        "pre_init",
        "post_init",
        "pre_save",
        "post_save",
        "pre_delete",
        "post_delete",
    ]


async def test_signals_of_many_to_many_changes_run_in_their_transaction(signals):
    log, connect = signals
    connect(m2m_changed, "m2m_changed", Book.tags.through)
    book = await Book.objects.acreate(title="t", author=await Author.objects.acreate(name="a"))
    await book.tags.aadd(await Tag.objects.acreate(label="x"))
    await book.tags.aclear()
    assert log == [("m2m_changed", True)] * 4


async def test_cascades_and_set_null():
    author, editor = [await Author.objects.acreate(name=name) for name in "ab"]
    await Profile.objects.acreate(author=author)
    await Book.objects.acreate(title="t", author=author, editor=editor)
    await editor.adelete()
    assert (await Book.objects.aget()).editor_id is None
    assert await author.adelete() == (
        3,
        {"library.Profile": 1, "library.Book": 1, "library.Author": 1},
    )


async def test_custom_on_delete():
    called = []

    def remember(collector, field, sub_objs, using):
        called.append((len(sub_objs), using))
        models.SET_NULL(collector, field, sub_objs, using)

    class Child(models.Model):
        author = models.ForeignKey(Author, remember, null=True, related_name="+")
        objects = AsyncManager()

        class Meta:
            app_label = "library"

    await run_sync(_make, Child)
    try:
        author = await Author.objects.acreate(name="a")
        await Child.objects.acreate(author=author)
        await author.adelete()
        assert called == [(1, "default")]
        assert (await Child.objects.aget()).author_id is None
    finally:
        await run_sync(_drop, Child)
        _forget(Child)


async def test_from_db_init_and_field_hooks():
    calls = []

    class Upper(models.CharField):
        def from_db_value(self, value, expression, connection):
            return value.upper()

        def pre_save(self, instance, add):
            calls.append("pre_save")
            return super().pre_save(instance, add)

    class Hooked(models.Model):
        name = Upper(max_length=20)
        objects = AsyncManager()

        class Meta:
            app_label = "library"

        def __init__(self, *args, **kwargs):
            calls.append("init")
            super().__init__(*args, **kwargs)

        @classmethod
        def from_db(cls, *args, **kwargs):
            calls.append("from_db")
            return super().from_db(*args, **kwargs)

    await run_sync(_make, Hooked)
    try:
        await Hooked.objects.acreate(name="x")
        assert list(dict.fromkeys(calls)) == ["init", "pre_save"]  # Django 6.1 asks pre_save twice
        calls.clear()
        assert (await Hooked.objects.aget()).name == "X"
        assert calls == ["from_db", "init"]
        assert await Hooked.objects.values_list("name", flat=True).alist() == ["X"]
    finally:
        await run_sync(_drop, Hooked)
        _forget(Hooked)


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default and GeneratedField came with Django 5.0")
async def test_values_the_database_makes():
    class Made(models.Model):
        number = models.IntegerField(db_default=7)
        twice = models.GeneratedField(
            expression=F("number") * 2, output_field=models.IntegerField(), db_persist=True
        )
        objects = AsyncManager()

        class Meta:
            app_label = "library"

    await run_sync(_make, Made)
    try:
        made = await Made.objects.acreate()
        await made.arefresh_from_db()
        assert (made.number, made.twice) == (7, 14)
        await Made.objects.aupdate(number=F("number") + 1)
        await made.arefresh_from_db()
        assert (made.number, made.twice) == (8, 16)
        made_many = await Made.objects.abulk_create([Made(number=1), Made()])
        assert [(await Made.objects.aget(pk=row.pk)).twice for row in made_many] == [2, 14]
    finally:
        await run_sync(_drop, Made)
        _forget(Made)


@pytest.mark.skipif(django.VERSION < (5, 2), reason="composite primary keys came with Django 5.2")
async def test_composite_primary_keys():
    class Pair(models.Model):
        pk = models.CompositePrimaryKey("left", "right")
        left = models.IntegerField()
        right = models.IntegerField()
        note = models.CharField(max_length=10, default="")
        objects = AsyncManager()

        class Meta:
            app_label = "library"

    await run_sync(_make, Pair)
    try:
        pair = await Pair.objects.acreate(left=1, right=2)
        await Pair.objects.acreate(left=1, right=3)
        assert (await Pair.objects.aget(pk=(1, 2))) == pair
        pair.note = "x"
        await pair.asave()
        assert await Pair.objects.filter(pk__in=[(1, 2), (9, 9)]).values_list("note", flat=True).alist() == [
            "x"
        ]
        assert await Pair.objects.ain_bulk([(1, 3)]) == {(1, 3): await Pair.objects.aget(right=3)}
        await pair.adelete()
        assert await Pair.objects.acount() == 1
    finally:
        await run_sync(_drop, Pair)
        _forget(Pair)


async def test_multi_table_inheritance():
    restaurant = await Restaurant.objects.acreate(name="r", stars=2)
    assert await Place.objects.acount() == 1
    place = await Place.objects.aget()
    assert await place.afetch("restaurant") == restaurant
    restaurant.name, restaurant.stars = "s", 3
    await restaurant.asave()
    assert (await Restaurant.objects.filter(name="s").aget()).stars == 3
    assert (await restaurant.adelete())[0] == 2
    assert not await Place.objects.aexists()


async def test_expressions_in_writes():
    author = await Author.objects.acreate(name="a", age=1)
    author.age = F("age") + 1
    await author.asave()
    await author.arefresh_from_db()
    assert author.age == 2
    await Author.objects.aupdate(age=Case(When(name="a", then=Value(10)), default=Value(0)))
    assert (await Author.objects.aget()).age == 10


async def test_update_fields_and_force_insert():
    author = await Author.objects.acreate(name="a", age=1)
    author.name, author.age = "b", 2
    await author.asave(update_fields=["age"])
    found = await Author.objects.aget()
    assert (found.name, found.age) == ("a", 2)
    async with atomic():
        with pytest.raises(IntegrityError):
            async with atomic():
                await author.asave(force_insert=True)
    with pytest.raises(DatabaseError, match="did not affect any rows"):
        await Author(pk=99, name="z").asave(force_update=True)


async def test_full_clean_asks_the_database():
    await Author.objects.acreate(name="a")
    with pytest.raises(ValidationError, match="already exists"):
        await Author(name="a").afull_clean()
    await Author(name="b", age=1).afull_clean()


async def test_a_full_clean_written_for_an_older_django(monkeypatch):
    def full_clean(self, exclude=None, validate_unique=False):
        called.append((exclude, validate_unique))
        Model.full_clean(self, exclude, validate_unique)

    called = []
    monkeypatch.setattr(Author, "full_clean", full_clean, raising=False)
    await Author.objects.acreate(name="a")
    await Author(name="a", age=1).afull_clean()
    with pytest.raises(ValidationError, match="already exists"):
        await Author(name="a", age=1).afull_clean(["age"], validate_unique=True)
    assert called == [(None, False), (["age"], True)]


def _make(model):
    with connection.schema_editor() as editor:
        editor.create_model(model)


def _drop(model):
    with connection.schema_editor() as editor:
        editor.delete_model(model)


def _forget(model):
    """Unregister a model made in a test, and the relations it added to others."""
    from django.apps import apps

    apps.all_models["library"].pop(model._meta.model_name)
    apps.clear_cache()
