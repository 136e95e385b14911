"""`abulk_update()`, and `bulk_update()` in the bridge, on plans: what Django does, in each way."""

from __future__ import annotations

import datetime as dt
import enum
import gc
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from decimal import Decimal
from typing import Any, NamedTuple
from weakref import ref

import pytest
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, IntegrityError, connection, connections, models, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Upper
from django.test import override_settings
from django.test.utils import isolate_apps, register_lookup
from django.utils.connection import ConnectionDoesNotExist
from django.utils.safestring import mark_safe

from tests.project.library.models import (
    Author,
    Book,
    BookQuerySet,
    Note,
    Person,
    Place,
    Profile,
    Restaurant,
    Shouter,
    Tag,
    Writer,
)
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import seen
from turbo_orm import AsyncManager, AsyncQuerySet, atomic, batch, cursor, run_sync
from turbo_orm.db import statements
from turbo_orm.db.statements import statement
from turbo_orm.errors import PlanMismatchError
from turbo_orm.plans import bulk_updates, running
from turbo_orm.plans.verify import Verified
from turbo_orm.plans.verify_writes import verify_bulk_update
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("at_once", "snapshot", "frozen_now")

POOL = {"min_size": 1, "max_size": 5}
UTC = dt.timezone.utc


class Colour(models.TextChoices):
    RED = "r"
    BLUE = "b"


class Size(models.IntegerChoices):
    SMALL = 1
    LARGE = 40_000


class Label(str):
    __slots__ = ()


class Kind(enum.Enum):
    """An enum that is no text."""

    ODD = "odd"


class Case(NamedTuple):
    """What is given to `bulk_update()`, made by sync code."""

    make: Callable[[], list[Any]]
    fields: Any
    options: dict[str, Any] = {}
    #: How many statements have plans.
    planned: int = 1


def each(model: Any, **columns: Sequence[Any]) -> Callable[[], list[Any]]:
    """Return what gives the objects of *model*, by their keys, the values of *columns* in turn."""

    def make() -> list[Any]:
        objs = list(model._base_manager.order_by("pk"))
        for name, values in columns.items():
            for obj, value in zip(objs, values, strict=False):
                setattr(obj, name, value)
        return objs

    return make


def unsaved_author() -> list[Any]:
    books = list(Book.objects.order_by("pk"))
    books[2].author = Author(name="new")
    return books


def author_saved_since() -> list[Any]:
    books = unsaved_author()
    books[2].author.save()
    return books


def with_authors() -> list[Any]:
    books = list(Book.objects.select_related("author", "editor").order_by("pk"))
    books[0].author_id, books[1].author = 2, Author.objects.get(pk=3)
    books[2].editor = None
    return books


def twice() -> list[Any]:
    first, second = Book.objects.order_by("pk")[:2]
    again = Book.objects.get(pk=first.pk)
    first.title, second.title, again.title = "a", "b", "c"
    return [first, second, again, second]


def some_missing() -> list[Any]:
    return [Tag(id=1, label="one"), Tag(id=77, label="x"), Tag(id=2, label="two"), Tag(id=-5, label="y")]


def deferred() -> list[Any]:
    return list(Book.objects.only("title").order_by("pk"))


