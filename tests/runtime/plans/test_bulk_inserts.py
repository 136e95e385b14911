"""`abulk_create()` with a column per parameter against Django's `bulk_create()`."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import django
import psycopg
import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import DataError, IntegrityError, connection, connections, models
from django.db.models import QuerySet, Value
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext, isolate_apps, override_settings
from django.utils.safestring import mark_safe

from tests.project.library.models import Author, Book, Note, Person, Place, Restaurant, Tag, Writer
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import seen
from turbo_orm import AsyncManager, AsyncQuerySet, atomic, batch, close_pools, run_sync
from turbo_orm.bridge.greenlets import await_only
from turbo_orm.db.arrays import ENCODERS
from turbo_orm.db.statements import statement
from turbo_orm.db.wire import wire_of
from turbo_orm.plans import bulk_inserts, inserting
from turbo_orm.testing import capture_queries

try:
    from django.db.backends.postgresql.compiler import InsertUnnest
except ImportError:
    InsertUnnest = None

#: Since 6.0, Django leaves a column out that the database is to fill in for all rows.
DROPS_DEFAULTS = 1 if django.VERSION >= (6, 0) else 0

UTC = dt.timezone.utc
by_unnest = pytest.mark.skipif(InsertUnnest is None, reason="Django before 5.2 has no UNNEST to follow")


class Watched:
    """Counts the statements that went by column."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = bulk_inserts.bulk_insert(*args, **kwargs)
        if found is not None:
            self.statements.append(found.statement.sql)
        return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr("turbo_orm.plans.inserting.bulk_insert", watched)
    return watched


VALUES: dict[str, tuple[str, Sequence[Any]]] = {
    "booleans": ("boolean", [True, False, None]),
    "small integers": ("smallint", [1, -32768, 32767, None]),
    "integers": ("integer", [1, -(2**31), 2**31 - 1, None]),
    "big integers": ("bigint", [0, -(2**63), 2**63 - 1, None]),
    "floats": ("double precision", [0.1, -1e300, float("inf"), float("-inf"), 5e-324, None]),
    "decimals": ("numeric", [Decimal("1.50"), Decimal("-0.001"), Decimal("1E+30"), None]),
    "uuids": ("uuid", [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), None]),
    "dates": ("date", [dt.date(2000, 1, 1), dt.date.min, dt.date.max, None]),
    "times": ("time", [dt.time(0), dt.time(23, 59, 59, 999999), None]),
    "moments": (
        "timestamp with time zone",
        [
            dt.datetime(2000, 1, 1, tzinfo=UTC),
            dt.datetime(1, 1, 1, tzinfo=UTC),
            dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            dt.datetime(2020, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
            None,
        ],
    ),
    "texts": (
        "text",
        ["", "a", 'quotes " and \\ and {,}', "NULL", "ä€😀", "x" * 5000, "y" * 1023, "z" * 1024, None],
    ),
    "short texts": ("varchar", ["", "  spaces ", "null", None]),
}


def on_the_wire(sql: str, params: Sequence[Any]) -> Any:
    wrapper: Any = connections["default"]
    wrapper.ensure_connection()

    async def run() -> Any:
        wire = wire_of(wrapper.connection._aconn)
        assert wire is not None
        return (await wire.run(statement(sql, len(params)), params)).rows

    return await_only(run())


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("with_nulls", [False, True])
async def test_arrays(name: str, with_nulls: bool) -> None:
    db_type, given = VALUES[name]
    values = [value for value in given if with_nulls or value is not None]
    sql = f"SELECT (%s)::{db_type}[]::text"
    by_array = await run_sync(on_the_wire, sql, [ENCODERS[db_type](values, None in values)])
    by_list = await run_sync(on_the_wire, sql, [values])
    assert by_array == by_list
    [(loaded,)] = await run_sync(
        on_the_wire, f"SELECT (%s)::{db_type}[]", [ENCODERS[db_type](values, None in values)]
    )
    assert loaded == values


