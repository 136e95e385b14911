"""INSERT plans against `create()` and `save()`: statements, parameters, objects and rows."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, models, transaction
from django.db.models.functions import Lower, Now
from django.db.models.signals import post_init, post_save, pre_init, pre_save
from django.test.utils import isolate_apps
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.safestring import mark_safe

from tests.project.library.models import (
    Author,
    Book,
    Contribution,
    Note,
    Person,
    Place,
    Plain,
    Profile,
    Restaurant,
    Shouter,
    Tag,
    Writer,
)
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import seen
from turbo_orm.db.json_text import as_djangos
from turbo_orm.plans.construction import new_object
from turbo_orm.plans.inserts import insert_plan
from turbo_orm.plans.values import Bail

Make = Callable[[], Any]


class Statements:
    """What is executed, as the cursor gets it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen.append((sql, [(type(param), _value(param)) for param in params]))
        return execute(sql, params, many, context)


def _value(param: Any) -> Any:
    return (
        vars(param)
        if type(param).__name__ == "Jsonb" and hasattr(param, "__dict__")
        else getattr(param, "obj", param)
    )


def planned(obj: Any, **how: Any) -> Any:
    """Save *obj* by its plan."""
    plan = insert_plan(obj, "default", connections["default"], **how)
    assert plan is not None
    params = [as_djangos(param) for param in plan.params(obj)]
    with connection.cursor() as cursor:
        cursor.execute(plan.statement.sql, params)
        row = cursor.fetchone() if cursor.description else None
    plan.finish(obj, row, "default")
    return obj


def compare(snapshot: Snapshot, djangos: Make, ours: Make) -> None:
    results = []
    for run in (djangos, ours):
        snapshot.restore()
        statements = Statements()
        with connection.execute_wrapper(statements):
            obj = run()
        results.append((statements.seen, seen(obj), snapshot.rows()))
    assert results[0] == results[1]


class Names(models.TextChoices):
    A = "a"


def _any_content_type() -> int:
    ContentType.objects.clear_cache()  # other tests empty its table
    return ContentType.objects.get_for_model(Author).pk


CREATIONS: dict[str, tuple[type[models.Model], Callable[[], dict[str, Any]]]] = {
    "a name": (Author, lambda: {"name": "Dee", "age": 4}),
    "None": (Author, lambda: {"name": "Dee", "age": None}),
    "what is not a number": (Author, lambda: {"name": "Dee", "age": "12"}),
    "a boolean for a number": (Author, lambda: {"name": "Dee", "age": True}),
    "an enum": (Author, lambda: {"name": Names.A, "age": 1}),
    "a subclass of str": (Author, lambda: {"name": mark_safe("Dee")}),
    "a number for a text": (Author, lambda: {"name": 12}),
    "a proxy": (Writer, lambda: {"name": "Dee"}),
    "a key": (Author, lambda: {"id": 77, "name": "Dee"}),
    "a key by its alias": (Author, lambda: {"pk": 77, "name": "Dee"}),
    "a related object": (
        Book,
        lambda: {"title": "X", "author": Author.objects.get(name="Ada"), "price": Decimal("1.50")},
    ),
    "no related object": (Book, lambda: {"title": "X", "author": Author.objects.get(pk=1), "editor": None}),
    "a related key": (Book, lambda: {"title": "X", "author_id": 1, "meta": {"a": [1]}, "marks": [1, 2]}),
    "dates and floats": (Book, lambda: {"author_id": 1, "published": dt.date(2020, 1, 1), "price": 1.5}),
    "dates in other types": (Book, lambda: {"author_id": 1, "published": "2020-01-01", "price": "2"}),
    "one to one": (Profile, lambda: {"author": Author.objects.get(name="Bob"), "bio": "x"}),
    "a default": (Contribution, lambda: {"book_id": 1, "author_id": 2}),
    "generic": (Note, lambda: {"target": Author.objects.get(name="Ada"), "text": "x"}),
    "generic by keys": (Note, lambda: {"object_id": 5, "content_type_id": _any_content_type(), "text": ""}),
    "a generated key": (Person, lambda: {"name": "x", "parent_id": uuid.UUID(int=1)}),
    "a key of one's own": (Person, lambda: {"id": uuid.UUID(int=9), "name": "x", "alive": False}),
    "a key in another type": (Person, lambda: {"id": str(uuid.UUID(int=9)), "alive": 1}),
    "relations before fields": (Plain, lambda: {"author": Author.objects.get(pk=1), "name": "p"}),
    "nothing": (Place, dict),
}