CASES: dict[str, Case] = {
    "one field": Case(each(Book, title=["a", "b", "%s", "100%"]), ["title"]),
    "several": Case(
        each(
            Book,
            title=["a", "b", "c", "d"],
            price=[Decimal("1.5"), 2, "3.25", 4.5],
            published=[None, dt.date(2000, 1, 1), "2001-02-03", None],
            meta=[{"a": 1}, [None], "text", None],
            marks=[[], [1, 2], [3], [4]],
        ),
        ["title", "price", "published", "meta", "marks"],
    ),
    "one object": Case(lambda: [Book(pk=1, title="x")], ["title"]),
    "the order of the fields": Case(each(Book, title="abcd"), ["price", "title"]),
    "a tuple of fields": Case(each(Book, title="abcd"), ("title", "published")),
    "a set of fields": Case(each(Book, title="abcd"), {"title"}),
    "a dictionary of fields": Case(each(Book, title="abcd"), {"title": 1}, planned=0),
    "all NULL": Case(each(Book, editor=[None] * 4), ["editor"]),
    "some NULL": Case(each(Book, editor_id=[None, 1, None, 2]), ["editor", "published"]),
    "NULL where there must be a value": Case(each(Book, title=["a", None, "c", "d"]), ["title"]),
    "arrays": Case(each(Book, marks=[[], [1], (2, 3), [None]]), ["marks"]),
    "no arrays": Case(each(Book, marks=[[1], None, [2], [3]]), ["marks"]),
    "keys of relations": Case(each(Book, author_id=[2, "3", True, 2]), ["author_id"]),
    "an empty key": Case(each(Book, editor_id=["", 1, "", 2]), ["editor"]),
    "related objects": Case(with_authors, ["author", "editor"]),
    "related objects of other fields": Case(with_authors, ["title"]),
    "a related object not saved": Case(unsaved_author, ["title", "author"], planned=0),
    "a related object not saved, of another field": Case(unsaved_author, ["title"]),
    "a related object saved since": Case(author_saved_since, ["author"]),
    "a row that is not there": Case(each(Book, author_id=[99, 1, 1, 1]), ["author"]),
    "numbers": Case(each(Author, age=[1, None, 40_000]), ["age"]),
    "numbers of other types": Case(each(Author, age=["1", True, Decimal(3)]), ["age"]),
    "a number too large": Case(each(Author, age=[2**40, 1, 2]), ["age"], planned=0),
    "no number": Case(each(Author, age=[1, "x", 2]), ["age"], planned=0),
    "text that is no text": Case(each(Author, name=["a\0", "b", "c"]), ["name"]),
    "texts of other types": Case(each(Author, name=[Label("a"), 5, Kind.ODD]), ["name"]),
    "moments": Case(
        each(Author, created=[dt.datetime(2020, 1, 1, tzinfo=UTC), "2020-02-02T00:00:00Z"]), ["created"]
    ),
    "duplicates": Case(twice, ["title"]),
    "missing rows": Case(some_missing, ["label"]),
    "no rows": Case(lambda: [Tag(id=70 + n, label=f"x{n}") for n in range(3)], ["label"]),
    "a label that is taken": Case(lambda: [Tag(id=1, label="x"), Tag(id=2, label="blue")], ["label"]),
    "uuid keys": Case(each(Person, name="abc", parent=[None]), ["name", "alive", "parent"]),
    "one to one": Case(each(Profile, bio=["y"], author_id=[2]), ["bio", "author"]),
    "generic": Case(each(Note, object_id=[4, 3, 2, 1], text="abcd"), ["object_id", "text", "content_type"]),
    "a proxy": Case(each(Writer, age=[5, 6, 7]), ["age"]),
    "a save() of its own": Case(each(Shouter, name=["quiet"]), ["name"]),
    "in batches": Case(each(Book, title="abcd", editor_id=[1]), ["title", "editor"], {"batch_size": 3}, 2),
    "in batches of one": Case(each(Book, title="abcd"), ["title"], {"batch_size": 1}, 4),
    "in one batch": Case(each(Book, title="abcd"), ["title"], {"batch_size": 4}),
    "an error in the second batch": Case(
        lambda: [Tag(id=1, label="x"), Tag(id=2, label="blue")], ["label"], {"batch_size": 1}, 2
    ),
    "a wrong value in the second batch": Case(each(Author, age=[1, "x"]), ["age"], {"batch_size": 1}, 0),
    "a batch size that is none": Case(each(Book, title="abcd"), ["title"], {"batch_size": 0}, 0),
    "a negative batch size": Case(each(Book, title="abcd"), ["title"], {"batch_size": -1}, 0),
    "a batch size that is no number": Case(each(Book, title="abcd"), ["title"], {"batch_size": "2"}, 0),
    "several tables": Case(each(Restaurant, stars=[4, 5], name="xy"), ["stars", "name"], planned=0),
    "the last of several tables": Case(each(Restaurant, stars=[4, 5]), ["stars"]),
    "the first of several tables": Case(each(Restaurant, name="xy"), ["name"], planned=0),
    "the key in several tables": Case(each(Restaurant), ["place_ptr"], planned=0),
    "no objects": Case(list, ["title"], planned=0),
    "no fields": Case(each(Book, title="abcd"), [], planned=0),
    "an unknown field": Case(each(Book, title="abcd"), ["title", "titel"], planned=0),
    "no name": Case(each(Book, title="abcd"), [["title"]], planned=0),
    "a field twice": Case(each(Book, title="abcd"), ["title", "title"], planned=0),
    "the key": Case(each(Book), ["id"], planned=0),
    "the key by its alias": Case(each(Book), ["pk"], planned=0),
    "many to many": Case(each(Book), ["tags"], planned=0),
    "the other end": Case(each(Author), ["books"], planned=0),
    "a generic relation": Case(each(Note), ["target"], planned=0),
    "no key": Case(lambda: [Tag(id=1, label="x"), Tag(label="y")], ["label"], planned=0),
    "no key, and a related object not saved": Case(
        lambda: [*unsaved_author(), Book(title="x")], ["author"], planned=0
    ),
    "a key as text": Case(lambda: [Tag(id="1", label="x"), Tag(id=2, label="y")], ["label"], planned=0),
    "a key that is true": Case(lambda: [Tag(id=True, label="x")], ["label"], planned=0),
    "a key too large": Case(lambda: [Tag(id=2**70, label="x"), Tag(id=2, label="y")], ["label"], planned=0),
    "expressions": Case(each(Author, age=[F("age") + 1, 5, Value(7)]), ["age"], planned=0),
    "an expression of a text": Case(each(Book, title=[Upper("title"), "b"]), ["title"], planned=0),
    "objects of a proxy among others": Case(
        lambda: [*Author.objects.all(), *Writer.objects.all()], ["age"], planned=0
    ),
    "objects of another model": Case(
        lambda: [Tag(id=1, label="x"), Book.objects.get(pk=1)], ["label"], planned=0
    ),
    "no objects at all": Case(lambda: [1, 2], ["label"], planned=0),
    "deferred fields": Case(deferred, ["price"], planned=0),
    "deferred fields of others": Case(deferred, ["title"]),
}


class Outcome(NamedTuple):
    """Everything there is to see of one way to update."""

    returned: Any
    error: Any
    broken: Any
    at_the_end: Any
    objs: Any
    rows: Any
    statements: list[str]


def queryset_for(kind: Any, objs: list[Any]) -> Any:
    model = type(objs[0]) if objs and isinstance(objs[0], models.Model) else Tag
    return kind(model)