@pytest.mark.parametrize("length", [3, 1023, 1024, 5000])
async def test_texts_of_ascii_alone(length: int) -> None:
    values = ["", "a", "x" * length, "\x7f", "z" * 200]
    for db_type in ("text", "varchar"):
        [(loaded,)] = await run_sync(
            on_the_wire, f"SELECT (%s)::{db_type}[]", [ENCODERS[db_type](values, False)]
        )
        assert loaded == values


@pytest.mark.parametrize("with_nulls", [False, True])
@pytest.mark.parametrize(("db_type", "value"), [("integer", 2**31), ("bigint", -(2**63) - 1)])
async def test_numbers_that_are_too_large(db_type: str, value: int, with_nulls: bool) -> None:
    values = [1, value, *([None] if with_nulls else [])]
    with pytest.raises(psycopg.errors.NumericValueOutOfRange, match=f"type {db_type}"):
        await run_sync(on_the_wire, f"SELECT (%s)::{db_type}[]", [ENCODERS[db_type](values, with_nulls)])


async def test_arrays_of_json() -> None:
    texts = ['{"a": [1, null]}', "null", '"x"', None]
    for given in (texts, texts[:-1], ['"' + "x" * n + '"' for n in (1020, 1021, 1022, 1023, 5000)]):
        array = ENCODERS["jsonb"](given, None in given)
        [(loaded,)] = await run_sync(on_the_wire, "SELECT (%s)::jsonb[]::text[]", [array])
        assert loaded == given


class Cents(models.IntegerField):
    """Euros, in cents in the column."""

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value * 100)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return value / 100


