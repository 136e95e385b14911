"""Which lookups a field offers, and the type of each one's argument.

They come from ``field.get_lookups()``, which has the transforms too, so that registered ones count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from django.db.models import Field, Transform, lookups
from django.db.models.expressions import Col

from turbo_orm.codegen.expressions import ANY, builtin, optional, ours
from turbo_orm.codegen.ir import Lookup, Reach
from turbo_orm.codegen.options import Breadth
from turbo_orm.codegen.types import Family, ValueType

__all__ = ["field_lookups", "key_lookups"]

_BASIC = ("exact", "in", "isnull")
_COMPARISONS = ("gt", "gte", "lt", "lte")
_PATTERNS = ("iexact", "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith")
_COMMON: dict[str, frozenset[str]] = {
    Family.TEXT: frozenset((*_BASIC, *_COMPARISONS, *_PATTERNS, "regex", "iregex")),
    Family.ORDERED: frozenset((*_BASIC, *_COMPARISONS, "range")),
    Family.MEASURE: frozenset((*_BASIC, *_COMPARISONS, "range")),
    Family.KEY: frozenset((*_BASIC, *_COMPARISONS, "range")),
    Family.FLAG: frozenset(_BASIC),
    Family.SPATIAL: frozenset(_BASIC),
    Family.OTHER: frozenset(_BASIC),
}
#: How geometries are looked for most, and less.
_NEAR = ("contains", "distance_lt", "distance_lte", "dwithin", "intersects", "within")
_PLACED = ("covers", "coveredby", "crosses", "disjoint", "distance_gt", "distance_gte", "overlaps", "touches")
#: Those of them which are offered behind a forward relation, and those behind any. Each name is a
#: keyword for each field of each related model, and what type checkers spend their time on.
#: `isnull` is one of them where the field can be null.
_NEXT: dict[str, frozenset[str]] = {
    Family.TEXT: frozenset(("", "in", "iexact", "contains", "icontains", "startswith")),
    Family.ORDERED: frozenset(("", "in", *_COMPARISONS)),
    Family.MEASURE: frozenset(("", *_COMPARISONS, "date", "year")),
    Family.FLAG: frozenset(("",)),
    Family.KEY: frozenset(("", "in")),
    Family.SPATIAL: frozenset(("", *_NEAR, *_PLACED)),
    Family.OTHER: frozenset(("", "contains", "overlap", "has_key")),
}
_FAR: dict[str, frozenset[str]] = {
    Family.TEXT: frozenset(("", "in", "icontains")),
    Family.ORDERED: frozenset(("", *_COMPARISONS)),
    Family.MEASURE: frozenset(("", *_COMPARISONS)),
    Family.FLAG: frozenset(("",)),
    Family.KEY: frozenset(("",)),
    Family.SPATIAL: frozenset(("", *_NEAR)),
    Family.OTHER: frozenset(("", "contains")),
}
#: The transforms which people compare with more than equality.
_COMPARED_TRANSFORMS = frozenset(("year", "date"))
_STR_VALUE = ours("StrValue")


def key_lookups(field: Any, kind: ValueType, *, null: bool) -> tuple[Lookup, ...]:
    """Return the lookups of the primary key *field* under its alias ``pk``."""
    # A composite key is compared column by column, but has no range.
    unknown = () if field.concrete else ("range",)
    return tuple(
        Lookup(lookup, _builtin_argument(lookup, kind, null=null), _reach(lookup, Family.KEY, null=null))
        for lookup in ("", "in", "isnull", *_COMPARISONS, "range")
        if (kind.family not in (Family.FLAG, Family.SPATIAL, Family.OTHER) or lookup in ("", "in", "isnull"))
        and lookup not in unknown
    )


def field_lookups(
    field: Field[Any, Any], kind: ValueType, breadth: Breadth, type_of: Any
) -> tuple[Lookup, ...]:
    """Return the lookups of *field*, exact first.

    *type_of* gives the `ValueType` of a field, for the outputs of transforms.
    """
    found = dict(_direct(field, kind, breadth, null=field.null))
    for transform_name, transform in sorted(field.get_lookups().items()):
        output = _output_field(transform, field) if issubclass(transform, Transform) else None
        if output is None:
            continue
        for lookup, argument in _transformed(transform_name, transform, output, type_of(output), breadth):
            found.setdefault(lookup, argument)
    family = Family.KEY if field.primary_key or field.is_relation else kind.family
    null = field.null and not field.is_relation  # the relation itself has `isnull`
    everywhere = breadth is Breadth.ALL
    return tuple(
        Lookup(lookup, argument, Reach.FAR if everywhere else _reach(lookup, family, null=null))
        for lookup, argument in found.items()
    )


def _reach(lookup: str, family: str, *, null: bool) -> Reach:
    if lookup in _FAR[family] or (null and lookup == "isnull"):
        return Reach.FAR
    return Reach.NEXT if lookup in _NEXT[family] else Reach.OWN


def _direct(field: Any, kind: ValueType, breadth: Breadth, *, null: bool) -> Iterator[tuple[str, str]]:
    classes = field.get_lookups()
    ordinary: dict[str, Any] = cast(Any, Field).get_lookups()  # works on the class too
    common = _COMMON[kind.family]
    for lookup, lookup_class in sorted(classes.items(), key=lambda item: _rank(item[0])):
        if issubclass(lookup_class, Transform):
            continue
        # What a field class registers for itself is what it is for: `has_key` of JSON, `overlap` of arrays.
        own = kind.family == Family.OTHER and ordinary.get(lookup) is not lookup_class
        wanted = lookup in common or own or lookup not in ordinary or not _is_djangos(lookup_class)
        if wanted or breadth is Breadth.ALL:
            suffix = "" if lookup == "exact" else lookup
            yield suffix, _argument(suffix, lookup_class, kind, null=null)


def _transformed(
    transform_name: str, transform: Any, output: Any, kind: ValueType, breadth: Breadth
) -> Iterator[tuple[str, str]]:
    yield transform_name, kind.value
    classes = {**output.get_lookups(), **transform.get_lookups()}
    common = (*_COMPARISONS, "in") if transform_name in _COMPARED_TRANSFORMS else ()
    for lookup, lookup_class in sorted(classes.items(), key=lambda item: _rank(item[0])):
        if lookup == "exact" or issubclass(lookup_class, Transform):
            continue
        if lookup in common or breadth is Breadth.ALL:
            yield f"{transform_name}__{lookup}", _argument(lookup, lookup_class, kind, null=False)


def _argument(lookup: str, lookup_class: Any, kind: ValueType, *, null: bool) -> str:
    if lookup in kind.arguments:
        return kind.arguments[lookup]
    if _is_djangos(lookup_class):
        return _builtin_argument(lookup, kind, null=null)
    if issubclass(lookup_class, (lookups.In, lookups.Range, lookups.IsNull)):
        parent = next(
            base for base in (lookups.In, lookups.Range, lookups.IsNull) if issubclass(lookup_class, base)
        )
        return _builtin_argument(str(parent.lookup_name), kind, null=null)
    return kind.value if lookup_class.prepare_rhs else ANY


def _builtin_argument(lookup: str, kind: ValueType, *, null: bool) -> str:
    if lookup == "isnull":
        return builtin("bool")
    if lookup == "in":
        return kind.values
    if lookup == "range":
        return kind.range
    if lookup in _PATTERNS or lookup in ("regex", "iregex", "search"):
        return optional(_STR_VALUE) if lookup == "iexact" and null else _STR_VALUE
    return optional(kind.value) if lookup == "" and null else kind.value


def _output_field(transform: Any, field: Any) -> Any:
    """What *transform* makes of a column of *field*; ``None`` where it needs arguments to know."""
    try:
        return transform(Col("_", field)).output_field
    except (TypeError, AttributeError, ValueError):
        return None


def _is_djangos(lookup_class: Any) -> bool:
    return str(lookup_class.__module__).startswith("django.db.")


def _rank(lookup: str) -> tuple[int, str]:
    order = (*_BASIC[:1], *_PATTERNS, "regex", "iregex", *_COMPARISONS, "range", *_BASIC[1:])
    return (order.index(lookup) if lookup in order else len(order), lookup)