async def outcome(snapshot: Snapshot, case: Case, update: Any, *, watched: bool, block: Any) -> Outcome:
    snapshot.restore()
    await AsyncQuerySet(Tag).acount()  # then the server's version is known
    objs = await run_sync(case.make)
    returned = error = broken = at_the_end = None
    with capture_queries() if watched else nullcontext([]) as queries:
        try:
            async with block():
                try:
                    returned = await update(objs, case.fields, **case.options)
                except Exception as exc:
                    error = (type(exc), str(exc))
                    broken = await run_sync(lambda: transaction.get_connection().needs_rollback)
                    raise
        except Exception as exc:
            at_the_end = (type(exc), str(exc))  # or the one that was seen inside
    statements = [query["sql"] for query in queries]
    return Outcome(returned, error, broken, at_the_end, seen(objs), snapshot.rows(), statements)


async def djangos(objs: Any, fields: Any, **options: Any) -> Any:
    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        return await run_sync(queryset_for(QuerySet, objs).bulk_update, objs, fields, **options)


async def by_abulk_update(objs: Any, fields: Any, **options: Any) -> Any:
    return await queryset_for(AsyncQuerySet, objs).abulk_update(objs, fields, **options)


async def in_bridge(objs: Any, fields: Any, **options: Any) -> Any:
    return await run_sync(queryset_for(AsyncQuerySet, objs).bulk_update, objs, fields, **options)


async def verified(objs: Any, fields: Any, **options: Any) -> Any:
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        return await by_abulk_update(objs, fields, **options)


async def verified_in_bridge(objs: Any, fields: Any, **options: Any) -> Any:
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        return await in_bridge(objs, fields, **options)


async def with_cursors(objs: Any, fields: Any, **options: Any) -> Any:
    with override_settings(TURBO_ORM={"WIRE": False, "POOL": POOL}):
        return await by_abulk_update(objs, fields, **options)


WAYS = (by_abulk_update, in_bridge, verified, verified_in_bridge, with_cursors)


@pytest.mark.parametrize(
    ("watched", "block"),
    [
        pytest.param(False, nullcontext, id="on the wire"),
        pytest.param(False, atomic, id="on the wire, in a block"),
        pytest.param(True, nullcontext, id="watched"),
        pytest.param(True, atomic, id="watched, in a block"),
    ],
)
@pytest.mark.parametrize("name", CASES)
async def test_updates(snapshot: Snapshot, name: str, watched: bool, block: Any) -> None:
    expected = await outcome(snapshot, CASES[name], djangos, watched=watched, block=block)
    for update in WAYS:
        found = await outcome(snapshot, CASES[name], update, watched=watched, block=block)
        assert found == expected, update.__name__


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The planned statements that were compared with Django's, and are the same."""
    updates: list[Any] = []

    def verify(*args: Any) -> None:
        verify_bulk_update(*args)
        updates.append(args[-1])

    monkeypatch.setattr("turbo_orm.plans.updating.verify_bulk_update", verify)
    return updates


@pytest.mark.parametrize("name", CASES)
async def test_they_have_plans(snapshot: Snapshot, planned: list[Any], name: str) -> None:
    case = CASES[name]
    await AsyncQuerySet(Tag).acount()
    for update in (verified, verified_in_bridge):
        objs = await run_sync(case.make)
        planned.clear()
        # The test above compares the errors.
        with suppress(DatabaseError, FieldDoesNotExist, TypeError, ValueError, AttributeError):
            await update(objs, case.fields, **case.options)
        assert len(planned) == case.planned, update.__name__
        snapshot.restore()


# Fields of all kinds.


class SortingEncoder(json.JSONEncoder):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "sort_keys": True})


