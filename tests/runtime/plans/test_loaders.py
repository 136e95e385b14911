"""Every loader against Django's iterables: the same rows, everything about the objects the same."""

from __future__ import annotations

import json
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.base import ModelBase
from django.db.models.functions import Coalesce, Length, TruncMonth, Upper
from django.db.models.query import FlatValuesListIterable, ModelIterable
from django.db.models.signals import post_init, pre_init
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from tests.project.library.models import (
    Author,
    Book,
    Contribution,
    Note,
    Person,
    Place,
    Profile,
    Restaurant,
    Writer,
)
from tests.runtime.plans.same import seen
from turbo_orm.plans.loaders import Loader, assign_known_related, row_loader
from turbo_orm.plans.unsupported import Unsupported

Make = Callable[[], QuerySet[Any, Any]]


@pytest.fixture(params=["the loader", "from_db()"])
def made_by(request: pytest.FixtureRequest) -> Iterator[None]:
    """Who makes instances: with a receiver that wants to know of each, Django's own methods."""

    def receiver(**kwargs: Any) -> None: ...

    if request.param == "from_db()":
        post_init.connect(receiver)
    yield
    post_init.disconnect(receiver)


LIBRARY = [
    model for model in apps.get_models(include_auto_created=True) if model._meta.app_label == "library"
]


def loader_of(queryset: QuerySet[Any, Any]) -> tuple[Loader, list[tuple[Any, ...]]]:
    """The loader of *queryset*'s query, and the rows as the driver gives them."""
    compiler = queryset.query.get_compiler("default")
    sql, params = compiler.as_sql()
    loader = row_loader(compiler, queryset._iterable_class, queryset._fields)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return loader, cursor.fetchall()


def load(queryset: QuerySet[Any, Any], **how: Any) -> list[Any]:
    loader, rows = loader_of(queryset)
    how.setdefault("fetch_mode", getattr(queryset, "_fetch_mode", None))
    loaded = loader(rows, "default", **how)
    if queryset._known_related_objects:
        assert loader.takes(queryset._known_related_objects)
        assign_known_related(loaded, queryset._known_related_objects)
    return loaded


def djangos(queryset: QuerySet[Any, Any]) -> list[Any]:
    """What Django makes of the rows, before an `AsyncQuerySet` notes who came with whom."""
    iterable: Any = queryset._iterable_class
    return list(iterable(queryset))


@pytest.mark.usefixtures("snapshot", "made_by")
@pytest.mark.parametrize("model", LIBRARY)
def test_every_model_with_all_it_has(model: type[models.Model]) -> None:
    rows = model._base_manager.all()
    key = model._meta.pk.name
    fields = [field for field in model._meta.concrete_fields if field.name != key]
    relations = [field.name for field in model._meta.concrete_fields if field.is_relation]
    one_to_one = [
        relation.field.related_query_name()
        for relation in model._meta.related_objects
        if relation.field.unique and not relation.many_to_many
    ]
    querysets: list[QuerySet[Any, Any]] = [
        rows,
        _with_all_relations(rows),
        rows.only(key),
        *(rows.only(field.name) for field in fields),
        *(rows.defer(field.name) for field in fields),
        *(rows.select_related(name) for name in (*relations, *one_to_one)),
        *([rows.select_related(*relations, *one_to_one)] if relations or one_to_one else []),
        rows.values(),
        rows.values(*(field.attname for field in reversed(fields))),
        rows.values_list(),
        rows.values_list(*(field.attname for field in reversed(fields))),
        rows.values_list(named=True),
        rows.values_list(key, flat=True),
    ]
    for queryset in querysets:
        ordered = queryset.order_by("pk")
        assert seen(load(ordered)) == seen(djangos(ordered)), ordered.query
        assert pickle.loads(pickle.dumps(load(ordered))) == djangos(ordered)


def _with_all_relations(queryset: QuerySet[Any, Any]) -> QuerySet[Any, Any]:
    queryset = queryset._chain()
    queryset.query.select_related = True  # Django 6.1 deprecates asking for it
    return queryset


