"""The declared types are those of real values: rows of every kind of field, from PostgreSQL."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import django
import pytest
from django.contrib.postgres import fields as postgres
from django.contrib.postgres.search import SearchVectorField
from django.db import connection, models
from django.test.utils import isolate_apps

from devtools.types.values import evaluate, holds
from turbo_orm.codegen.annotations import AnnotationReader
from turbo_orm.codegen.fields import FieldReader
from turbo_orm.codegen.options import Options

pytestmark = pytest.mark.usefixtures("django_databases")

#: Each field with values to store, one of each shape it may come back in.
FIELDS: dict[str, tuple[models.Field[Any, Any], Any]] = {
    "big": (models.BigIntegerField(), 1),
    "binary": (models.BinaryField(), b"x"),
    "boolean": (models.BooleanField(), True),
    "char": (models.CharField(max_length=3), "x"),
    "nothing": (models.CharField(max_length=3, null=True), None),
    "day": (models.DateField(), dt.date(2020, 1, 2)),
    "moment": (models.DateTimeField(), dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc)),
    "decimal": (models.DecimalField(max_digits=5, decimal_places=2), 3),
    "duration": (models.DurationField(), dt.timedelta(1)),
    "email": (models.EmailField(), "a@example.org"),
    "file": (models.FileField(), "folder/x.txt"),
    "path": (models.FilePathField(), "/x"),
    "real": (models.FloatField(), 1),
    "address": (models.GenericIPAddressField(), "::1"),
    "integer": (models.IntegerField(), 1),
    "document": (models.JSONField(), {"a": [1, None]}),
    "small": (models.PositiveSmallIntegerField(), 1),
    "slug": (models.SlugField(), "x"),
    "text": (models.TextField(), "x"),
    "time": (models.TimeField(), dt.time(1)),
    "url": (models.URLField(), "https://example.org"),
    "identifier": (models.UUIDField(), str(uuid.UUID(int=1))),
    "numbers": (postgres.ArrayField(models.IntegerField()), [1, 2]),
    "holes": (postgres.ArrayField(models.CharField(max_length=3, null=True)), ["x", None]),
    "nested": (
        postgres.ArrayField(postgres.ArrayField(models.DecimalField(max_digits=3, decimal_places=1))),
        [[1]],
    ),
    "days": (postgres.DateRangeField(), (dt.date(2020, 1, 1), None)),
    "moments": (postgres.DateTimeRangeField(), (None, dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc))),
    "integers": (postgres.IntegerRangeField(), (1, 5)),
    "bigs": (postgres.BigIntegerRangeField(), (1, None)),
    "decimals": (postgres.DecimalRangeField(), (Decimal("1.5"), 3)),
    "vector": (SearchVectorField(null=True), None),
}
if django.VERSION >= (5, 0):
    FIELDS["double"] = (
        models.GeneratedField(
            expression=models.F("integer") * 2, output_field=models.IntegerField(), db_persist=True
        ),
        None,
    )
    FIELDS["given"] = (models.IntegerField(db_default=7), None)


@pytest.fixture(scope="module")
def row(django_databases: None) -> Iterator[models.Model]:
    """A stored row with every field, loaded again."""
    with isolate_apps("tests.project.library"):
        attributes = {name: field for name, (field, _) in FIELDS.items()}
        meta = type("Meta", (), {"app_label": "library"})
        model = type("Everything", (models.Model,), {"__module__": __name__, "Meta": meta, **attributes})
        stored = {
            name: value
            for name, (field, value) in FIELDS.items()
            if not getattr(field, "generated", False) and not (value is None and not field.null)
        }
        with connection.schema_editor() as editor:
            editor.create_model(model)
        try:
            model.objects.create(**stored)
            yield model.objects.get()
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(model)
            connection.close()


@pytest.fixture
def hstore(django_databases: None) -> Iterator[None]:
    """The extension, installed, and known to the connection."""
    from django.contrib.postgres.signals import get_hstore_oids, register_type_handlers

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'hstore'")
        if cursor.fetchone() is None:
            pytest.skip("this PostgreSQL comes without the extension hstore")
        cursor.execute("CREATE EXTENSION IF NOT EXISTS hstore")
    get_hstore_oids.cache_clear()
    register_type_handlers(connection)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP EXTENSION hstore")
    get_hstore_oids.cache_clear()
    connection.close()


@pytest.mark.usefixtures("hstore")
@isolate_apps("tests.project.library")
def test_hstore() -> None:
    class Labelled(models.Model):
        labels = postgres.HStoreField()

        class Meta:
            app_label = "library"

    with connection.schema_editor() as editor:
        editor.create_model(Labelled)
    try:
        Labelled.objects.create(labels={"a": "x", "b": None})
        attribute, value = declared(Labelled)["labels"]
        assert attribute == dict[str, str | None]
        assert holds(Labelled.objects.get().labels, attribute)
        assert holds(Labelled.objects.values("labels").get()["labels"], value)
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Labelled)


def declared(model: type[models.Model]) -> dict[str, tuple[Any, Any]]:
    """The types of each attribute and of its value in `values()`."""
    columns = FieldReader(Options(), AnnotationReader(lambda model: "", {})).columns(model)
    return {column.attname: (evaluate(column.read), evaluate(column.row)) for column in columns}


@pytest.mark.parametrize("name", ["id", *FIELDS])
def test_attribute_and_value_are_of_the_declared_type(row: models.Model, name: str) -> None:
    attribute, value = declared(type(row))[name]
    assert holds(getattr(row, name), attribute), (getattr(row, name), attribute)
    stored = type(row)._base_manager.values(name).get()[name]
    assert holds(stored, value), (stored, value)


def test_the_judgement_itself() -> None:
    assert not holds("x", int)
    assert not holds(True, int)
    assert not holds(["x"], list[int])
    assert not holds(None, int | str)
    assert holds([1, None], list[int | None])


def test_only_json_is_any(row: models.Model) -> None:
    assert [name for name, (read, _) in declared(type(row)).items() if read is Any] == ["document"]