class ShoutedField(models.CharField):  # type: ignore[type-arg]
    """Its values are stored in another way."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value in (None, "") else f"{value}!"


class GivenField(models.CharField):  # type: ignore[type-arg]
    """It has a value for None."""

    def get_prep_value(self, value: Any) -> Any:
        return {None: "none", "nothing": None}.get(value, value)


#: Since Django 6.1 it returns the parameters, too.
_PLACEHOLDER = "get_placeholder_sql" if hasattr(ArrayField, "get_placeholder_sql") else "get_placeholder"


class SpelledField(models.TextField):  # type: ignore[type-arg]
    """Its placeholder depends on the value."""

    def _placeholder(self, value: Any, compiler: Any, connection: Any) -> Any:
        sql = "%s" if not isinstance(value, str) or len(value) < 3 else "upper(%s)"
        if hasattr(value, "as_sql"):
            sql, params = compiler.compile(value)
            return (sql, params) if _PLACEHOLDER == "get_placeholder_sql" else "%s"
        return (sql, (value,)) if _PLACEHOLDER == "get_placeholder_sql" else sql

    locals()[_PLACEHOLDER] = _placeholder


@pytest.fixture(scope="module")
def sheet(filled: Snapshot) -> Iterator[Any]:
    """A model with a column of each type, and a text for its key; and its table."""
    with isolate_apps("tests.project.library"):

        class Sheet(models.Model):
            code = models.CharField(primary_key=True, max_length=20)
            data = models.JSONField(null=True)
            ordered = models.JSONField(null=True, encoder=SortingEncoder)
            when = models.DateTimeField(null=True)
            changed = models.DateTimeField(auto_now=True)
            day = models.DateField(null=True)
            at = models.TimeField(null=True)
            lasts = models.DurationField(null=True)
            size = models.FloatField(null=True)
            price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
            ok = models.BooleanField(null=True)
            key = models.UUIDField(null=True)
            small = models.PositiveSmallIntegerField(null=True)
            big = models.BigIntegerField(null=True)
            number = models.IntegerField(null=True, choices=Size.choices)
            colour = models.CharField(max_length=10, null=True, choices=Colour.choices)
            text = models.TextField(null=True, db_column="odd WHEN (name) THEN IN (x)")
            blob = models.BinaryField(null=True)
            address = models.GenericIPAddressField(null=True)
            file = models.FileField(null=True, max_length=50)
            texts = ArrayField(models.CharField(max_length=5), null=True)
            tables = ArrayField(ArrayField(models.IntegerField()), null=True)
            author = models.ForeignKey(Author, models.CASCADE, null=True, db_constraint=False)
            person = models.ForeignKey(Person, models.CASCADE, null=True, db_constraint=False)
            named = models.ForeignKey(
                Author, models.CASCADE, null=True, db_constraint=False, to_field="name", related_name="+"
            )
            shouted = ShoutedField(null=True, max_length=10)
            given = GivenField(null=True, max_length=10)
            spelled = SpelledField(null=True)
            if hasattr(models, "GeneratedField"):
                left = models.IntegerField(db_default=7)
                twice = models.GeneratedField(
                    expression=models.F("small") * 2, output_field=models.IntegerField(), db_persist=True
                )

            objects = AsyncManager()

            class Meta:
                app_label = "library"

        class Page(models.Model):
            sheet = models.OneToOneField(Sheet, models.CASCADE, primary_key=True)
            number = models.IntegerField(default=0)

            objects = AsyncManager()

            class Meta:
                app_label = "library"

        Sheet.page_model = Page  # type: ignore[attr-defined]
        with connection.schema_editor() as editor:
            editor.create_model(Sheet)
            editor.create_model(Page)
        Sheet.objects.bulk_create([Sheet(code=code) for code in "abcdef"])
        connections.close_all()
        yield Sheet
        with connection.schema_editor() as editor:
            editor.delete_model(Page)
            editor.delete_model(Sheet)
        connections.close_all()


class Column(NamedTuple):
    """What is stored in a field, by row."""

    name: str
    values: Sequence[Any]
    planned: bool = True


MOMENT = dt.datetime(2020, 1, 1, tzinfo=UTC)

COLUMNS: dict[str, Column] = {
    "JSON": Column("data", [{"a": [1, None]}, ["%s", "ä"], "text", 5, 1.5, True]),
    "JSON of other types": Column("data", [None, {1: 2}, (1, 2), Label("x"), "\x01", {}]),
    "JSON with an encoder": Column("ordered", [{"b": 1, "a": 2}, None, [1], "x", 1, None]),
    "JSON null": Column("data", [Value(None, models.JSONField()), None], planned=False),
    "moments": Column("when", [MOMENT, None, MOMENT.replace(tzinfo=dt.timezone(dt.timedelta(hours=3)))]),
    "moments as texts": Column("when", ["2020-01-01T00:00:00Z", None, dt.datetime.max.replace(tzinfo=UTC)]),
    "a time of its own": Column("changed", [MOMENT, MOMENT]),
    "days": Column("day", [dt.date(2020, 1, 1), None, "2020-02-03", MOMENT, dt.date.min]),
    "times": Column("at", [dt.time(1), None, "10:11:12", dt.time(23, 59, 59, 999999)]),
    "durations": Column(
        "lasts", [dt.timedelta(days=3), None, dt.timedelta(microseconds=-1), dt.timedelta(0)]
    ),
    "floats": Column("size", [0.1, None, 2, "3.5", float("inf"), float("nan")]),
    "decimals": Column("price", [Decimal("1.005"), None, 2, "3.5", 1.25, Decimal("-5")]),
    "a decimal too large": Column("price", [Decimal(10**9)]),
    "a decimal that is no number": Column("price", [Decimal("NaN"), Decimal("NaN")], planned=False),
    "truth": Column("ok", [True, None, False, 1, "False", 0]),
    "uuids": Column("key", [uuid.UUID(int=5), None, str(uuid.UUID(int=6)), 7]),
    "small numbers": Column("small", [0, None, "2", True, 32767, 5.0]),
    "a small number too large": Column("small", [40_000], planned=False),
    "big numbers": Column("big", [2**62, None, 1, 40_000, -(2**63)]),
    "choices of numbers": Column("number", [Size.SMALL, Size.LARGE, None, 3]),
    "choices of texts": Column("colour", [Colour.RED, None, "b", Colour.BLUE]),
    "marked texts": Column("colour", [mark_safe("<b>"), Label("x"), 5]),
    "an odd name": Column("text", ["WHEN", None, "%s %(a)s %%", "quotes \" and ' \\", "x" * 5000]),
    "bytes": Column("blob", [b"\x00a", None, b"", memoryview(b"x")]),
    "addresses": Column("address", ["10.0.0.1", None, "::ffff:10.0.0.1", "fe80::1"]),
    "no address": Column("address", ["x"], planned=False),
    "files": Column("file", ["a.txt", None, "", "b/c.txt"]),
    "arrays of texts": Column("texts", [["a", "b,"], None, [], ["NULL", '"']]),
    "arrays of arrays": Column("tables", [[[1, 2], [3, 4]], None, [], ((5,), (6,))]),
    "relations": Column("author", [Author(pk=1), None, Author(pk=3)]),
    "keys of relations": Column("author_id", [1, None, "2", True]),
    "relations by uuid": Column("person", [Person(pk=uuid.UUID(int=1)), None]),
    "relations by name": Column("named", [Author(pk=1, name="Ada"), None, Author(pk=2, name="Bob")]),
    "values stored in another way": Column("shouted", ["a", None, "", "b"]),
    "a value for None": Column("given", ["a", None, "b", None]),
    "a value for None, and None for one": Column("given", ["a", "nothing", None], planned=False),
    "a placeholder of its own": Column("spelled", ["a", "abc", None], planned=False),
    "a default of the database": Column("left", [1, 2, 3]),
    "a generated column": Column("twice", [1, 2, 3], planned=False),
}


def rows_of(model: Any) -> list[Any]:
    return [seen(row) for row in model._base_manager.order_by("pk").values()]


def set_back(sheet: Any) -> None:
    fields = [
        field for field in sheet._meta.concrete_fields if not (field.primary_key or field.name == "twice")
    ]
    new = {field.name: field.get_default() for field in fields if field.null}
    QuerySet(sheet).update(**new, changed=MOMENT)


@pytest.mark.parametrize("all_null", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
async def test_columns(sheet: Any, name: str, all_null: bool) -> None:
    column = COLUMNS[name]
    if not any(column.name in (field.name, field.attname) for field in sheet._meta.concrete_fields):
        pytest.skip("a field of a later Django")

    def make() -> list[Any]:
        objs = list(QuerySet(sheet).order_by("pk"))
        for obj, value in zip(objs, [None] * 6 if all_null else column.values, strict=False):
            setattr(obj, column.name, value)
        return objs

    async def result(update: Any) -> Any:
        await run_sync(set_back, sheet)
        objs = await run_sync(make)
        try:
            returned: Any = await update(objs, [column.name])
        except Exception as exc:
            returned = type(exc), str(exc)
        return repr(returned), repr(seen(objs)), repr(await run_sync(rows_of, sheet))

    expected = await result(djangos)
    for update in WAYS:
        same = Verified.same
        assert await result(update) == expected, update.__name__
        if update in (verified, verified_in_bridge) and not all_null:
            assert (Verified.same > same) is column.planned


async def test_keys_that_are_relations(sheet: Any) -> None:
    page = sheet.page_model
    await page.objects.abulk_create([page(sheet_id=code) for code in "abc"])
    pages = [page(sheet_id=code, number=number) for number, code in enumerate("abc", start=5)]
    same = Verified.same
    assert await verified(pages, ["number"]) == 3
    assert Verified.same == same + 1
    assert [each.number for each in await page.objects.order_by("pk").alist()] == [5, 6, 7]


# What is a plan for all rows only.


def titled(title: str, count: int = 4) -> list[Any]:
    return [Book(pk=number + 1, title=f"{title}{number}") for number in range(count)]


async def titles() -> list[str]:
    return [book.title for book in await QuerySetOf(Book).order_by("pk").alist()]


class QuerySetOf(AsyncQuerySet[Any]):
    """As Django's, and plans."""