QUERYSETS: dict[str, Make] = {
    "a chain of relations": lambda: Contribution.objects.select_related(
        "book__author", "book__editor", "author"
    ),
    "back and forth": lambda: Author.objects.select_related("profile__author__profile"),
    "back to nothing": lambda: Profile.objects.select_related("author__profile"),
    "a child of a parent": lambda: Place.objects.select_related("restaurant"),
    "a parent of a child": lambda: Restaurant.objects.select_related("place_ptr"),
    "deferred fields of a child": lambda: Place.objects.select_related("restaurant").only(
        "name", "restaurant__stars"
    ),
    "deferred fields of relations": lambda: Book.objects.select_related("author", "editor").only(
        "title", "author__name", "editor__age"
    ),
    "deferred fields, some": lambda: Book.objects.defer("price", "author__created").select_related("author"),
    "to itself": lambda: Person.everyone.select_related("parent__parent"),
    "a proxy": lambda: Writer.objects.select_related("profile"),
    "related to a proxied model": lambda: Profile.objects.select_related("author"),
    "a filtered relation": lambda: Author.objects.annotate(
        cheap=FilteredRelation("books", condition=Q(books__price__lt=10))
    ).select_related("cheap__editor"),
    "a filtered relation of one": lambda: Author.objects.annotate(
        life=FilteredRelation("profile", condition=Q(profile__bio__contains="1815"))
    ).select_related("life"),
    "annotations": lambda: Book.objects.annotate(
        contributions=Count("contribution"),
        upper=Upper("title"),
        n=Value(3),
        none=Value(None, output_field=models.TextField()),
    ),
    "annotations and relations": lambda: Book.objects.annotate(length=Length("title")).select_related(
        "author"
    ),
    "an annotation in the way of a foreign key": lambda: Book.objects.select_related("author").extra(
        select={"author_id": "1"}
    ),
    "extra": lambda: Book.objects.extra(select={"price": "1.5", "odd-name": "2"}),
    "aggregates": lambda: Author.objects.annotate(
        total=Sum("books__price"), mean=Avg("books__price"), most=Max("books__marks"), ages=Avg("age")
    ),
    "a subquery": lambda: Author.objects.annotate(
        first=Subquery(Book.objects.filter(author=OuterRef("pk")).values("meta")[:1]),
        writes=Exists(Book.objects.filter(author=OuterRef("pk"))),
    ),
    "a case": lambda: Book.objects.annotate(
        n=Case(When(price__lt=10, then=Value(1)), default=Value(2), output_field=models.IntegerField())
    ),
    "a window onto json": lambda: Book.objects.annotate(
        a=F("meta__a"), b=F("meta__b"), c=Coalesce("meta", "meta")
    ),
    "truncated dates": lambda: Book.objects.annotate(month=TruncMonth("published")),
    "truncated times": lambda: Author.objects.annotate(month=TruncMonth("created")),
    "sorted by what is not selected": lambda: (
        Book.objects.order_by("author__name").values("title").distinct()
    ),
    "values of relations": lambda: Book.objects.values("title", "author__name", "editor__age"),
    "values and annotations": lambda: Book.objects.values("author").annotate(n=Count("pk"), of=Sum("price")),
    "values of expressions": lambda: Book.objects.values(upper=Upper("title"), json=F("meta")),
    "values with extra": lambda: Book.objects.extra(select={"one": "1"}).values("title", "one"),
    "values list in its order": lambda: Book.objects.annotate(n=Count("tags")).values_list("n", "title"),
    "values list of expressions": lambda: Book.objects.values_list(Upper("title"), "pk", Length("title")),
    "values list with extra": lambda: Book.objects.extra(select={"one": "1"}).values_list(
        "title", "one", "pk"
    ),
    "a named tuple": lambda: Book.objects.annotate(n=Count("tags")).values_list(
        "n", "title", "meta", named=True
    ),
    "a flat list of json": lambda: Book.objects.values_list("meta", flat=True),
    "a flat list of arrays": lambda: Book.objects.values_list("marks", flat=True),
    "dates": lambda: Book.objects.dates("published", "month"),
    "datetimes": lambda: Author.objects.datetimes("created", "day"),
    "a union": lambda: Author.objects.order_by().union(Author.objects.order_by(), all=True).order_by("name"),
    "a slice": lambda: Book.objects.select_related("author")[1:3],
    "for update": lambda: Book.objects.select_for_update(of=("self",)).select_related("author"),
    "nothing found": lambda: Book.objects.filter(title="none").select_related("author"),
    "generic": lambda: Note.objects.select_related("content_type"),
}