@pytest.fixture
def same_uuids(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Person._meta.get_field("id")
    monkeypatch.setattr(field, "_get_default", lambda: uuid.UUID(int=1000))


@pytest.mark.usefixtures("frozen_now", "same_uuids")
@pytest.mark.parametrize("name", CREATIONS)
def test_create(snapshot: Snapshot, name: str) -> None:
    model, kwargs = CREATIONS[name]

    def ours() -> Any:
        obj = new_object(model, kwargs())
        assert obj is not None
        planned(obj, force_insert=True)
        if hasattr(obj._state, "fetch_mode"):
            obj._state.fetch_mode = models.FETCH_ONE
        return obj

    compare(snapshot, lambda: model._base_manager.create(**kwargs()), ours)


@pytest.mark.usefixtures("frozen_now", "same_uuids")
@pytest.mark.parametrize("name", sorted(CREATIONS.keys() - {"a key", "a key by its alias"}))
def test_save(snapshot: Snapshot, name: str) -> None:
    model, kwargs = CREATIONS[name]

    def djangos() -> Any:
        obj = model(**kwargs())
        obj.save()
        return obj

    compare(snapshot, djangos, lambda: planned(model(**kwargs())))


@pytest.mark.usefixtures("snapshot")
def test_a_plan_is_made_once_per_shape() -> None:
    def plan(model: type[models.Model], **kwargs: Any) -> Any:
        return insert_plan(new_object(model, kwargs), "default", connections["default"], force_insert=True)

    assert plan(Tag, label="a") is plan(Tag, label="b")
    assert plan(Tag, label="a") is not plan(Tag, label="b", id=5)
    assert plan(Tag, label="a").statement.text.endswith(b'("label") VALUES ($1) RETURNING "library_tag"."id"')
    assert insert_plan(Tag(label="a"), "other", connections["default"]) is not insert_plan(
        Tag(label="a"), "default", connections["default"]
    )


@pytest.mark.usefixtures("snapshot")
def test_related_objects_that_are_not_saved() -> None:
    book = new_object(Book, {"title": "x", "author": Author(name="new")})
    with pytest.raises(ValueError, match="unsaved related object"):
        insert_plan(book, "default", connections["default"], force_insert=True)


def test_related_objects_saved_since(snapshot: Snapshot) -> None:
    def book() -> Any:
        book = Book(title="x", author=Author(name="new"))
        book.author.save()
        return book

    def djangos() -> Any:
        found = book()
        found.save()
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timezone, "now", lambda: dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc))
        compare(snapshot, djangos, lambda: planned(book()))


@pytest.mark.usefixtures("frozen_now")
def test_related_objects_that_changed_since(snapshot: Snapshot) -> None:
    def books() -> list[Any]:
        ada, bob = Author.objects.get(name="Ada"), Author.objects.get(name="Bob")
        moved = Book(title="moved", author=ada)
        moved.author_id = bob.pk
        cleared = Book(title="cleared", author=ada, editor=bob)
        cleared.__dict__["author_id"] = None
        renumbered = Book(title="renumbered", author=ada)
        found = Author.objects.get(name="Cyd")
        other = Book(title="other", author=found)
        found.pk = bob.pk
        return [moved, cleared, renumbered, other, Book(title="nobody", author=bob, editor=None)]

    for number in range(5):

        def djangos(number: int = number) -> Any:
            book = books()[number]
            book.save()
            return book

        compare(snapshot, djangos, lambda number=number: planned(books()[number]))