@pytest.mark.parametrize(
    ("make", "changed"),
    [
        (lambda: Book.objects.filter(author=1), 2),
        (lambda: Book.objects.exclude(author=1), 2),
        (lambda: Author(pk=1).books, 2),
        (lambda: Book.objects.order_by("price").filter(title__lt="C"), 2),
        (lambda: Book.objects.none(), 0),
        (lambda: Book.as_books.cheap(), 2),
        (lambda: Book.objects.filter(pk__in=[]), 0),
        (lambda: QuerySetOf(Book).annotate(n=F("price")).filter(n__lt=10), 2),
    ],
)
async def test_other_rows_are_left_alone(
    snapshot: Snapshot, verifying: None, make: Any, changed: int
) -> None:
    for update in (
        lambda: make().abulk_update(titled("x"), ["title"]),
        lambda: run_sync(lambda: make().bulk_update(titled("x"), ["title"])),
    ):
        snapshot.restore()
        assert await update() == changed
        assert sum(title.startswith("x") for title in await titles()) == changed


async def test_a_manager_that_filters(snapshot: Snapshot, verifying: None) -> None:
    people = [Person(id=uuid.UUID(int=number), name="x") for number in (1, 2, 3)]
    assert await Person.living.abulk_update(people, ["name"]) == 2
    assert await Person.everyone.abulk_update(people, ["name"]) == 3


async def test_slices_are_refused() -> None:
    for how in (
        lambda: Book.objects.all()[:2].abulk_update(titled("x"), ["title"]),
        lambda: run_sync(lambda: Book.objects.all()[:2].bulk_update(titled("x"), ["title"])),
    ):
        with pytest.raises(TypeError, match="slice"):
            await how()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Book.objects.order_by("-price"),
        lambda: Book.objects.only("title"),
        lambda: Book.objects.select_related("author"),
        lambda: Book.objects.prefetch_related("tags"),
        lambda: Book.objects.values("title"),
        lambda: Book.objects.using("default"),
        lambda: Book.as_books,
        lambda: Book.objects.all().all(),
    ],
)
async def test_all_rows_in_other_ways(snapshot: Snapshot, verifying: None, make: Any) -> None:
    assert await make().abulk_update(titled("x"), ["title"]) == 4
    assert await titles() == ["x0", "x1", "x2", "x3"]