@pytest.mark.usefixtures("snapshot", "made_by")
@pytest.mark.parametrize("name", QUERYSETS)
def test_shapes(name: str) -> None:
    make = QUERYSETS[name]
    with _transaction():
        assert seen(load(make())) == seen(djangos(make()))


def _transaction() -> Any:
    from django.db import transaction

    return transaction.atomic()


@pytest.mark.usefixtures("snapshot", "made_by")
def test_a_second_load_shares_nothing() -> None:
    loader, rows = loader_of(Book.objects.select_related("author"))
    first, second = loader(rows, "default"), loader(rows, "other")
    assert first[0] is not second[0]
    assert first[0].author is not second[0].author
    assert {book._state.db for book in second} == {book.author._state.db for book in second} == {"other"}


@pytest.mark.usefixtures("snapshot", "made_by")
def test_related_managers_know_the_other_end() -> None:
    def related() -> list[Any]:
        author = Author.objects.get(name="Ada")
        return [author.books.all(), author.books.defer("title").select_related("editor")]

    for ours, others in zip(related(), related(), strict=True):
        assert seen(load(ours)) == seen(djangos(others))


@pytest.mark.usefixtures("snapshot", "made_by")
def test_known_objects_and_deferred_keys() -> None:
    author = Author.objects.get(name="Ada")
    queryset = author.books.only("title")
    loader, rows = loader_of(queryset)
    known = queryset._known_related_objects
    if loader.takes(known):
        loaded = loader(rows, "default")
        assign_known_related(loaded, known)
        assert seen(loaded) == seen(djangos(author.books.only("title")))
    else:
        # Django queries for each of them.
        assert "author_id" in djangos(queryset)[0].__dict__


@pytest.mark.usefixtures("snapshot", "made_by")
def test_peers_of_the_objects_themselves() -> None:
    peers: list[Any] = []
    books = load(Book.objects.select_related("author"), peers=peers)
    assert [peer() for peer in peers] == books
    assert all(book._state.peers is peers for book in books)
    assert not any("peers" in vars(book.author._state) for book in books)


@pytest.mark.usefixtures("snapshot", "made_by")
@pytest.mark.skipif(not hasattr(QuerySet, "fetch_mode"), reason="Django 6.1 brought fetch modes")
@pytest.mark.parametrize("mode", ["FETCH_ONE", "FETCH_PEERS", "FETCH_RAISE"])
def test_fetch_modes(mode: str) -> None:
    def querysets() -> list[Any]:
        how = getattr(models, mode)
        return [
            queryset.fetch_mode(how)
            for queryset in (
                Book.objects.all(),
                Book.objects.select_related("author__profile", "editor"),
                Place.objects.select_related("restaurant"),
            )
        ]

    for ours, others in zip(querysets(), querysets(), strict=True):
        assert seen(load(ours)) == seen(djangos(others))


@pytest.mark.usefixtures("snapshot")
@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_receivers_of_construction_are_noticed_when_they_come(signal: Any) -> None:
    loader, _ = loader_of(Book.objects.select_related("author"))
    values, _ = loader_of(Book.objects.values("title"))
    assert loader.usable()

    def receiver(**kwargs: Any) -> None: ...

    signal.connect(receiver, sender=Author)
    try:
        assert not loader.usable()
        assert values.usable()
    finally:
        signal.disconnect(receiver, sender=Author)
    assert loader.usable()
    signal.connect(receiver, sender=Place)
    try:
        assert loader.usable()
    finally:
        signal.disconnect(receiver, sender=Place)