class Half(models.BigIntegerField):
    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(value // 2, connection)


@pytest.fixture(scope="module")
def paper(filled: Snapshot) -> Iterator[Any]:
    """A model with a column of each type, and its table."""
    with isolate_apps("tests.project.library"):

        class Paper(models.Model):
            data = models.JSONField(default=dict, null=True)
            when = models.DateTimeField(null=True)
            changed = models.DateTimeField(auto_now=True)
            day = models.DateField(null=True)
            at = models.TimeField(null=True)
            size = models.FloatField(default=1)
            price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
            ok = models.BooleanField(null=True)
            key = models.UUIDField(null=True)
            small = models.PositiveSmallIntegerField(default=3)
            cents = Cents(default=0)
            half = Half(default=0)
            title = models.CharField(max_length=10, default="x")
            author = models.ForeignKey(Author, models.CASCADE, null=True, db_constraint=False)
            if hasattr(models, "GeneratedField"):
                left = models.IntegerField(db_default=7)
                twice = models.GeneratedField(
                    expression=models.F("small") * 2, output_field=models.IntegerField(), db_persist=True
                )

            objects = AsyncManager()

            class Meta:
                app_label = "library"

        with connection.schema_editor() as editor:
            editor.create_model(Paper)
        connections.close_all()
        yield Paper
        with connection.schema_editor() as editor:
            editor.delete_model(Paper)
        connections.close_all()


class Label(str):
    __slots__ = ()


def authors(count: int = 7, **given: Any) -> list[Any]:
    return [Author(**{"name": f"a{n}", "age": n or None, **given}) for n in range(count)]


def authors_of(names: Sequence[Any], ages: Sequence[Any]) -> list[Any]:
    return [Author(name=name, age=age) for name, age in zip(names, ages, strict=True)]


ODD_NAMES = ("a", Label("b"), mark_safe("c"), 4, "e", "f")
ODD_AGES = (1, True, "3", 4.0, None, Decimal(6))

MAKERS: dict[str, tuple[Callable[[], list[Any]], dict[str, Any]]] = {
    "authors": (authors, {}),
    "no nulls": (lambda: authors(age=5), {}),
    "in batches": (lambda: authors(17), {"batch_size": 6}),
    "values of other types": (lambda: authors_of(ODD_NAMES, ODD_AGES), {}),
    "a proxy": (lambda: [Writer(name=f"a{n}") for n in range(6)], {}),
    "with keys": (lambda: [Person(id=uuid.UUID(int=100 + n), alive=bool(n % 2)) for n in range(6)], {}),
    "some with keys": (lambda: [Tag(label=f"t{n}", id=90 + n if n % 2 else None) for n in range(14)], {}),
    "generic": (lambda: [Note(target=Author(pk=1), text=f"t{n}") for n in range(6)], {}),
    "odd texts": (lambda: [Place(name=name) for name in ("", "NULL", 'a"b', "{,}", "\\", "ä😀")], {}),
    "conflicts ignored": (
        lambda: [Tag(label=label) for label in ("red", "a", "b", "c", "d", "e")],
        {"ignore_conflicts": True},
    ),
    "conflicts updated": (
        lambda: authors_of(("Ada", "a", "b", "c", "d", "e"), [9] * 6),
        {"update_conflicts": True, "update_fields": ["age"], "unique_fields": ["name"]},
    ),
}


async def compare(
    snapshot: Snapshot, watched: Watched, make: Callable[[], list[Any]], options: dict[str, Any]
) -> int:
    objs = make()
    model = type(objs[0])
    snapshot.restore()
    statements: list[str] = []

    def djangos() -> Any:
        def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            statements.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(watch):
            return QuerySet(model).bulk_create(objs, **options)

    expected = seen(await run_sync(djangos)), snapshot.rows(), await run_sync(rows_of, model)
    snapshot.restore()
    await run_sync(_restart, model)
    ours = seen(await AsyncQuerySet(model).abulk_create(make(), **options))
    assert (ours, snapshot.rows(), await run_sync(rows_of, model)) == expected
    assert watched.statements == [sql for sql in statements if "UNNEST" in sql]
    return len(watched.statements)


def rows_of(model: Any) -> list[Any]:
    return list(model._base_manager.order_by("pk").values())


def _restart(model: Any) -> None:
    if model.__name__ == "Paper":
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE library_paper RESTART IDENTITY")


@by_unnest
@pytest.mark.usefixtures("frozen_now")
@pytest.mark.parametrize("name", MAKERS)
async def test_bulk_create(snapshot: Snapshot, watched: Watched, name: str) -> None:
    assert await compare(snapshot, watched, *MAKERS[name])


def papers(paper: Any, **columns: Sequence[Any]) -> Callable[[], list[Any]]:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=False)]
    return lambda: [paper(**row) for row in rows]


COLUMNS: dict[str, dict[str, Sequence[Any]]] = {
    "JSON": {"data": ({"a": 1}, [None], "text", 5, 1.5, True)},
    "JSON of other types": {"data": ({"a": 1}, None, Label("x"), (1, 2), {1: 2}, "\x01")},
    "moments": {"when": [dt.datetime(2020, 1, 1, n, tzinfo=UTC) for n in range(6)]},
    "moments elsewhere": {
        "when": [dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=n))) for n in range(6)]
    },
    "moments as text": {"when": [None, *(f"2020-01-01T0{n}:00:00Z" for n in range(5))]},
    "days": {"day": [None, dt.date(2020, 1, 1), "2020-02-03", dt.datetime(2020, 1, 1, tzinfo=UTC), None]},
    "times": {"at": [None, dt.time(1), "10:11:12", dt.time(23, 59, 59, 999999), None]},
    "numbers": {
        "size": [1.5, 2, "3.5", True, float("inf"), 1e300],
        "price": [Decimal("1.005"), 2, "3.5", 1.25, None, Decimal("-5")],
        "small": [0, 1, "2", True, 32767, 5.0],
    },
    "numbers of the project": {"cents": range(6), "half": [2, 4, True, 6, 7, 8]},
    "booleans and keys": {
        "ok": [True, False, None, 1, "False", 0],
        "key": [None, uuid.UUID(int=5), str(uuid.UUID(int=6)), 7, uuid.UUID(int=8), None],
    },
    "relations": {"author": [None, *(Author(pk=n) for n in (1, 2, 3)), None]},
    "keys of relations": {"author_id": [None, 1, "2", True, None]},
}