async def test_a_queryset_that_was_evaluated(snapshot: Snapshot, verifying: None) -> None:
    books = QuerySetOf(Book).all()
    rows = await books.alist()
    for book in rows:
        book.title = "x"
    assert await books.abulk_update(rows, ["title"]) == 4
    assert await books.alist() == rows
    # Objects are looked at once, whatever they come from.
    assert await run_sync(lambda: Book.objects.bulk_update((book for book in rows), ["title"])) == 4
    assert await Book.objects.abulk_update(books, ["title"]) == 4
    assert await Book.objects.abulk_update((book for book in rows), ["title"]) == 4
    assert await Book.objects.abulk_update(Book.objects.order_by("pk"), ["title"]) == 4


# Methods of a project.


@pytest.mark.parametrize("name", ["bulk_update", "using", "filter", "update"])
async def test_methods_of_a_subclass_are_called(snapshot: Snapshot, name: str) -> None:
    called: list[str] = []

    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return getattr(super(cls, self), name)(*args, **kwargs)

    cls: Any = type("Own", (BookQuerySet,), {name: own})
    await Book.objects.abulk_update(titled("x"), ["title"])  # there is a plan
    assert await cls(Book).abulk_update(titled("y"), ["title"]) == 4
    assert called
    called.clear()
    assert await run_sync(lambda: cls(Book).bulk_update(titled("z"), ["title"])) == 4
    assert called
    assert (await titles())[0] == "z0"


async def test_other_arguments_of_a_subclass(snapshot: Snapshot) -> None:
    class Own(AsyncQuerySet[Any]):
        def bulk_update(self, objs: Any, fields: Any, *, shout: bool = False) -> Any:  # type: ignore[override]
            for obj in objs:
                obj.title = obj.title.upper() if shout else obj.title
            return super().bulk_update(objs, fields)

    assert await Own(Book).abulk_update(titled("x"), ["title"], shout=True) == 4
    assert await Own(Book).abulk_update(titled("y", 2), fields=["title"]) == 2
    assert await titles() == ["y0", "y1", "X2", "X3"]
    with pytest.raises(TypeError, match="shout"):
        await Book.objects.abulk_update(titled("x"), ["title"], shout=True)


@pytest.mark.parametrize("name", ["exact", "in"])
async def test_lookups_of_a_project(
    snapshot: Snapshot, verifying: None, planned: list[Any], name: str
) -> None:
    own = models.AutoField().get_lookup(name)
    lookup: Any = type("Own", (own,), {"lookup_name": name})
    key = Tag._meta.get_field("id")
    tags = [Tag(id=1, label="x")]
    assert await Tag.objects.abulk_update(tags, ["label"]) == 1
    assert len(planned) == 1
    with register_lookup(type(key), lookup):
        assert await Tag.objects.abulk_update(tags, ["label"]) == 1
        assert len(planned) == 1
    assert await Tag.objects.abulk_update(tags, ["label"]) == 1
    assert len(planned) == 2


async def test_methods_of_a_model_are_called(snapshot: Snapshot) -> None:
    prepared: list[Any] = []

    with isolate_apps("tests.project.library"):

        class Own(models.Model):
            label = models.SlugField(unique=True)
            objects = AsyncManager()

            class Meta:
                app_label = "library"
                db_table = "library_tag"

            def _prepare_related_fields_for_save(self, *args: Any, **kwargs: Any) -> None:
                prepared.append(kwargs)
                self.label = self.label.upper()

    assert await Own.objects.abulk_update([Own(id=1, label="x"), Own(id=2, label="y")], ["label"]) == 2
    assert len(prepared) == 2
    assert sorted([tag.label async for tag in Tag.objects.all()]) == ["X", "Y", "blue"]


@pytest.mark.skipif(not hasattr(models, "CompositePrimaryKey"), reason="a key of a later Django")
async def test_keys_of_several_columns(snapshot: Snapshot) -> None:
    with isolate_apps("tests.project.library"):

        class Own(models.Model):
            pk = models.CompositePrimaryKey("id", "label")
            id = models.IntegerField()
            label = models.SlugField()
            name = models.CharField(max_length=50, db_column="label")
            objects = AsyncManager()

            class Meta:
                app_label = "library"
                db_table = "library_tag"

        for update in WAYS:
            await AsyncQuerySet(Tag).filter(pk=1).aupdate(label="red")
            tags = [Own(id=1, label="red", name="x"), Own(id=2, label="red", name="y")]
            assert await update(tags, ["name"]) == 1
            assert (await AsyncQuerySet(Tag).aget(pk=1)).label == "x"