@pytest.mark.usefixtures("snapshot")
@pytest.mark.parametrize("signal", [pre_save, post_save])
def test_receivers_of_saving_are_left_to_django(signal: Any) -> None:
    assert insert_plan(Tag(label="a"), "default", connections["default"]) is not None

    def receiver(**kwargs: Any) -> None: ...

    for sender, plans in ((Tag, False), (Author, True), (None, False)):
        signal.connect(receiver, sender=sender)
        try:
            assert (insert_plan(Tag(label="a"), "default", connections["default"]) is not None) is plans
        finally:
            signal.disconnect(receiver, sender=sender)
    assert insert_plan(Tag(label="a"), "default", connections["default"]) is not None


@pytest.mark.usefixtures("snapshot")
@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_receivers_of_construction_are_left_to_django(signal: Any) -> None:
    def receiver(**kwargs: Any) -> None: ...

    assert new_object(Tag, {"label": "a"}) is not None
    signal.connect(receiver, sender=Tag)
    try:
        assert new_object(Tag, {"label": "a"}) is None
    finally:
        signal.disconnect(receiver, sender=Tag)


@pytest.mark.usefixtures("snapshot")
def test_what_save_would_update_is_left_to_django() -> None:
    assert insert_plan(Author(id=1, name="x"), "default", connections["default"]) is None
    assert insert_plan(Author.objects.get(name="Ada"), "default", connections["default"]) is None
    # With a default, a key that is set is a new one...
    assert insert_plan(Person(id=uuid.uuid4()), "default", connections["default"]) is not None
    # ...unless the object came from the database.
    assert insert_plan(Person.everyone.all()[0], "default", connections["default"]) is None
    deferred = Author.objects.only("name").get(name="Ada")
    assert insert_plan(deferred, "default", connections["default"]) is None


@pytest.mark.usefixtures("snapshot")
def test_methods_of_ones_own_are_left_to_django(monkeypatch: pytest.MonkeyPatch) -> None:
    assert insert_plan(Shouter(name="a"), "default", connections["default"]) is None
    tag = Tag(label="a")
    assert insert_plan(tag, "default", connections["default"]) is not None
    for name in (
        "save",
        "save_base",
        "_do_insert",
        "_save_table",
        "_prepare_related_fields_for_save",
        "__setattr__",
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Tag, name, lambda *args, **kwargs: None)
            assert insert_plan(tag, "default", connections["default"]) is None, name
    tag.__dict__["save"] = lambda: None
    assert insert_plan(tag, "default", connections["default"]) is None


@pytest.mark.usefixtures("snapshot")
def test_several_tables_are_left_to_django() -> None:
    assert insert_plan(Restaurant(name="x"), "default", connections["default"], force_insert=True) is None


@pytest.mark.usefixtures("snapshot")
def test_expressions_are_left_to_django() -> None:
    tag = Tag(label=Lower(models.Value("A")))
    # Neither does it serve as a sample to make a plan with.
    Tag._meta.__dict__.pop("_turbo_inserts", None)
    assert insert_plan(tag, "default", connections["default"]) is None
    assert insert_plan(Tag(label="a"), "default", connections["default"]) is not None
    plan = insert_plan(tag, "default", connections["default"])
    assert plan is not None
    with pytest.raises(Bail):
        plan.params(tag)


@pytest.mark.usefixtures("snapshot")
@pytest.mark.parametrize(
    "kwargs",
    [
        {"nothing": 1},
        {"author": 5},
        {"name": "x", "author": 5},
        # Django 5.0 and later refuse the names of reverse relations.
        *(
            [{"name": "x", "profile": None}]
            if hasattr(Author._meta, "_reverse_one_to_one_field_names")
            else []
        ),
    ],
)
def test_mistakes_are_left_to_django(kwargs: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Author.objects.create(**kwargs)
    assert new_object(Author, kwargs) is None


def test_mistakes_do_not_ask_for_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Person._meta.get_field("id"), "_get_default", lambda: asked.append(1))
    assert new_object(Person, {"nme": "x"}) is None
    assert new_object(Person, {"name": "x", "1": 2}) is None
    assert asked == []
    assert new_object(Person, {"name": "x"}) is not None
    assert asked == [1]