@pytest.mark.usefixtures("snapshot")
def test_methods_that_tests_replace_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    loader, _ = loader_of(Book.objects.select_related("author"))
    replacements: dict[str, Any] = {"__init__": lambda self: None, "from_db": classmethod(lambda cls: None)}
    for name, replacement in replacements.items():
        assert loader.usable()
        with monkeypatch.context() as patched:
            patched.setattr(Author, name, replacement, raising=False)
            assert not loader.usable()
    assert loader.usable()


class FakeRows:
    """Both sides get these rows: for models that have no table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def both(
        self, queryset: QuerySet[Any, Any], rows: list[tuple[Any, ...]]
    ) -> tuple[Loader, list[Any], list[Any]]:
        def execute_sql(compiler: Any, *args: Any, **kwargs: Any) -> Any:
            compiler.as_sql()
            return iter([rows])

        compiler = queryset.query.get_compiler("default")
        compiler.as_sql()
        loader = row_loader(compiler, queryset._iterable_class, queryset._fields)
        with self._monkeypatch.context() as patched:
            patched.setattr(SQLCompiler, "execute_sql", execute_sql)
            return loader, loader(rows, "default"), djangos(queryset._chain())


@pytest.fixture
def fake_rows(monkeypatch: pytest.MonkeyPatch) -> FakeRows:
    return FakeRows(monkeypatch)


class Exclaiming(models.CharField):
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return f"{value}! from {connection.alias}"


class Noting:
    """A data descriptor that keeps an eye on what it is set on."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else instance.__dict__[self.field.attname]

    def __set__(self, instance: Any, value: Any) -> None:
        state = instance._state
        instance.__dict__[self.field.attname] = value
        instance.__dict__[f"noted_{self.field.attname}"] = (state.adding, state.db, sorted(instance.__dict__))


class NotingField(models.IntegerField):
    descriptor_class: Any = Noting


class LoudDecoder(json.JSONDecoder):
    def decode(self, *args: Any, **kwargs: Any) -> Any:
        return ["decoded", super().decode(*args, **kwargs)]


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, type[models.Model]]]:
    """Models with everything `from_db()` could meet, known to no one else."""
    with isolate_apps("tests.project.library"):
        made: dict[str, type[models.Model]] = {}

        def model(name: str, *bases: type, metaclass: type = ModelBase, **attributes: Any) -> None:
            meta = type("Meta", (), {"app_label": "library"})
            body = {"__module__": __name__, "Meta": meta, **attributes}
            made[name] = metaclass(name, bases or (models.Model,), body)

        model(
            "Fields",
            text=Exclaiming(max_length=5),
            upload=models.FileField(),
            data=models.JSONField(),
            loud=models.JSONField(decoder=LoudDecoder),
            words=ArrayField(Exclaiming(max_length=5)),
            noted=NotingField(),
            last=models.IntegerField(),
        )
        model("Data", data=models.JSONField(null=True), more=models.JSONField())
        model("Owner", noted=NotingField(), label=models.TextField())
        model("Owned", owner=models.OneToOneField("library.Owner", models.CASCADE), noted=NotingField())
        model("OwnInit", __init__=lambda self, *args: models.Model.__init__(self, *args))
        model("OwnFromDb", from_db=classmethod(lambda cls, *args, **kwargs: None))
        model("OwnNew", __new__=lambda cls, *args: object.__new__(cls))
        model("OwnSetattr", __setattr__=lambda self, name, value: object.__setattr__(self, name, value))
        model("AfterModel", models.Model, type("Mixin", (), {"__init__": lambda self: None}))
        model(
            "Counting",
            data=models.JSONField(),
            __init__=lambda self, *args: (models.Model.__init__(self, *args), setattr(self, "given", args))[
                0
            ],
        )
        model("Holder", counting=models.OneToOneField("library.Counting", models.CASCADE, null=True))
        model("Held", holder=models.ForeignKey("library.Holder", models.CASCADE, null=True))
        model("Narrow", from_db=classmethod(lambda cls, db, names, values: (db, [*names], values)))
        call = {"__call__": lambda cls, *args: ModelBase.__call__(cls, *args)}
        model("OwnCall", metaclass=type("Calling", (ModelBase,), call))
        yield made


def rows_of(model: type[models.Model]) -> QuerySet[Any, Any]:
    return QuerySet(model)


