"""`AsyncManager` is made, inherited, copied and migrated like any manager of Django's."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from django.contrib.auth.models import UserManager
from django.db import models
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models.options import Options
from django.test.utils import isolate_apps

from tests.project.library.models import (
    Author,
    Book,
    BookQuerySet,
    Migrated,
    MigratedManager,
    Person,
    Restaurant,
    Tag,
    Writer,
    WriterQuerySet,
)
from turbo_orm import AsyncManager, AsyncQuerySet, run_sync


def test_from_queryset_takes_the_methods_of_the_class() -> None:
    assert isinstance(Book.objects, AsyncManager)
    assert isinstance(Book.objects.all(), BookQuerySet)
    assert isinstance(Book.objects.cheap().cheap(), BookQuerySet)


async def test_own_async_methods_are_on_the_manager() -> None:
    author = await Author.objects.acreate(name="a")
    await Book.objects.acreate(title="dear", author=author, price=20)
    await Book.objects.acreate(title="cheap", author=author, price=5)
    assert (await Book.objects.acheapest()).title == "cheap"
    assert [book.title async for book in author.books.cheap()] == ["cheap"]


def test_from_queryset_refuses_djangos_own_querysets() -> None:
    class Threaded(models.QuerySet):  # type: ignore[type-arg]
        pass

    with pytest.raises(TypeError, match=r"needs a subclass of turbo_orm.AsyncQuerySet, and Threaded is not"):
        AsyncManager.from_queryset(Threaded)


class _Plain(models.QuerySet):  # type: ignore[type-arg]
    pass


class _SoftQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def delete(self) -> Any:
        return self.update(alive=False), {}


class _SoftManager(models.Manager):  # type: ignore[type-arg]
    """As django-model-utils' and django-safedelete's."""

    _queryset_class = _SoftQuerySet

    def get_queryset(self) -> Any:
        return self._queryset_class(self.model, using=self._db).filter(alive=True)


def test_querysets_of_another_base_are_not_lost() -> None:
    wanted = (
        r"People would make plain AsyncQuerySet objects, without what the _SoftQuerySet of _SoftManager "
        r"does. Write `class People\(_SoftManager, AsyncManager\): _queryset_class = Async_SoftQuerySet` "
        r"with `class Async_SoftQuerySet\(_SoftQuerySet, AsyncQuerySet\)`."
    )
    with pytest.raises(TypeError, match=wanted):
        type("People", (AsyncManager, _SoftManager), {})
    with pytest.raises(TypeError, match=r"Write `class Books\(ManagerFromBookQuerySet, AsyncManager\)`."):
        type("Books", (AsyncManager, models.Manager.from_queryset(BookQuerySet)), {})
    assert type("Users", (AsyncManager, UserManager), {})._queryset_class is AsyncQuerySet
    assert type("Said", (AsyncManager, _SoftManager), {"_queryset_class": AsyncQuerySet})


class _Filtering(models.Manager):  # type: ignore[type-arg]
    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, alive=True, **kwargs)


async def test_methods_of_another_base_are_not_lost() -> None:
    wanted = (
        r"People would not call filter\(\) of _Filtering. Write `class People\(_Filtering, AsyncManager\)`."
    )
    with pytest.raises(TypeError, match=wanted):
        type("People", (AsyncManager, _Filtering), {})
    manager: Any = type("People", (_Filtering, AsyncManager), {})()
    manager.model = Person
    for alive in (True, False, False):
        await Person.everyone.acreate(name="a", alive=alive)
        assert await manager.filter(name="a").acount() == 1


async def test_a_manager_with_querysets_of_its_own() -> None:
    """As the error for one that loses them says."""
    querysets: Any = type("AsyncSoft", (_SoftQuerySet, AsyncQuerySet), {})
    manager = type("People", (_SoftManager, AsyncManager), {"_queryset_class": querysets})()
    manager.model = Person
    for name in ("a", "b", "c"):
        await Person.everyone.acreate(name=name)
        assert (await manager.filter(name=name).adelete())[0] == 1
        assert await manager.acount() == 0
        assert await manager.filter(name=name).alist() == []
    assert await Person.everyone.acount() == 3


class _Behind(models.QuerySet):  # type: ignore[type-arg]
    """What a package overrides of querysets: as modeltranslation's, which it puts behind the project's."""

    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, **{"name" if key == "called" else key: kwargs[key] for key in kwargs})

    def order_by(self, *names: Any) -> Any:
        return super().order_by(*("name" if name == "called" else name for name in names))

    def values_list(self, *names: Any, **options: Any) -> Any:
        return super().values_list(*("name" if name == "called" else name for name in names), **options)

    def update(self, **values: Any) -> Any:
        return super().update(**{"name" if key == "called" else key: values[key] for key in values})

    def create(self, **values: Any) -> Any:
        return super().create(name=values["called"])

    def count(self) -> int:
        return 100 + super().count()

    def delete(self) -> Any:
        return self.update(alive=False), {}


async def test_what_a_class_behind_ours_overrides_is_not_lost() -> None:
    class Own(AsyncQuerySet):
        def delete(self) -> Any:
            return "own", super().delete()

    mine: Any = type("Mine", (Own, _Behind), {}).as_manager()
    mine.model = Person

    def sync() -> Any:
        rows = mine.filter(called="b")
        return rows.count(), rows.delete(), rows.update(called="c"), list(mine.values_list("called", "alive"))

    for _ in range(3):
        await mine.acreate(called="b")
        assert await mine.order_by("called").filter(called="b").values_list("called").alist() == [("b",)]
        assert await mine.filter(called="b").aupdate(called="a") == 1
        assert [row.name async for row in mine.order_by("called")] == ["a"]
        assert await mine.acount() == 101
        assert await mine.all().adelete() == ("own", (1, {}))
        assert await mine.filter(called="a").aupdate(called="b") == 1
        assert await run_sync(sync) == (101, ("own", (1, {})), 1, [("c", False)])
        await Person.everyone.all().adelete()


class _MoreMethods(models.QuerySet):  # type: ignore[type-arg]
    def named(self, name: str) -> Any:
        return self.filter(name=name)


def test_a_class_behind_ours_that_only_adds_methods_has_plans() -> None:
    rows: Any = type("Mine", (AsyncQuerySet, _MoreMethods), {})(Person)
    rows.named("a")
    assert rows.named("a")._planned is not None


def test_as_manager() -> None:
    assert isinstance(Book.as_books, AsyncManager)
    assert isinstance(Writer.objects.all(), WriterQuerySet)
    assert Book.as_books.model is Book


def test_abstract_bases_pass_their_manager_on() -> None:
    assert type(Author.objects) is AsyncManager
    assert Author.objects.model is Author


def test_children_with_a_table_of_their_own_inherit_the_manager() -> None:
    assert isinstance(Restaurant.objects, AsyncManager)
    assert Restaurant.objects.all().model is Restaurant


async def test_several_managers_each_with_its_own_rows() -> None:
    await Person.everyone.acreate(name="alive")
    await Person.everyone.acreate(name="dead", alive=False)
    assert [person.name async for person in Person.living.all()] == ["alive"]
    assert await Person.everyone.acount() == 2
    assert await Person._default_manager.acount() == 2
    assert not isinstance(Person.plain, AsyncManager)


def test_a_manager_of_a_model_is_not_reached_through_instances() -> None:
    with pytest.raises(AttributeError, match="Manager isn't accessible via Author instances"):
        Author(name="x").objects  # noqa: B018  reading it is the test


def test_use_in_migrations_writes_the_manager() -> None:
    state = ModelState.from_model(Migrated)
    [(name, manager)] = state.managers
    assert (name, type(manager)) == ("objects", MigratedManager)
    written, needed = MigrationWriter.serialize(manager)
    assert written == "tests.project.library.models.MigratedManager()"
    assert needed == {"import tests.project.library.models"}


def test_managers_not_for_migrations_are_not_written() -> None:
    assert ModelState.from_model(Book).managers == []
    assert ModelState.from_model(Author).managers == []


async def test_historical_models_have_the_manager() -> None:
    state = ProjectState()
    state.add_model(ModelState.from_model(Migrated))
    historical = state.apps.get_model("library", "Migrated")
    assert historical is not Migrated
    assert isinstance(historical.objects, MigratedManager)
    created = await historical.objects.acreate(name="then")
    await created.asave()
    assert await Migrated.objects.acount() == 1


def test_managers_deconstruct() -> None:
    assert MigratedManager().deconstruct() == (
        False,
        "tests.project.library.models.MigratedManager",
        None,
        (),
        {},
    )
    as_manager, _, queryset, _, _ = BookQuerySet.as_manager().deconstruct()
    assert (as_manager, queryset) == (True, "tests.project.library.models.BookQuerySet")


def test_managers_are_equal_by_their_arguments() -> None:
    assert MigratedManager() == MigratedManager()
    assert MigratedManager() != AsyncManager()


@isolate_apps("tests.project.library")
def test_a_subclass_of_the_manager_without_init_arguments() -> None:
    class Manager(AsyncManager):
        def get_queryset(self) -> AsyncQuerySet:
            return super().get_queryset().filter(pk__gt=1)

    class Thing(models.Model):
        objects = Manager()

        class Meta:
            app_label = "library"

    assert "> 1" in str(Thing.objects.all().query)


async def test_querysets_are_pickled_with_their_rows_and_without() -> None:
    await Tag.objects.acreate(label="x")
    loaded = Tag.objects.all()
    await loaded.alist()
    copy = pickle.loads(pickle.dumps(loaded))
    await Tag.objects.all().adelete()
    assert [tag.label async for tag in copy] == ["x"]
    fresh = Tag.objects.all()
    fresh.query = pickle.loads(pickle.dumps(loaded.query))
    assert await fresh.alist() == []


def test_a_base_manager_which_others_put_in_the_place_of_djangos(monkeypatch: pytest.MonkeyPatch) -> None:
    # As django-polymorphic does on import, which may come after ours.
    prop: Any = vars(Options)["base_manager"]
    assert isinstance(Author._base_manager, AsyncManager)
    original, theirs = prop.func, BookQuerySet.as_manager()

    def replaced(options: Any) -> Any:
        found = original(options)
        return theirs if type(found) is models.Manager and found.auto_created else found

    monkeypatch.setattr(prop, "func", replaced)
    monkeypatch.delitem(vars(Author._meta), "base_manager")
    assert Author._base_manager is theirs