@pytest.mark.usefixtures("snapshot")
def test_fields_errors_come_before_the_statement() -> None:
    author = Author(name="x", age="old")
    # As a sample to make a plan with, it is of no use.
    Author._meta.__dict__.pop("_turbo_inserts", None)
    assert insert_plan(author, "default", connections["default"]) is None
    assert insert_plan(Author(name="x"), "default", connections["default"]) is not None
    plan = insert_plan(author, "default", connections["default"])
    assert plan is not None
    with pytest.raises(ValueError, match="expected a number but got 'old'"):
        plan.params(author)


@pytest.fixture
def shelf() -> Iterator[dict[str, type[models.Model]]]:
    """Tables with what the library has none of; gone when the test is over."""
    with isolate_apps("tests.project.library"):
        made: dict[str, type[models.Model]] = {}

        def model(name: str, **attributes: Any) -> None:
            body = {"__module__": __name__, "Meta": type("Meta", (), {"app_label": "library"}), **attributes}
            made[name] = type(name, (models.Model,), body)

        class Upper(models.CharField):
            def get_prep_value(self, value: Any) -> Any:
                return super().get_prep_value(value).upper()

            def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
                return value.lower()

        class Counting(models.IntegerField):
            def pre_save(self, model_instance: Any, add: bool) -> Any:
                return 5

        model(
            "Upper",
            text=Upper(max_length=9),
            when=models.DateTimeField(auto_now=True),
            day=models.DateField(auto_now_add=True),
        )
        model("Counting", number=Counting())
        model("Lonely")
        model("Upload", file=models.FileField())
        model("Keyed", key=models.SlugField(primary_key=True), n=models.PositiveSmallIntegerField(default=3))
        model("Keys", of=models.ForeignKey("library.Keyed", models.CASCADE, null=True))
        if hasattr(models, "GeneratedField"):
            model(
                "Generated",
                n=models.IntegerField(),
                twice=models.GeneratedField(
                    expression=models.F("n") * 2, output_field=models.IntegerField(), db_persist=True
                ),
            )
            model(
                "Defaults",
                a=models.IntegerField(db_default=7),
                b=models.TextField(db_default=Lower(models.Value("X"))),
                c=models.TextField(default="c"),
                d=models.DateTimeField(db_default=Now()),
            )
            model("OnlyDefaults", id=models.IntegerField(primary_key=True, db_default=5))
        with connection.schema_editor() as editor:
            for each in made.values():
                editor.create_model(each)
        yield made
        with connection.schema_editor() as editor:
            for each in reversed(made.values()):
                editor.delete_model(each)


def test_unusual_tables(shelf: dict[str, Any], frozen_now: None) -> None:
    cases = [
        ("Upper", {"text": "a"}),
        ("Lonely", {}),
        ("Keyed", {"key": "a"}),
        ("Keyed", {"key": "b", "n": 5}),
        ("Keys", {"of_id": "a"}),
        ("Keys", {"of_id": ""}),
        ("Keys", {}),
        ("Generated", {"n": 4}),
        ("Defaults", {}),
        ("Defaults", {"a": 1}),
        ("Defaults", {"a": 1, "b": "y", "d": dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)}),
        ("OnlyDefaults", {}),
        ("OnlyDefaults", {"id": 6}),
    ]
    for name, kwargs in cases:
        if name not in shelf:
            continue  # Django 4.2 knows neither generated fields nor database defaults
        model = shelf[name]
        results = []

        def ours(model: Any = model, kwargs: Any = kwargs) -> Any:
            obj = planned(new_object(model, kwargs), force_insert=True)
            if hasattr(obj._state, "fetch_mode"):
                obj._state.fetch_mode = models.FETCH_ONE
            return obj

        for run in (lambda model=model, kwargs=kwargs: model._base_manager.create(**kwargs), ours):
            statements = Statements()
            with connection.execute_wrapper(statements), transaction.atomic():
                try:
                    with transaction.atomic():
                        obj = run()
                except Exception as error:
                    results.append((statements.seen, type(error)))
                else:
                    found = list(model._base_manager.filter(pk=obj.pk).values())
                    results.append(
                        (statements.seen[:2], _without_key(seen(obj)), [_without_key(row) for row in found])
                    )
                    transaction.set_rollback(True) if name != "Keyed" else obj.delete()
        assert results[0] == results[1], (name, kwargs)


