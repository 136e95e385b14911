"""The Python types of the values which Django's fields hold: read, assigned, and compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from turbo_orm.codegen.expressions import ANY, EXPR, builtin, generic, name, optional, ours, union

__all__ = ["KNOWN_FIELDS", "UNKNOWN", "Family", "ValueType", "array_of", "inline", "range_of"]

_ITERABLE = name("collections.abc", "Iterable")
_INT = builtin("int")
_STR = builtin("str")


class Family:
    """Groups of fields which share their common lookups."""

    TEXT = "text"
    ORDERED = "ordered"
    #: Amounts and times, which are compared rather than listed.
    MEASURE = "measure"
    FLAG = "flag"
    #: Identifiers: they have an order, which hardly anybody asks for behind a relation.
    KEY = "key"
    #: Geometries and rasters, of GeoDjango.
    SPATIAL = "spatial"
    OTHER = "other"


@dataclass(frozen=True)
class ValueType:
    """The types of one kind of value."""

    #: What an instance's attribute reads.
    read: str
    #: What ``__init__`` and ``create()`` take.
    accept: str
    #: What an exact lookup, ``__in`` and ``__range`` take.
    value: str
    values: str
    range: str
    family: str = Family.OTHER
    #: The class in `turbo_orm.typing` of columns of this very type; other types share one.
    exact_column: str = ""
    shared_column: str = ""
    #: What ``values()`` gives, where that is not ``read``.
    row: str = ""
    #: Lookups whose argument is another type than the field's.
    arguments: Mapping[str, str] = field(default_factory=dict)


def inline(read: str, accept: str = "", *, family: str = Family.OTHER) -> ValueType:
    """Describe a type for which `turbo_orm.typing` has no aliases."""
    accept = accept or read
    value = union(accept, EXPR)
    return ValueType(
        read=read,
        accept=accept,
        value=value,
        values=union(generic(_ITERABLE, value), EXPR),
        range=union(generic(builtin("tuple"), value, value), generic(builtin("list"), ANY)),
        family=family,
    )


def _aliased(
    alias: str, read: str, accept: str = "", *, family: str = Family.ORDERED, has_ranges: bool = False
) -> ValueType:
    """*has_ranges* says that PostgreSQL has ranges of such values."""
    return ValueType(
        read=read,
        accept=accept or read,
        value=ours(f"{alias}Value"),
        values=ours(f"{alias}Values"),
        range=ours(f"{alias}Range"),
        family=family,
        exact_column=f"{alias}Column",
        arguments={"contained_by": ours(f"{alias}Span")} if has_ranges else {},
    )


def array_of(items: ValueType, *, null: bool) -> ValueType:
    """Describe django.contrib.postgres's ``ArrayField`` of *items*, which may be *null*."""
    nullable = optional if null else union
    read, accept = nullable(items.read), nullable(items.accept)
    members = generic(_ITERABLE, accept)
    base = inline(generic(builtin("list"), read), generic(name("collections.abc", "Sequence"), accept))
    sets = union(members, EXPR)
    return replace(
        base, arguments={"contains": sets, "contained_by": sets, "overlap": sets}, shared_column="ArrayColumn"
    )


def range_of(items: ValueType) -> ValueType:
    """Describe one of django.contrib.postgres's range fields."""
    read = generic(name("psycopg.types.range", "Range"), items.read)
    bound = optional(items.accept)
    accept = union(read, generic(builtin("tuple"), bound, bound), generic(builtin("list"), bound))
    other = union(accept, EXPR)
    either = union(items.accept, other)
    neighbours = ("contained_by", "fully_lt", "fully_gt", "not_lt", "not_gt", "adjacent_to")
    return replace(
        inline(read, accept),
        arguments={"contains": either, "overlap": other, **dict.fromkeys(neighbours, other)},
    )


UNKNOWN = inline(ANY)

_INTEGER = _aliased("Int", _INT, has_ranges=True)
_FLOAT = _aliased("Float", builtin("float"), family=Family.MEASURE, has_ranges=True)
_DECIMAL = _aliased(
    "Decimal",
    name("decimal", "Decimal"),
    union(name("decimal", "Decimal"), _INT),
    family=Family.MEASURE,
    has_ranges=True,
)
_TEXT = _aliased("Str", _STR, family=Family.TEXT)
_BOOLEAN = replace(_aliased("Bool", builtin("bool"), family=Family.FLAG), range=ANY)
_DATE = _aliased("Date", name("datetime", "date"), family=Family.MEASURE, has_ranges=True)
_DATETIME = _aliased("DateTime", name("datetime", "datetime"), family=Family.MEASURE, has_ranges=True)
_TIME = _aliased("Time", name("datetime", "time"), family=Family.MEASURE)
_DURATION = _aliased("Duration", name("datetime", "timedelta"), family=Family.MEASURE)
_UUID = _aliased("Uuid", name("uuid", "UUID"), union(name("uuid", "UUID"), _STR), family=Family.KEY)
_BYTES = replace(
    _aliased("Bytes", union(builtin("bytes"), builtin("memoryview")), family=Family.OTHER),
    accept=union(builtin("bytes"), builtin("bytearray"), builtin("memoryview")),
    range=ANY,
    exact_column="",
)
_JSON = replace(
    UNKNOWN,
    exact_column="JsonColumn",
    arguments={
        "contains": ANY,
        "contained_by": ANY,
        "has_key": ours("StrValue"),
        "has_keys": ours("StrValues"),
        "has_any_keys": ours("StrValues"),
    },
)
_HSTORE_READ = generic(builtin("dict"), _STR, optional(_STR))
_HSTORE = replace(
    inline(_HSTORE_READ, generic(name("collections.abc", "Mapping"), _STR, optional(_STR))),
    arguments=_JSON.arguments,
    exact_column="HStoreColumn",
)