@by_unnest
@pytest.mark.usefixtures("frozen_now")
@pytest.mark.parametrize("name", COLUMNS)
async def test_columns(snapshot: Snapshot, paper: Any, watched: Watched, name: str) -> None:
    await run_sync(_restart, paper)
    columns = {"left": range(6), **COLUMNS[name]} if hasattr(models, "GeneratedField") else COLUMNS[name]
    assert await compare(snapshot, watched, papers(paper, **columns), {})


async def without_bridge(monkeypatch: pytest.MonkeyPatch, queryset: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the awaited ``abulk_create()``, and that the bridge was not needed for it."""
    calls = []

    async def noted(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return await run_sync(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr("turbo_orm.plans.inserting.run_sync", noted)
        made = await queryset.abulk_create(*args, **kwargs)
    return made, not calls


@by_unnest
async def test_a_single_statement_needs_no_bridge(
    snapshot: Snapshot, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    await AsyncQuerySet(Author).abulk_create(authors_of(["x1", "x2", "x3", "x4", "x5"], [1] * 5))
    given = tuple(authors(6, age=99))
    made, straight = await without_bridge(monkeypatch, AsyncQuerySet(Author), given, ignore_conflicts=False)
    assert straight
    assert made == [*given]
    stored = await AsyncQuerySet(Author).filter(age=99).order_by("pk").alist()
    assert [(author.pk, author.name) for author in made] == [(author.pk, author.name) for author in stored]
    assert len(stored) == 6
    assert {(author._state.adding, author._state.db) for author in made} == {(False, "default")}
    assert len(watched.statements) == 2


class Counting(AsyncQuerySet[Any]):
    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        return super().bulk_create([Author(name=f"own {obj.name}") for obj in objs], *args, **kwargs)


class Inserting(AsyncQuerySet[Any]):
    def _insert(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        for obj in objs:
            obj.name = f"own {obj.name}"
        return super()._insert(objs, *args, **kwargs)


@by_unnest
@pytest.mark.parametrize("own", [Counting, Inserting])
async def test_methods_of_a_subclass_are_called(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, own: Any
) -> None:
    made, straight = await without_bridge(monkeypatch, own(Author), authors(6))
    assert not straight
    assert [author.name for author in made] == [f"own a{n}" for n in range(6)]


@by_unnest
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"batch_size": 0}, ValueError),
        ({"batch_size": -1}, ValueError),
        ({"other": None}, TypeError),
        ({"update_conflicts": True}, ValueError),
    ],
)
async def test_wrong_options(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await AsyncQuerySet(Author).abulk_create(authors(6), **arguments)


@pytest.mark.parametrize("options", [{"batch_size": "x"}, {"batch_size": 1.5}, {}])
async def test_errors_of_what_is_given(snapshot: Snapshot, options: dict[str, Any]) -> None:
    given: list[Any] = [Tag(label="x"), Tag(label="y")] if options else [1, 2]
    with pytest.raises((TypeError, AttributeError)) as expected:
        await run_sync(QuerySet(Tag).bulk_create, given, **options)
    for create in (AsyncQuerySet(Tag).abulk_create, partial(run_sync, AsyncQuerySet(Tag).bulk_create)):
        with pytest.raises(expected.type) as caught:
            await create(given, **options)
        assert str(caught.value) == str(expected.value)


@by_unnest
async def test_only_watchers_have_the_bridge(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    async with atomic():
        _, straight = await without_bridge(monkeypatch, AsyncQuerySet(Tag), [Tag(label="w")])
        assert straight
        made, straight = await without_bridge(monkeypatch, AsyncQuerySet(Author), authors(6))
    assert straight
    assert await AsyncQuerySet(Author).filter(pk__in=[author.pk for author in made]).acount() == 6
    with capture_queries() as queries:
        _, straight = await without_bridge(
            monkeypatch, AsyncQuerySet(Tag), [Tag(label=f"w{n}") for n in range(6)]
        )
    assert not straight
    assert any("UNNEST" in query["sql"] for query in queries)


@by_unnest
async def test_what_a_cursor_would_be_given(snapshot: Snapshot) -> None:
    await AsyncQuerySet(Author).abulk_create(authors_of(["x1", "x2", "x3", "x4", "x5"], [1] * 5))
    objs = authors(6)
    insert = inserting.planned_bulk_create(AsyncQuerySet(Author), objs)
    assert insert is not None
    text, (_, *params) = await run_sync(insert.as_sql)
    assert text == insert.statement.sql
    assert params == [[obj.name for obj in objs], [obj.age for obj in objs]]


@by_unnest
async def test_defaults_of_the_database(snapshot: Snapshot, paper: Any, watched: Watched) -> None:
    made = await AsyncQuerySet(paper).abulk_create([paper() for _ in range(6)])
    assert {each.left for each in made} == {7}
    assert len(watched.statements) == DROPS_DEFAULTS
    made = await AsyncQuerySet(paper).abulk_create([paper(left=n) for n in range(6)])
    assert len(watched.statements) == DROPS_DEFAULTS + 1
    assert [each.left for each in made] == list(range(6))
    # Some, but not all: Django inserts by VALUES.
    made = await AsyncQuerySet(paper).abulk_create([paper(left=n) if n else paper() for n in range(6)])
    assert [each.left for each in made] == [7, 1, 2, 3, 4, 5]
    assert len(watched.statements) == DROPS_DEFAULTS + 1


@by_unnest
async def test_what_does_not_fit_is_left_to_django(snapshot: Snapshot, paper: Any, watched: Watched) -> None:
    with pytest.raises(DataError, match="NUL"):
        await AsyncQuerySet(Place).abulk_create([Place(name=f"\0{n}") for n in range(6)])
    with pytest.raises(ValueError, match="expected a number"):
        await AsyncQuerySet(Author).abulk_create([Author(name=str(n), age="x") for n in range(6)])
    made = await AsyncQuerySet(paper).abulk_create(
        [paper(title=Lower(Value("ABC")) if n == 5 else "x", left=1) for n in range(6)]
    )
    assert (await AsyncQuerySet(paper).aget(pk=made[5].pk)).title == "abc"
    (only,) = await AsyncQuerySet(Tag).abulk_create([Tag(label="one")])
    assert only.pk
    # An array of arrays is no column.
    await AsyncQuerySet(Book).abulk_create([Book(title=str(n), author_id=1, marks=[n]) for n in range(6)])
    assert watched.statements == []
    await run_sync(Tag.objects.filter(label="one").delete)


@by_unnest
async def test_errors_are_djangos(snapshot: Snapshot, watched: Watched) -> None:
    twice = [Tag(label="twice") for _ in range(6)]
    with pytest.raises(IntegrityError, match="library_tag_label"):
        await AsyncQuerySet(Tag).abulk_create(twice)
    with pytest.raises(DataError, match="too long"):
        await AsyncQuerySet(Place).abulk_create([Place(name="x" * 51) for _ in range(6)])
    with pytest.raises(DataError, match="out of range"):
        await AsyncQuerySet(Author).abulk_create([Author(name=str(n), age=2**40) for n in range(6)])
    assert len(watched.statements) == 3
    assert await AsyncQuerySet(Tag).filter(label="twice").acount() == 0


@by_unnest
async def test_a_failed_batch_undoes_those_before(snapshot: Snapshot, watched: Watched) -> None:
    tags = [*(Tag(label=f"t{n}") for n in range(10)), *(Tag(label="same") for _ in range(6))]
    with pytest.raises(IntegrityError):
        await AsyncQuerySet(Tag).abulk_create(tags, batch_size=8)
    assert await AsyncQuerySet(Tag).filter(label="t1").acount() == 0
    async with atomic():
        with pytest.raises(IntegrityError):
            async with atomic():
                await AsyncQuerySet(Tag).abulk_create(tags)
        await AsyncQuerySet(Tag).abulk_create(tags[:10])
    assert await AsyncQuerySet(Tag).filter(label__startswith="t").acount() == 10


@by_unnest
async def test_who_watches_sees_djangos_statement(snapshot: Snapshot, watched: Watched) -> None:
    def create() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            AsyncQuerySet(Place).bulk_create([Place(name=f"{n}") for n in range(6)])
        return [query["sql"][:12] for query in queries]

    assert "INSERT INTO " in await run_sync(create)
    assert watched.statements == []


@pytest.mark.skipif(InsertUnnest is not None, reason="Django 5.2 and later have UNNEST")
async def test_without_unnest_it_is_djangos(snapshot: Snapshot, watched: Watched) -> None:
    made = await AsyncQuerySet(Place).abulk_create([Place(name=f"{n}") for n in range(6)])
    assert all(place.pk for place in made)
    assert watched.statements == []


@by_unnest
async def test_related_objects_that_are_not_saved(snapshot: Snapshot) -> None:
    notes = [Note(target=Author(name="new"), text="x") for _ in range(6)]
    with pytest.raises(ValueError, match=r"bulk_create\(\) prohibited .* unsaved related object 'target'"):
        await AsyncQuerySet(Note).abulk_create(notes)


@by_unnest
@pytest.mark.usefixtures("frozen_now")
async def test_related_objects_saved_since(snapshot: Snapshot, paper: Any, watched: Watched) -> None:
    def make() -> list[Any]:
        author = Author(name="new")
        papers = [paper(author=author, left=1) for _ in range(6)]
        author.pk = 2
        return papers

    await run_sync(_restart, paper)
    assert await compare(snapshot, watched, make, {})


@by_unnest
async def test_what_objects_do_themselves(
    snapshot: Snapshot, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []
    original = Place._prepare_related_fields_for_save

    def prepare(self: Any, *args: Any, **kwargs: Any) -> None:
        prepared.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Place, "_prepare_related_fields_for_save", prepare)
    places = [Place(name=f"{n}") for n in range(6)]
    made = await AsyncQuerySet(Place).abulk_create(places)
    assert prepared == places == made
    assert len({place.pk for place in made}) == 6
    assert len(watched.statements) == 1


@by_unnest
async def test_any_iterable(snapshot: Snapshot, watched: Watched) -> None:
    for make in (tuple, iter, list):
        made = await AsyncQuerySet(Place).abulk_create(make([Place(name=f"{n}") for n in range(6)]))
        keys = [place.pk for place in made]
        assert keys == sorted(keys)
        assert None not in keys
    assert len(watched.statements) == 3
    assert await AsyncQuerySet(Place).abulk_create([]) == []
    with pytest.raises(ValueError, match="positive"):
        await AsyncQuerySet(Place).abulk_create(made, batch_size=-1)


@by_unnest
async def test_mixed_classes_and_subclasses(snapshot: Snapshot, watched: Watched) -> None:
    mixed = [Author(name=f"m{n}") if n % 2 else Writer(name=f"m{n}") for n in range(6)]
    made = await AsyncQuerySet(Author).abulk_create(mixed)
    assert None not in {author.pk for author in made}
    with pytest.raises(ValueError, match="multi-table"):
        await AsyncQuerySet(Restaurant).abulk_create([Restaurant(name="x") for _ in range(6)])
    assert watched.statements == []


@pytest.fixture
def keyed(django_databases: None) -> Iterator[dict[str, Any]]:
    """Models whose keys have no hash, and their tables."""
    fields = {
        "lists": ArrayField(models.IntegerField(), primary_key=True),
        "JSON": models.JSONField(primary_key=True),
        "bytes": models.BinaryField(primary_key=True),
    }
    with isolate_apps("tests.project.library"):
        body = {"__module__": __name__, "Meta": type("Meta", (), {"app_label": "library"})}
        made: dict[str, Any] = {
            name: type(f"Keyed{number}", (models.Model,), {**body, "key": field})
            for number, (name, field) in enumerate(fields.items())
        }
        with connection.schema_editor() as editor:
            for model in made.values():
                editor.create_model(model)
        connections.close_all()
        yield made
        with connection.schema_editor() as editor:
            for model in made.values():
                editor.delete_model(model)
        connections.close_all()


@pytest.mark.parametrize(
    ("name", "keys"),
    [("lists", [[1], [2]]), ("JSON", [{"a": 1}, [2]]), ("bytes", [bytearray(b"a"), bytearray(b"b")])],
)
async def test_keys_without_a_hash(keyed: dict[str, Any], name: str, keys: Sequence[Any]) -> None:
    model = keyed[name]
    made = await AsyncQuerySet(model).abulk_create([model(key=key) for key in keys])
    assert [each.key for each in made] == keys
    stored = await AsyncQuerySet(model).order_by("pk").values_list("pk", flat=True).alist()
    assert sorted(map(repr, stored)) == sorted(repr(bytes(k) if name == "bytes" else k) for k in keys)


async def test_objects_without_the_attribute_of_their_key(snapshot: Snapshot) -> None:
    outcomes = []
    for create in (partial(run_sync, QuerySet(Tag).bulk_create), AsyncQuerySet(Tag).abulk_create):
        tags = [Tag(label="k1"), Tag(label="k2")]
        del tags[1].__dict__["id"]
        try:
            await create(tags)
        except Exception as error:
            outcomes.append(repr(error))
        else:
            outcomes.append("created")
        snapshot.restore()
    assert outcomes[0] == outcomes[1]


@by_unnest
async def test_a_queryset_that_inserts_by_itself(snapshot: Snapshot, watched: Watched) -> None:
    sizes = []

    class Counting(AsyncQuerySet):
        def _batched_insert(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
            sizes.append(len(objs))
            return super()._batched_insert(objs, *args, **kwargs)

        def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
            sizes.append("all")
            return super().bulk_create(objs, *args, **kwargs)

    await Counting(Place).abulk_create([Place(name=f"{n}") for n in range(6)])
    assert sizes == ["all", 6]


@by_unnest
async def test_times_that_are_not_automatic_for_a_while(
    snapshot: Snapshot, paper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    when = dt.datetime(2001, 1, 1, tzinfo=UTC)
    changed = paper._meta.get_field("changed")
    for automatic in (True, False, True):
        monkeypatch.setattr(changed, "auto_now", automatic)
        made = await AsyncQuerySet(paper).abulk_create([paper(changed=when, left=1) for _ in range(6)])
        assert {each.changed == when for each in made} == {not automatic}
        stored = await AsyncQuerySet(paper).filter(pk__in=[each.pk for each in made]).alist()
        assert [each.changed for each in stored] == [each.changed for each in made]


@pytest.mark.parametrize("count", [1, 6])
async def test_what_is_left_of_a_block_after_an_error(snapshot: Snapshot, count: int) -> None:
    """Django's own block around it marks the block; since 6.0 there is none around one statement."""

    def taken() -> list[Tag]:
        return [Tag(label="red") for _ in range(count)]

    async def after(create: Callable[[], Any], ask: Callable[[], Any]) -> Any:
        try:
            async with atomic():
                with pytest.raises(IntegrityError):
                    await create()
                await ask()
        except Exception as error:
            return type(error), str(error).splitlines()[0]

    django = await after(
        lambda: run_sync(QuerySet(Tag).bulk_create, taken()), lambda: run_sync(QuerySet(Tag).count)
    )
    ours = await after(lambda: AsyncQuerySet(Tag).abulk_create(taken()), AsyncQuerySet(Tag).acount)
    assert ours == django
    assert await Tag.objects.acount() == 3


def _set_encoding(how: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"{how} client_encoding TO LATIN1")


def _places() -> list[Place]:
    return [Place(name=f"ä{n}") for n in range(6)]


async def _create() -> list[Place]:
    return await AsyncQuerySet(Place).abulk_create(_places())


async def _create_in_bridge() -> list[Place]:
    return await run_sync(AsyncQuerySet(Place).bulk_create, _places())


async def _create_in_batch() -> list[Place]:
    _, made = await batch(AsyncQuerySet(Place).acount(), _create())
    return made


#: Ways to insert, in a block and outside of it.
CREATORS = [_create, _create_in_bridge, _create_in_batch]


@by_unnest
@pytest.mark.parametrize("create", CREATORS)
async def test_another_encoding_in_a_block(snapshot: Snapshot, create: Any) -> None:
    async with atomic():
        await run_sync(_set_encoding, "SET LOCAL")
        made = await create()
        assert await AsyncQuerySet(Place).filter(name="ä5").aexists()  # the block goes on
    stored = await AsyncQuerySet(Place).filter(pk__in=[place.pk for place in made]).alist()
    assert {place.name for place in stored} == {f"ä{n}" for n in range(6)}
    assert {place._state.adding for place in made} == {False}


@by_unnest
@pytest.mark.parametrize("create", CREATORS)
async def test_a_session_with_another_encoding(snapshot: Snapshot, create: Any) -> None:
    """It is the pool's only connection, and stays as it is."""
    with override_settings(TURBO_ORM={"POOL": {"min_size": 1, "max_size": 1}}):
        await AsyncQuerySet(Place).acount()
        await run_sync(_set_encoding, "SET")
        try:
            made = await create()
        finally:
            await close_pools()
    stored = await AsyncQuerySet(Place).filter(pk__in=[place.pk for place in made]).alist()
    assert {place.name for place in stored} == {f"ä{n}" for n in range(6)}


@by_unnest
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.usefixtures("frozen_now")
async def test_other_settings_of_a_session(
    snapshot: Snapshot, paper: Any, watched: Watched, name: str, bridged: list[Any]
) -> None:
    """They change how the server writes, and how it reads some texts."""

    async def stored(settings: dict[str, str], *, plans: bool) -> Any:
        with override_settings(TURBO_ORM={"PLANS": plans}):
            async with atomic():
                await run_sync(_set_all, settings)
                bridged.clear()
                made = await AsyncQuerySet(paper).abulk_create(papers(paper, **COLUMNS[name])())
                assert bool(plans and DROPS_DEFAULTS) is (bridged == [])
            rows = AsyncQuerySet(paper).filter(pk__in=[each.pk for each in made]).order_by("pk")
            return await run_sync(lambda: [*rows.values_list(*COLUMNS[name], "changed")])

    assert await stored(OTHER_SETTINGS, plans=True) == await stored({}, plans=False)


def _set_all(settings: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute(f"SET LOCAL {name} TO {value}")


#: Of those the server tells its clients.
OTHER_SETTINGS = {
    "DateStyle": "'German'",
    "IntervalStyle": "'sql_standard'",
    "TimeZone": "'Asia/Tokyo'",
    "bytea_output": "'escape'",
}


@by_unnest
async def test_in_a_block_without_the_bridge(snapshot: Snapshot, bridged: list[Any]) -> None:
    await AsyncQuerySet(Place).acount()  # then there is a pool
    bridged.clear()
    async with atomic():
        made = await AsyncQuerySet(Place).abulk_create(_places())
        again = await AsyncQuerySet(Place).abulk_create(_places()[:2])
    assert bridged == []
    pks = [place.pk for place in (*made, *again)]
    assert [place.name for place in await AsyncQuerySet(Place).filter(pk__in=pks).order_by("pk").alist()] == [
        place.name for place in (*made, *again)
    ]