def test_values_go_through_the_fields_they_belong_to(fake_rows: FakeRows, zoo: dict[str, Any]) -> None:
    rows = [
        (1, "a", "file", '{"a": [1, null]}', "[1]", ["b", "c"], 5, 6),
        (2, None, None, None, None, None, None, None),
        (3, "", "", "not json", "1", [], 1, 1),
        (4, "", "", ' "blanks" ', "1", [], 1, 1),
        (5, "", "", "1 2", "1", [], 1, 1),
    ]
    loader, ours, djangos = fake_rows.both(rows_of(zoo["Fields"]), rows)
    assert seen(ours) == seen(djangos)
    assert loader.calls_user_code
    assert ours[0].noted_noted[:2] == (True, None)
    assert ours[0].upload.name == "file"
    assert "! from default" in ours[0].text


JSON: dict[str, list[Any]] = {
    "nothing": [],
    "one": ['{"a": 1}'],
    "plain": ["{}", '{"a": [1, null]}', "[]", '"text"', "1.5", "true", "null"],
    "with NULL": ["{}", None, "1"],
    "only NULL": [None, None],
    "a text that is none": ["{}", "{", "1"],
    "an empty text": ["{}", "", "1"],
    "an empty text alone": [""],
    "one that looks like two, two that look like one": ["1, 2", "[3", "4]", "5"],
    "one that looks like three": ["1", '2, "", 3', "4"],
    "two that look like one": ["[1", "2]"],
    "brackets": ["1]", "[2"],
    "blanks": [" 1 ", "\n{ }\t", "3"],
    "too deep": ["1", "[" * 100_000 + "]" * 100_000, "[" * 900 + "]" * 900],
    "what Python alone knows": ["NaN", "-Infinity", "1"],
    "parsed already": ["{}", {"a": 1}, [2]],
    "many": [f'{{"a": {number}}}' for number in range(350)],
    "one of many": [*map(str, range(150)), "no", *map(str, range(150))],
}


@pytest.mark.parametrize("case", JSON)
def test_json_of_many_rows(fake_rows: FakeRows, zoo: dict[str, Any], case: str) -> None:
    rows = [(number, text, "[]") for number, text in enumerate(JSON[case])]
    outcomes = []
    for load_many in (True, False):
        compiler = rows_of(zoo["Data"]).query.get_compiler("default")
        compiler.as_sql()
        loader = row_loader(compiler, ModelIterable)
        try:
            loaded = loader(rows, "default", peers=[] if load_many else None)
        except (ValueError, TypeError, RecursionError) as exc:
            outcomes.append((type(exc), str(exc)))
        else:
            outcomes.append([repr((row.pk, row.data, row.more)) for row in loaded])
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], list):
        _, ours, djangos = fake_rows.both(rows_of(zoo["Data"]).values_list("id", "data", "more"), rows)
        assert repr(ours) == repr(djangos)


def test_a_number_that_is_too_long(zoo: dict[str, Any]) -> None:
    """It is refused as Python refuses it, and not what stands beside it."""
    compiler = rows_of(zoo["Data"]).query.get_compiler("default")
    compiler.as_sql()
    loader = row_loader(compiler, ModelIterable)
    with pytest.raises(ValueError, match="limit"):
        loader([(1, "1", "[]"), (2, "1" * 5000, "[]")], "default", peers=[])


@given(
    st.lists(
        st.none()
        | st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each)).map(json.dumps)
        | st.text(alphabet='[]{},:"1 ')
    )
)
def test_json_that_is_parsed_together_is_parsed_alike(texts: list[Any]) -> None:
    compiler = Book.objects.values_list("meta", flat=True).query.get_compiler("default")
    compiler.as_sql()
    loader = row_loader(compiler, FlatValuesListIterable)
    expected = [Book._meta.get_field("meta").from_db_value(text, None, connection) for text in texts]
    assert loader([(text,) for text in texts], "default") == expected


def test_a_deferred_field_with_a_descriptor(fake_rows: FakeRows, zoo: dict[str, Any]) -> None:
    rows = [(1, 2), (2, None)]
    _, ours, djangos = fake_rows.both(rows_of(zoo["Fields"]).only("noted"), rows)
    assert seen(ours) == seen(djangos)


