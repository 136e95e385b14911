"""`bulk_create()` with a column per parameter, encoded in one go, where Django's SQL is ``UNNEST``.

Django 5.2 and later insert many rows by ``SELECT * FROM UNNEST(%s::bigint[], ...)``. The text
stays Django's, with all it says of conflicts and of what to return; what changes is how the
parameters are made: column by column instead of value by value.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import JSONField, Model

from turbo_orm.bridge.refusals import refusals
from turbo_orm.db.arrays import ENCODERS, Array
from turbo_orm.db.json_text import JSON_KINDS, json_texts
from turbo_orm.db.statements import Statement, statement
from turbo_orm.plans.compiled_inserts import (
    BoundInsert,
    Insertion,
    LoadReturned,
    has_db_default,
    is_left_to_database,
    returned_function,
    sample_of,
)
from turbo_orm.plans.keeping import make_and_keep
from turbo_orm.plans.saving import integer_type, may_set_at_save, preparer, unchanged_kind
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import Bail

__all__ = ["bulk_insert"]

#: Where a model's plans are kept: with its options, so that they go where it goes.
_ATTRIBUTE = "_turbo_bulk_inserts"

ToArray = Callable[[Sequence[Any]], Array]
ToColumn = Callable[[Sequence[Any], Sequence[dict[str, Any]]], Array]


def bulk_insert(objs: Sequence[Any], insertion: Insertion, connection: Any) -> BoundInsert | None:
    """Return what inserts *objs* as `QuerySet._insert()` would; None if only it can.

    Django's `bulk_create()` calls that for each batch; *connection* compiles. Objects are changed
    by `pre_save()` of their fields only, as they would be by Django.
    """
    if len(objs) < 2 or len(set(map(type, objs))) > 1:
        return None
    rows = [obj.__dict__ for obj in objs]
    refused = refusals.count
    try:
        given = _without_defaults(insertion.fields, rows)
        plan = _plan_for(objs, insertion, given, connection)
        if plan is None:
            return None
        params = tuple([column(objs, rows) for column in plan.columns])
    except Exception:
        # Django's own path raises it, or knows better.
        return None
    if refusals.count != refused:
        return None
    return BoundInsert(plan.statement, params, given, plan.load)


class _Plan(NamedTuple):
    statement: Statement
    columns: tuple[ToColumn, ...]
    load: LoadReturned | None


def _without_defaults(fields: Sequence[Any], rows: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    """Leave out the fields that the database is to fill in for all objects."""
    left = []
    for field in fields:
        if has_db_default(field):
            defaults = sum(is_left_to_database(row[field.attname]) for row in rows)
            if defaults == len(rows):
                continue
            if defaults:
                raise Bail
        left.append(field)
    return tuple(left)


def _plan_for(
    objs: Sequence[Any], insertion: Insertion, given: tuple[Any, ...], connection: Any
) -> _Plan | None:
    meta = insertion.table._meta
    plans: dict[Any, _Plan | None] = meta.__dict__.setdefault(_ATTRIBUTE, {})
    key = (
        type(objs[0]),
        meta.db_table,
        connection.alias,
        connection.ops.__class__,
        tuple(insertion.fields),
        given,
        tuple(insertion.returning or ()),
        *insertion.conflict.key,
    )
    if key in plans:
        return plans[key]
    return make_and_keep(plans, key, lambda: _make(objs, insertion, given, connection))


def _make(objs: Sequence[Any], insertion: Insertion, given: tuple[Any, ...], connection: Any) -> _Plan:
    """Make the plan for *objs*, which have values for the fields *given*."""
    kind = type(objs[0])
    samples = [sample_of(kind, obj) for obj in objs[:2]]
    columns = tuple(_column(kind, field, connection) for field in given)
    for sample in samples:
        if any(hasattr(vars(sample)[field.attname], "resolve_expression") for field in given):
            raise Bail
    compiler = insertion.compiler(samples, connection)
    ((text, params),) = compiler.as_sql()
    if " SELECT * FROM UNNEST(" not in text or [*map(type, params)] != [list] * len(given):
        raise Unsupported("Django inserts by VALUES here")
    load = returned_function(compiler)
    return _Plan(statement(text, len(given)), columns, load)


def _column(model: type[Model], field: Any, connection: Any) -> ToColumn:
    """Return what makes the column of *field* from objects and their dictionaries."""
    db_type = (field.db_type(connection) or "").partition("(")[0]
    if db_type not in ENCODERS:
        raise Unsupported(f"no array of {db_type or 'its type'} can be made for {field}")
    name: str = field.attname
    encode = _jsonb(field, connection) if db_type == "jsonb" else _checked(field, db_type, connection)
    if not may_set_at_save(model, field):
        return lambda objs, rows: encode([row[name] for row in rows])

    def column(objs: Sequence[Any], rows: Sequence[dict[str, Any]]) -> Array:
        # Tests switch that off and on.
        if field.auto_now or field.auto_now_add:
            return encode([field.pre_save(obj, True) for obj in objs])
        return encode([row[name] for row in rows])

    return column


_NONE = type(None)

#: The Python type of a column's values, and what makes exactly that of a subclass's.
_KINDS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "boolean": (bool, bool),
    "smallint": (int, int),
    "integer": (int, int),
    "bigint": (int, int),
    "double precision": (float, float),
    "numeric": (Decimal, Decimal),
    "uuid": (uuid.UUID, lambda value: value),
    "date": (dt.date, lambda value: value),
    "time": (dt.time, lambda value: value),
    "timestamp with time zone": (dt.datetime, lambda value: value),
    "text": (str, str.__str__),
    "varchar": (str, str.__str__),
}


def _checked(field: Any, db_type: str, connection: Any) -> ToArray:
    encode = ENCODERS[db_type]
    kind, exactly = _KINDS[db_type]
    prepare = preparer(field, connection)
    # Integers are wrapped for psycopg only, which the array makes unnecessary.
    is_wrapped = kind is int and integer_type(field, connection) is not None
    unchanged = is_wrapped or unchanged_kind(field, connection) is kind
    fits = _FITS.get(kind)

    def one(value: Any) -> Any:
        prepared = prepare(value)
        if prepared is None:
            return None
        if not isinstance(prepared, kind) or (kind is dt.date and isinstance(prepared, dt.datetime)):
            raise Bail
        return exactly(prepared)

    def column(values: Sequence[Any]) -> Array:
        kinds = set(map(type, values))
        has_null = _NONE in kinds
        if unchanged and kinds <= {kind, _NONE} and (fits is None or fits(values, has_null)):
            with suppress(TypeError):  # a datetime without time zone
                return encode(values, has_null)
        values = [one(value) for value in values]
        has_null = None in values
        if fits is not None and not fits(values, has_null):
            raise Bail
        return encode(values, has_null)

    return column


def _given(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _are_finite(values: Sequence[Any], has_null: bool) -> bool:
    return all(map(Decimal.is_finite, _given(values) if has_null else values))


def _are_naive_times(values: Sequence[Any], has_null: bool) -> bool:
    return {value.tzinfo for value in values if value is not None} <= {None}


def _are_storable(values: Sequence[Any], has_null: bool) -> bool:
    return "\0" not in "".join(_given(values) if has_null else values)


#: Whether fields leave values of the type as they are, and an array can hold them. What does not
#: fit when it is prepared either is for psycopg, and its errors.
_FITS: dict[type, Callable[[Sequence[Any], bool], bool]] = {
    Decimal: _are_finite,
    dt.time: _are_naive_times,
    str: _are_storable,
}


def _jsonb(field: Any, connection: Any) -> ToArray:
    encode = ENCODERS["jsonb"]
    prepare = preparer(field, connection)
    wrapped = prepare({})
    dumps = getattr(wrapped, "dumps", None)
    jsonb = type(wrapped)
    if dumps is None or prepare(None) is not None:
        raise Unsupported(f"{field} has a JSON of its own")
    plain = all(
        getattr(type(field), name) is getattr(JSONField, name)
        for name in ("get_db_prep_save", "get_db_prep_value", "get_prep_value")
    )
    to_texts = json_texts if dumps is json.dumps else lambda values: [*map(dumps, values)]

    def column(values: Sequence[Any]) -> Array:
        kinds = set(map(type, values))
        if plain and kinds <= JSON_KINDS:
            return encode(to_texts(values), False)
        texts = [one(value) for value in values]
        return encode(texts, None in texts)

    def one(value: Any) -> str | None:
        prepared = prepare(value)
        if prepared is None:
            return None
        if type(prepared) is not jsonb:
            raise Bail
        text: str = prepared.dumps(prepared.obj)
        return text

    return column