def _without_key(found: Any) -> Any:
    """Sequences don't go back when a transaction does."""
    if isinstance(found, dict):
        return {name: value for name, value in found.items() if name != "id"}
    kind, attributes, weak = found
    return (kind, [(name, value) for name, value in attributes if name != "id"], weak)


def test_fields_that_save_in_ways_of_their_own(shelf: dict[str, Any]) -> None:
    assert insert_plan(shelf["Counting"](), "default", connections["default"]) is None
    assert insert_plan(shelf["Upload"](), "default", connections["default"]) is None


@isolate_apps("tests.project.library")
def test_defaults_that_fields_make_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()

    class Numbered(models.IntegerField):
        def get_default(self) -> Any:
            return next(numbers)

    class Made(models.IntegerField):
        @cached_property
        def _get_default(self) -> Any:
            return lambda: next(numbers)

    class Marked(models.CharField):
        def get_default(self) -> Any:
            return f"{super().get_default()}!"

    class Defaulting(models.Model):
        number = Numbered()
        started = Numbered(default=7)
        made = Made(default=7)
        plain = models.IntegerField(default=7)
        mark = Marked(max_length=9, default="x")

        class Meta:
            app_label = "library"

    def defaults(obj: Any) -> tuple[Any, ...]:
        return obj.number, obj.started, obj.made, obj.plain, obj.mark

    made = [defaults(each) for each in (new_object(Defaulting, {}), Defaulting(), new_object(Defaulting, {}))]
    assert made == [(0, 1, 2, 7, "x!"), (3, 4, 5, 7, "x!"), (6, 7, 8, 7, "x!")]
    plain = Defaulting._meta.get_field("plain")
    for name in ("get_default", "_get_default"):
        with monkeypatch.context() as patched:
            patched.setattr(plain, name, lambda: 8)
            vars(Defaulting._meta).pop("_turbo_constructors")
            assert new_object(Defaulting, {}).plain == Defaulting().plain == 8


@pytest.mark.usefixtures("snapshot")
def test_what_tests_change_about_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    def saved(model: type[models.Model], **kwargs: Any) -> Any:
        obj = new_object(model, kwargs)
        plan = insert_plan(obj, "default", connections["default"], force_insert=True)
        assert obj is not None
        assert plan is not None
        return plan.statement.sql, plan.params(obj), obj

    created: Any = Author._meta.get_field("created")
    when = dt.datetime(2001, 1, 1, tzinfo=dt.timezone.utc)
    for automatic in (True, False, True):
        monkeypatch.setattr(created, "auto_now_add", automatic)
        _, params, obj = saved(Author, name="x", created=when)
        assert (params[0] == when) is not automatic
        assert obj.created == params[0]
    alive: Any = Person._meta.get_field("alive")
    for default in (True, False):
        monkeypatch.setattr(alive, "default", default)
        assert saved(Person, name="x")[2].alive is Person(name="x").alive is default
    for table in ("library_tag", "elsewhere", "library_tag"):
        monkeypatch.setattr(Tag._meta, "db_table", table)
        assert f'INSERT INTO "{table}" ' in saved(Tag, label="x")[0]


def test_fields_that_are_added_later(shelf: dict[str, Any]) -> None:
    model = shelf["Lonely"]
    assert new_object(model, {"late": 5}) is None
    assert insert_plan(new_object(model, {}), "default", connections["default"]) is not None
    models.IntegerField(default=3).contribute_to_class(model, "late")
    obj = new_object(model, {"late": 5})
    assert obj is not None
    assert obj.late == 5
    plan = insert_plan(obj, "default", connections["default"])
    assert plan is not None
    assert '("late") VALUES (%s)' in plan.statement.sql