def _file(module: str, qualname: str) -> ValueType:
    return replace(_TEXT, read=name(module, qualname), accept=ours("FileLike"), row=_STR)


def _spatial(module: str, qualname: str, *texts: str) -> ValueType:
    """Describe one of GeoDjango's fields, which takes *texts* too.

    Lookups take whatever a geometry can be made of, rasters, and pairs with a distance or a band: any object,
    and not `Any`, with which mypy finds no type of ``select()`` of such a column.
    """
    read, anything = name(module, qualname), builtin("object")
    taken = inline(anything, family=Family.SPATIAL)
    return replace(taken, read=read, accept=union(read, *texts), value=anything)


def _geometry(qualname: str) -> ValueType:
    return _spatial("django.contrib.gis.geos", qualname, _STR, builtin("memoryview"))


#: The value types of Django's own field classes and a few of the best-known others, by dotted path.
#: A field has the type of the first of its class's bases which is listed.
KNOWN_FIELDS: Mapping[str, ValueType] = {
    "django.db.models.fields.BinaryField": _BYTES,
    "django.db.models.fields.BooleanField": _BOOLEAN,
    "django.db.models.fields.CharField": _TEXT,
    "django.db.models.fields.DateField": _DATE,
    "django.db.models.fields.DateTimeField": _DATETIME,
    "django.db.models.fields.DecimalField": _DECIMAL,
    "django.db.models.fields.DurationField": _DURATION,
    "django.db.models.fields.FilePathField": _TEXT,
    "django.db.models.fields.FloatField": _FLOAT,
    "django.db.models.fields.GenericIPAddressField": _TEXT,
    "django.db.models.fields.IPAddressField": _TEXT,
    "django.db.models.fields.IntegerField": _INTEGER,
    "django.db.models.fields.NullBooleanField": _BOOLEAN,
    "django.db.models.fields.TextField": _TEXT,
    "django.db.models.fields.TimeField": _TIME,
    "django.db.models.fields.UUIDField": _UUID,
    "django.db.models.fields.files.FileField": _file("django.db.models.fields.files", "FieldFile"),
    "django.db.models.fields.files.ImageField": _file("django.db.models.fields.files", "ImageFieldFile"),
    "django.db.models.fields.json.JSONField": _JSON,
    "django.db.models.fields.proxy.OrderWrt": _INTEGER,
    # Their modules are not imported here: they want GDAL.
    "django.contrib.gis.db.models.fields.GeometryCollectionField": _geometry("GeometryCollection"),
    "django.contrib.gis.db.models.fields.GeometryField": _geometry("GEOSGeometry"),
    "django.contrib.gis.db.models.fields.LineStringField": _geometry("LineString"),
    "django.contrib.gis.db.models.fields.MultiLineStringField": _geometry("MultiLineString"),
    "django.contrib.gis.db.models.fields.MultiPointField": _geometry("MultiPoint"),
    "django.contrib.gis.db.models.fields.MultiPolygonField": _geometry("MultiPolygon"),
    "django.contrib.gis.db.models.fields.PointField": _geometry("Point"),
    "django.contrib.gis.db.models.fields.PolygonField": _geometry("Polygon"),
    "django.contrib.gis.db.models.fields.RasterField": _spatial(
        "django.contrib.gis.gdal", "GDALRaster", _STR, generic(builtin("dict"), _STR, ANY)
    ),
    "django.contrib.postgres.fields.hstore.HStoreField": _HSTORE,
    "django.contrib.postgres.fields.ranges.BigIntegerRangeField": range_of(_INTEGER),
    "django.contrib.postgres.fields.ranges.DateRangeField": range_of(_DATE),
    "django.contrib.postgres.fields.ranges.DateTimeRangeField": range_of(_DATETIME),
    "django.contrib.postgres.fields.ranges.DecimalRangeField": range_of(_DECIMAL),
    "django.contrib.postgres.fields.ranges.IntegerRangeField": range_of(_INTEGER),
    "django.contrib.postgres.search.SearchVectorField": inline(_STR, ANY),
    "django.contrib.postgres.search._Float4Field": _FLOAT,
    "django_countries.fields.CountryField": replace(
        _TEXT, read=name("django_countries.fields", "Country"), row=_STR
    ),
    "phonenumber_field.modelfields.PhoneNumberField": replace(
        _TEXT,
        read=name("phonenumber_field.phonenumber", "PhoneNumber"),
        accept=union(name("phonenumber_field.phonenumber", "PhoneNumber"), _STR),
        exact_column="",
    ),
    "wagtail.fields.StreamField": inline(name("wagtail.blocks.stream_block", "StreamValue"), ANY),
    "timezone_field.fields.TimeZoneField": replace(
        _TEXT,
        read=name("zoneinfo", "ZoneInfo"),
        accept=union(name("zoneinfo", "ZoneInfo"), _STR),
        exact_column="",
    ),
}
