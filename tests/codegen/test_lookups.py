"""Which lookups fields offer, and what they take."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.db import models
from django.db.models import lookups

from turbo_orm.codegen.annotations import AnnotationReader
from turbo_orm.codegen.fields import FieldReader
from turbo_orm.codegen.ir import Reach
from turbo_orm.codegen.lookups import field_lookups
from turbo_orm.codegen.options import Breadth, Options
from turbo_orm.codegen.types import KNOWN_FIELDS


def offered(field: models.Field[object, object], breadth: Breadth = Breadth.COMMON) -> dict[str, str]:
    reader = FieldReader(Options(), AnnotationReader(lambda model: "", {}))
    found = field_lookups(field, reader.value_type(field), breadth, reader.value_type)
    return {lookup.name: lookup.value.replace("turbo_orm.typing:", "") for lookup in found}


def test_text() -> None:
    found = offered(models.CharField())
    assert found["icontains"] == "{StrValue}"
    assert found["in"] == "{StrValues}"
    assert found["isnull"] == "{:bool}"
    assert "range" not in found


def test_exact_of_a_nullable_field_takes_none() -> None:
    assert offered(models.CharField(null=True))[""] == "{StrValue} | None"
    assert offered(models.CharField())[""] == "{StrValue}"
    assert offered(models.CharField(null=True))["icontains"] == "{StrValue}"


def test_numbers_are_compared_and_not_searched() -> None:
    found = offered(models.IntegerField())
    assert found["gte"] == "{IntValue}"
    assert found["range"] == "{IntRange}"
    assert "icontains" not in found
    assert offered(models.IntegerField(), Breadth.ALL)["icontains"] == "{StrValue}"


def test_parts_of_dates() -> None:
    found = offered(models.DateTimeField())
    assert found["date"] == "{DateValue}"
    assert found["date__lt"] == "{DateValue}"
    assert found["year__gte"] == "{IntValue}"
    assert found["hour"] == "{IntValue}"
    assert "hour__gte" not in found
    assert offered(models.DateTimeField(), Breadth.ALL)["hour__gte"] == "{IntValue}"


def test_what_values_are_contained_by_is_a_range() -> None:
    class ScoreField(models.IntegerField):  # type: ignore[type-arg]
        def from_db_value(self, value: object, expression: object, connection: object) -> str:
            return str(value)

    import django.contrib.postgres.fields  # noqa: F401  (registers the lookup)

    assert offered(models.IntegerField())["contained_by"] == "{IntSpan}"
    assert offered(models.DateTimeField())["contained_by"] == "{DateTimeSpan}"
    assert offered(ScoreField())["contained_by"] == "{IntSpan}"
    assert "contained_by" not in offered(models.TimeField())


def test_json() -> None:
    found = offered(models.JSONField())
    assert found["has_key"] == "{StrValue}"
    assert found["contains"] == "{typing:Any}"


def reaching(field: models.Field[object, object], reach: Reach) -> set[str]:
    reader = FieldReader(Options(), AnnotationReader(lambda model: "", {}))
    found = field_lookups(field, reader.value_type(field), Breadth.COMMON, reader.value_type)
    return {lookup.name for lookup in found if lookup.reach >= reach}


def test_fewer_lookups_behind_relations() -> None:
    assert reaching(models.CharField(), Reach.FAR) == {"", "in", "icontains"}
    assert reaching(models.CharField(null=True), Reach.FAR) == {"", "in", "icontains", "isnull"}
    assert reaching(models.BigAutoField(primary_key=True), Reach.NEXT) == {"", "in"}
    assert reaching(models.BooleanField(), Reach.NEXT) == {""}
    assert {"gte", "year", "date"} <= reaching(models.DateTimeField(), Reach.NEXT)
    assert reaching(models.DateTimeField(), Reach.FAR) == {"", "gt", "gte", "lt", "lte"}


#: GeoDjango's fields. Their module wants GDAL, which is not everywhere: it is read, and not imported.
_SPATIAL = "django.contrib.gis.db.models.fields"


def _spatial_classes() -> Iterator[tuple[str, str]]:
    path = Path(django.__file__).with_name("contrib") / "gis/db/models/fields.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "geom_class":
                    yield node.name, ast.unparse(line.value)


def test_geometries_are_of_the_class_that_their_field_names() -> None:
    classes = dict(_spatial_classes())
    assert classes["GeometryField"] == "None"
    assert len(classes) == 8
    for field, geometry in classes.items():
        known = KNOWN_FIELDS[f"{_SPATIAL}.{field}"]
        wanted = geometry if geometry != "None" else "GEOSGeometry"
        assert known.read == f"{{django.contrib.gis.geos:{wanted}}}"
        assert known.accept == f"{known.read} | {{:str}} | {{:memoryview}}"
    assert KNOWN_FIELDS[f"{_SPATIAL}.RasterField"].read == "{django.contrib.gis.gdal:GDALRaster}"


def test_spatial_lookups_behind_relations() -> None:
    field: Any = type("PointField", (models.Field,), {"__module__": _SPATIAL})
    for name in ("contains", "distance_lte", "dwithin", "intersects", "left", "relate", "touches", "within"):
        field.register_lookup(type(name, (lookups.Lookup,), {"lookup_name": name}))
    near = {"", "contains", "distance_lte", "dwithin", "intersects", "within"}
    assert reaching(field(), Reach.FAR) == near
    assert reaching(field(), Reach.NEXT) == near | {"touches"}
    assert reaching(field(), Reach.OWN) == near | {"touches", "left", "relate", "in", "isnull"}
    assert offered(field())["dwithin"] == "{:object}"


def test_all_lookups_are_offered_everywhere() -> None:
    reader = FieldReader(Options(), AnnotationReader(lambda model: "", {}))
    field: models.Field[object, object] = models.CharField()
    found = field_lookups(field, reader.value_type(field), Breadth.ALL, reader.value_type)
    assert {lookup.reach for lookup in found} == {Reach.FAR}


def test_exact_comes_first() -> None:
    assert next(iter(offered(models.DateField()))) == ""


@pytest.fixture
def registered() -> Iterator[None]:
    class NotEqual(lookups.Lookup):  # type: ignore[type-arg]
        lookup_name = "ne"

    class AnyOf(lookups.In):
        lookup_name = "any_of"

    class Length(models.Transform):
        lookup_name = "length"
        output_field = models.IntegerField()

    classes = (NotEqual, AnyOf, Length)
    for lookup in classes:
        models.CharField.register_lookup(lookup)
    yield
    for lookup in classes:
        models.CharField._unregister_lookup(lookup)


@pytest.mark.usefixtures("registered")
def test_registered_lookups_are_always_offered() -> None:
    found = offered(models.CharField())
    assert found["ne"] == "{StrValue}"
    assert found["any_of"] == "{StrValues}"
    assert found["length"] == "{IntValue}"