async def test_routers_are_asked_each_time(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Router:
        def db_for_write(self, model: Any, **hints: Any) -> str:
            asked.append(model)
            return "default" if len(asked) < 20 else "nowhere"

    with override_settings(DATABASE_ROUTERS=[Router()]):
        assert await Book.objects.abulk_update(titled("x"), ["title"]) == 4
        first = len(asked)
        assert await Book.objects.abulk_update(titled("y"), ["title"]) == 4
        assert len(asked) > first > 0
        asked += [Book] * 20
        with pytest.raises(ConnectionDoesNotExist):
            await Book.objects.abulk_update(titled("z"), ["title"])
        # It counts as a write for whoever asks the queryset then.
        books = Book.objects.using("default")
        await books.abulk_update(titled("z"), ["title"])
        assert books._for_write
    with pytest.raises(ConnectionDoesNotExist):
        await Book.objects.using("nowhere").abulk_update(titled("z"), ["title"])


# Errors, transactions.


async def test_an_error_undoes_all_batches(snapshot: Snapshot) -> None:
    tags = [Tag(id=1, label="x"), Tag(id=2, label="y"), Tag(id=3, label="x")]
    for update in WAYS:
        with pytest.raises(IntegrityError, match="library_tag_label"):
            await update(tags, ["label"], batch_size=1)
        assert {tag.label async for tag in Tag.objects.all()} == {"red", "green", "blue"}
        with pytest.raises(IntegrityError):
            async with atomic():
                await Tag.objects.acreate(label="first")
                await update(tags, ["label"])
        assert not await Tag.objects.filter(label="first").aexists()


async def test_an_error_breaks_the_block_around_it(snapshot: Snapshot) -> None:
    tags = [Tag(id=1, label="x"), Tag(id=2, label="x")]
    for update in WAYS:
        async with atomic():
            with pytest.raises(IntegrityError):
                await update(tags, ["label"])
            with pytest.raises(transaction.TransactionManagementError) as refused:
                await update(tags[:1], ["label"])
            if update in (in_bridge, verified_in_bridge):
                assert isinstance(refused.value.__cause__, IntegrityError)
        # A savepoint of somebody else is enough.
        async with atomic():
            with pytest.raises(IntegrityError):
                async with atomic():
                    await update(tags, ["label"])
            assert await update([Tag(id=1, label="y")], ["label"]) == 1
        assert await Tag.objects.filter(label="y").acount() == 1
        snapshot.restore()


async def test_together_with_others(snapshot: Snapshot) -> None:
    async with atomic():
        await Tag.objects.acreate(id=50, label="fifty")
        changed, count = await batch(
            Tag.objects.abulk_update([Tag(id=50, label="x"), Tag(id=1, label="y")], ["label"]),
            Tag.objects.acount(),
        )
    assert (changed, count) == (2, 4)
    assert [tag.label async for tag in Tag.objects.filter(pk__in=[1, 50]).order_by("pk")] == ["y", "x"]


# The plans themselves.


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of Django's own `bulk_update()`."""
    calls: list[Any] = []
    own = QuerySet.bulk_update

    def bulk_update(self: Any, objs: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(objs)
        return own(self, objs, *args, **kwargs)

    monkeypatch.setattr(QuerySet, "bulk_update", bulk_update)
    return calls


async def test_django_compiles_a_shape_once(
    snapshot: Snapshot, compiled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await AsyncQuerySet(Tag).acount()
    monkeypatch.delattr(Book._meta, "_turbo_bulk_updates", raising=False)
    await Book.objects.abulk_update(titled("x"), ["title"])
    assert compiled
    compiled.clear()
    for count in (1, 2, 3, 4):
        await Book.objects.abulk_update(titled("y", count), ["title"])
        await run_sync(lambda: Book.objects.bulk_update(titled("z"), ["title"], batch_size=3))
        await Book.objects.abulk_update([Book(pk=1, title=f"w{count}")] * count, ["title"])
    assert compiled == []
    await Book.objects.abulk_update(titled("y"), ["title", "price"])
    assert compiled


async def test_a_plan_is_made_on_the_second_use(
    snapshot: Snapshot, compiled: list[Any], shapes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django's own path is what the first one costs: a shape may be used only once."""
    await AsyncQuerySet(Tag).acount()
    monkeypatch.delattr(Book._meta, "_turbo_bulk_updates", raising=False)
    shapes.build_at_once(False)
    calls = []
    for title in ("a", "b", "c"):
        compiled.clear()
        await Book.objects.abulk_update(titled(title), ["title"])
        calls.append(len(compiled))
    assert calls[0] == calls[2] == 0
    assert calls[1] > 1


async def test_nulls_need_no_compiler(
    snapshot: Snapshot, compiled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await AsyncQuerySet(Tag).acount()
    monkeypatch.delattr(Book._meta, "_turbo_bulk_updates", raising=False)
    for nulls in range(15):
        books = [Book(pk=n + 1, editor_id=None if nulls >> n & 1 else n % 3 + 1) for n in range(4)]
        await Book.objects.abulk_update(books, ["editor"])
        stored = [book.editor_id async for book in Book.objects.order_by("pk")]
        assert stored == [book.editor_id for book in books]
        if nulls == 0:
            assert compiled
            compiled.clear()
    assert compiled == []


async def test_what_is_kept_has_a_bound(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_updates, "_MAX_STATEMENTS", 5)
    monkeypatch.delattr(Book._meta, "_turbo_bulk_updates", raising=False)
    await AsyncQuerySet(Tag).acount()

    def kept() -> list[Any]:
        [plan] = Book._meta._turbo_bulk_updates.plans.values()  # type: ignore[attr-defined]
        [text] = plan._texts.values()
        return list(text.statements.values())

    for count in range(1, 12):
        assert await Book.objects.abulk_update(titled("x", count), ["title"]) == min(count, 4)
        assert 1 <= len(kept()) <= 5
    [again] = [each for each in kept() if each.sql.count("WHEN") == 11]
    await Book.objects.abulk_update(titled("y", 11), ["title"])
    assert again in kept()
    monkeypatch.setattr(bulk_updates, "_MAX_KEPT_PARAMS", 40)
    for count in (20, 30, 21, 22):
        await Book.objects.abulk_update(titled("x", count), ["title"])
        assert len(kept()) == 1


async def test_servers_keep_nothing(snapshot: Snapshot) -> None:
    for count in (1, 4):
        for _ in range(3):
            await Book.objects.abulk_update(titled("x", count), ["title"])
    async with atomic():
        for _ in range(3):
            await Book.objects.abulk_update(titled("x"), ["title"])
        async with cursor() as found:
            await found.execute(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%CASE WHEN%%'"
            )
            assert await found.fetchone() == (0,)


@pytest.mark.parametrize("in_block", [False, True])
async def test_more_parameters_than_a_server_takes(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, in_block: bool
) -> None:
    counts: list[int] = []

    def with_cursor(work: Any) -> Any:
        counts.append(len(work.params))
        return run_with_cursor(work)

    run_with_cursor = running._run_with_cursor
    monkeypatch.setattr(running, "_run_with_cursor", with_cursor)
    monkeypatch.setattr(statements, "_PARAMS_MAX", 11)
    async with atomic() if in_block else nullcontext():
        assert await Book.objects.abulk_update(titled("x"), ["title"]) == 4
        assert await Book.objects.abulk_update(titled("y", 3), ["title"]) == 3
        assert await run_sync(lambda: Book.objects.bulk_update(titled("z"), ["title"])) == 4
    assert counts == [12, 12]
    assert await titles() == ["z0", "z1", "z2", "z3"]


@pytest.mark.slow
async def test_thousands_of_objects(snapshot: Snapshot) -> None:
    numbers = range(1000, 4000)
    await Place.objects.abulk_create([Place(id=number, name="x") for number in numbers])
    places = [Place(id=number, name=f"y{number}") for number in numbers]
    for some in (places[:2000], places):
        assert await Place.objects.abulk_update(some, ["name"]) == len(some)
    stored = [place.name async for place in Place.objects.filter(pk__gte=1000).order_by("pk")]
    assert stored == [place.name for place in places]


async def test_a_wrong_plan_raises(
    snapshot: Snapshot, verifying: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bulk_updates.BulkUpdate.write

    def wrong_params(self: Any, objs: Any) -> Any:
        made = write(self, objs)
        return made._replace(params=(*made.params[:1], "wrong", *made.params[2:]))

    def wrong_text(self: Any, objs: Any) -> Any:
        made = write(self, objs)
        return made._replace(statement=statement(made.statement.sql + " ", len(made.params)))

    for wrong in (wrong_params, wrong_text):
        monkeypatch.setattr(bulk_updates.BulkUpdate, "write", wrong)
        for how in (
            lambda: Book.objects.abulk_update(titled("x"), ["title"]),
            lambda: run_sync(lambda: Book.objects.bulk_update(titled("x"), ["title"])),
        ):
            different = Verified.different
            with pytest.raises(PlanMismatchError, match="A plan to update many Book differs"):
                await how()
            assert Verified.different == different + 1
    assert (await titles())[0] == "Algebra"


async def test_pieces_that_do_not_fit_are_no_plan(
    snapshot: Snapshot, verifying: None, monkeypatch: pytest.MonkeyPatch, compiled: list[Any]
) -> None:
    monkeypatch.delattr(Book._meta, "_turbo_bulk_updates", raising=False)
    monkeypatch.setattr(models.Case, "case_joiner", "  ")  # not what pieces are joined by
    same = Verified.same
    assert await Book.objects.abulk_update(titled("x"), ["title"]) == 4
    assert compiled
    compiled.clear()
    assert await Book.objects.abulk_update(titled("y"), ["title"]) == 4
    assert compiled == []  # nobody tries again
    assert Verified.same == same
    assert await titles() == ["y0", "y1", "y2", "y3"]
    monkeypatch.delattr(Book._meta, "_turbo_bulk_updates")


async def test_a_field_added_later(snapshot: Snapshot, verifying: None, planned: list[Any]) -> None:
    with isolate_apps("tests.project.library"):

        class Later(models.Model):
            objects = AsyncManager()

            class Meta:
                app_label = "library"
                db_table = "library_tag"

        with pytest.raises(FieldDoesNotExist):
            await Later.objects.abulk_update([Later(id=1)], ["label"])
        models.SlugField().contribute_to_class(Later, "label")
        assert await Later.objects.abulk_update([Later(id=1, label="x")], ["label"]) == 1
        assert len(planned) == 1
    assert await Tag.objects.filter(label="x").acount() == 1


async def test_objects_are_not_kept(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Book._meta, "_turbo_bulk_updates", raising=False)
    books = titled("x")
    refs = [ref(book) for book in books]
    await Book.objects.abulk_update(books, ["title"])
    del books
    gc.collect()
    assert [each() for each in refs] == [None] * 4


async def test_without_plans(snapshot: Snapshot, compiled: list[Any]) -> None:
    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        assert await Book.objects.abulk_update(titled("x"), ["title"]) == 4
    assert await titles() == ["x0", "x1", "x2", "x3"]


async def test_a_single_statement_needs_no_bridge(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    async def noted(function: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(function)
        return await run_sync(function, *args, **kwargs)

    await Book.objects.abulk_update(titled("x"), ["title"])
    monkeypatch.setattr("turbo_orm.plans.updating.run_sync", noted)
    assert await Book.objects.abulk_update(titled("y"), ["title"]) == 4
    async with atomic():
        assert await Book.objects.abulk_update(titled("z"), ["title"]) == 4
        with capture_queries():
            assert await Book.objects.abulk_update(titled("z"), ["title"]) == 4
    assert calls == []
    with capture_queries() as queries:
        await Book.objects.abulk_update(titled("z"), ["title"])
    await Book.objects.abulk_update(titled("z"), ["title"], batch_size=2)
    assert len(calls) == 2
    assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "UPDATE", "COMMIT"]