def test_descriptors_of_related_models(fake_rows: FakeRows, zoo: dict[str, Any]) -> None:
    rows = [(1, 7, 3, 7, 4, "x"), (2, 8, 3, None, None, None)]
    _, ours, djangos = fake_rows.both(rows_of(zoo["Owned"]).select_related("owner"), rows)
    assert seen(ours) == seen(djangos)
    assert ours[0].owner.owned is ours[0]


def test_django_s_own_converters_are_not_the_users() -> None:
    for queryset in (
        Book.objects.all(),
        Book.objects.annotate(n=Count("tags")),
        Book.objects.values("meta__a"),
    ):
        loader, _ = loader_of(queryset)
        assert not loader.calls_user_code
    loader, _ = loader_of(Book.objects.dates("published", "year"))
    assert loader.calls_user_code  # Trunc asks the connection


@pytest.mark.parametrize(
    "name", ["OwnInit", "OwnFromDb", "OwnNew", "OwnSetattr", "AfterModel", "OwnCall", "Counting", "Narrow"]
)
def test_construction_of_the_projects_own(fake_rows: FakeRows, zoo: dict[str, Any], name: str) -> None:
    rows = [(1,), (2,)] if name != "Counting" else [(1, "{}"), (2, "[1]")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a from_db() that takes no fetch mode
        loader, ours, djangos = fake_rows.both(rows_of(zoo[name]), rows)
    assert seen(ours) == seen(djangos)
    assert loader.calls_user_code
    assert loader.usable()


@pytest.mark.parametrize("first", ["Counting", "Holder", "Held"])
def test_relations_of_what_the_project_constructs(
    fake_rows: FakeRows, zoo: dict[str, Any], first: str
) -> None:
    """In any place of a chain: who has a part in it is called as Django calls it."""
    queryset, rows = {
        "Counting": (
            rows_of(zoo["Counting"]).select_related("holder"),
            [(1, "{}", 3, 1), (2, "1", None, None)],
        ),
        "Holder": (
            rows_of(zoo["Holder"]).select_related("counting"),
            [(3, 1, 1, "{}"), (4, None, None, None)],
        ),
        "Held": (
            rows_of(zoo["Held"]).select_related("holder__counting"),
            [(1, 3, 3, 1, 1, "{}"), (2, None, None, None, None, None), (3, 4, 4, None, None, None)],
        ),
    }[first]
    loader, ours, djangos = fake_rows.both(queryset, rows)
    assert seen(ours) == seen(djangos)
    assert loader.calls_user_code


def test_a_replaced_model_init_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    original = models.Model.__init__
    calls: list[Any] = []

    def noting(self: models.Model, *args: Any, **kwargs: Any) -> None:
        calls.append(args)
        original(self, *args, **kwargs)

    monkeypatch.setattr(models.Model, "__init__", noting)
    compiler = Author.objects.only("name").query.get_compiler("default")
    compiler.as_sql()
    loader = row_loader(compiler, ModelIterable)
    (author,) = loader([(1, "Ada")], "default")
    assert (author.pk, author.name) == (1, "Ada")
    assert len(calls) == 1


def test_iterables_of_the_projects_own_are_left_to_it() -> None:
    class Own(ModelIterable):
        pass

    compiler = Book.objects.all().query.get_compiler("default")
    compiler.as_sql()
    with pytest.raises(Unsupported, match="iterates with"):
        row_loader(compiler, Own)


def test_an_error_shows_the_line_it_comes_from(zoo: dict[str, Any]) -> None:
    compiler = rows_of(zoo["Owner"]).query.get_compiler("default")
    compiler.as_sql()
    loader = row_loader(compiler, ModelIterable)
    with pytest.raises(ValueError, match="not enough values") as caught:
        loader([(1, 2)], "default")
    shown = "".join(traceback.format_exception(caught.value))
    assert "for c0, c1, c2, in rows:" in shown
    assert loader.source.splitlines()[0] == "def load(rows, db, fetch_mode, peers):"
