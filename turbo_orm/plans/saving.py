"""The values of an instance's fields as the parameters of an INSERT or UPDATE, by generated code.

What `Field.pre_save()` and `Field.get_db_prep_save()` make of a value is spelled out for exactly
the fields of Django's that are named here, by the identity of their methods, and for values of
exactly the expected type; every other value goes through the field's own methods.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from functools import partial
from typing import Any

from django.db.models import FileField, JSONField, Model, fields
from django.db.models.fields.related import ForeignKey
from django.utils import timezone
from psycopg.types import numeric
from psycopg.types.json import Jsonb

from turbo_orm.db.json_text import JSON_KINDS, JsonText, json_parts
from turbo_orm.plans.instances import stores_directly
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import Bail

__all__ = [
    "CONDITIONS",
    "RANGES",
    "FieldParams",
    "FieldReads",
    "checked_wrapper_of",
    "fitting",
    "integer_type",
    "may_set_at_save",
    "preparer",
    "unchanged_kind",
    "without_foreign_keys",
    "wrapper_of",
]

#: The methods that decide what becomes of a value on its way to the database.
_METHODS = (
    "get_db_prep_save",
    "get_db_prep_value",
    "get_prep_value",
    "to_python",
)

#: They set the value they return, and need nothing but the object.
_SETTING = (fields.DateField.pre_save, fields.DateTimeField.pre_save, fields.TimeField.pre_save)

#: Where placeholders are written that depend on the column only.
_PLACEHOLDERS = {
    "django.db.models.fields",
    "django.contrib.postgres.fields.array",
    "django.contrib.postgres.fields.ranges",
}

#: What psycopg's types of integers can hold.
RANGES = {
    numeric.Int2: (-(2**15), 2**15 - 1),
    numeric.Int4: (-(2**31), 2**31 - 1),
    numeric.Int8: (-(2**63), 2**63 - 1),
}

_PLAIN_INTEGERS = (
    fields.IntegerField,
    fields.BigIntegerField,
    fields.SmallIntegerField,
    fields.PositiveIntegerField,
    fields.PositiveBigIntegerField,
    fields.PositiveSmallIntegerField,
)

#: Field classes, the type whose values they leave as they are, and what the backend must leave
#: as it is too.
_UNCHANGED: tuple[tuple[tuple[Any, ...], type, str | None], ...] = (
    ((fields.AutoField, fields.BigAutoField, fields.SmallAutoField), int, None),
    ((fields.CharField, fields.TextField), str, None),
    ((fields.BooleanField,), bool, None),
    ((fields.FloatField,), float, None),
    ((fields.DecimalField,), Decimal, "decimal"),
    ((fields.UUIDField,), uuid.UUID, "uuid"),
    ((fields.DateTimeField,), dt.datetime, "datetime"),
    ((fields.DateField,), dt.date, "date"),
    ((fields.TimeField,), dt.time, "time"),
)

#: What is also asked of values that fields leave as they are, by their type: an expression with ``{0}``
#: for the value.
CONDITIONS = {Decimal: "{0}.is_finite()", dt.datetime: "{0}.utcoffset() is not None"}

_NOW = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)
_SAMPLES = {Decimal: Decimal(1), dt.datetime: _NOW, dt.date: _NOW.date(), dt.time: _NOW.time()}


class FieldReads:
    """Source code that reads the *fields* of an instance, as `Field.pre_save()` does.

    *add* says that it is for an INSERT. Raises `Unsupported` for a field whose `pre_save()` is the
    project's; also for that of files, unless the code is to run *in_bridge*.
    """

    def __init__(self, model: type[Model], fields: Any, *, add: bool, in_bridge: bool = False) -> None:
        self._add_time = add
        self._in_bridge = in_bridge
        #: Globals of the generated function.
        self.namespace: dict[str, Any] = {}
        #: Statements that set ``v0``, ``v1``... from ``o`` and its ``d``, its ``__dict__``.
        self.lines: list[str] = []
        for number, field in enumerate(fields):
            self._read(model, number, field)

    def _read(self, model: type[Model], number: int, field: Any) -> None:
        value, stored = f"v{number}", f"d[{field.attname!r}]"
        through_field = f"{value} = field{number}.pre_save(o, {self._add_time})"
        if self._in_bridge and type(field).pre_save is FileField.pre_save:
            self.namespace[f"field{number}"] = field
            self.lines.append(through_field)
        elif may_set_at_save(model, field):
            # Tests switch that off and on.
            self.namespace[f"field{number}"] = field
            automatic = f"field{number}.auto_now"
            if self._add_time:
                automatic += f" or field{number}.auto_now_add"
            if type(field).pre_save is fields.DateTimeField.pre_save:
                self.namespace["timezone"] = timezone
                through_field = f"{value} = {stored} = timezone.now()"
            self.lines += [f"if {automatic}: {through_field}", f"else: {value} = {stored}"]
        else:
            self.lines.append(f"{value} = {stored}")


class FieldParams:
    """Source code that makes the values of *fields* into parameters.

    Raises `Unsupported` where `preparer()` does.
    """

    def __init__(self, fields: Any, connection: Any) -> None:
        #: Globals of the generated function.
        self.namespace: dict[str, Any] = {}
        #: Statements before, which change ``v0``, ``v1``...
        self.lines: list[str] = []
        #: An expression per field.
        self.expressions: list[str] = []
        for number, field in enumerate(fields):
            self.namespace[f"prepare{number}"] = preparer(field, connection)
            self.expressions.append(self._expression(number, field, connection))

    def _expression(self, number: int, field: Any, connection: Any) -> str:
        value, thorough = f"v{number}", f"prepare{number}(v{number})"
        if _is_plain_json(field, connection):
            self.namespace |= {"JSON_KINDS": JSON_KINDS, "JsonText": JsonText, "json_parts": json_parts}
            self.lines += [
                f"if {value}.__class__ in JSON_KINDS:",
                f"    json = JsonText(''.join(json_parts({value}, 0)))",
                f"    json.value = {value}",
                f"    {value} = json",
                f"elif {value} is not None: {value} = {thorough}",
            ]
            return value
        integer = integer_type(field, connection)
        if integer is not None:
            self.namespace[f"integer{number}"] = wrapper_of(integer)
            quick = f"integer{number}({value})"
            condition = self._is(value, int)
            if integer in RANGES:
                low, high = RANGES[integer]
                condition += f" and {low} <= {value} <= {high}"
            return f"None if {value} is None else {quick} if {condition} else {thorough}"
        kind = unchanged_kind(field, connection)
        if kind is None:
            return thorough
        quick = self._is(value, kind)
        if kind in CONDITIONS:
            quick += f" and {CONDITIONS[kind].format(value)}"
        return f"{value} if {value} is None or {quick} else {thorough}"

    def _is(self, value: str, kind: type) -> str:
        # Exactly: subclasses may convert themselves.
        self.namespace[kind.__name__] = kind
        return f"{value}.__class__ is {kind.__name__}"


def may_set_at_save(model: type[Model], field: Any) -> bool:
    """Whether `pre_save()` of *field* may set the time, besides reading an instance's ``__dict__``.

    Raises `Unsupported` if it is the project's.
    """
    if not stores_directly(model, field.attname):
        raise Unsupported(f"{field} is set by a descriptor")
    pre_save = type(field).pre_save
    if pre_save in _SETTING:
        return True
    if pre_save is not fields.Field.pre_save:
        raise Unsupported(f"{field} has its own pre_save()")
    return False


def unchanged_kind(field: Any, connection: Any) -> type | None:
    """Return the type whose values *field* saves as they are, but for `CONDITIONS`."""
    base = without_foreign_keys(field)
    for classes, kind, adapted_as in _UNCHANGED:
        if _is_like(base, *classes) and (adapted_as is None or _stays(connection, adapted_as, kind)):
            return kind
    return None


def integer_type(field: Any, connection: Any) -> Any | None:
    """Return psycopg's type of the column's integers, in which the backend wraps them."""
    base = without_foreign_keys(field)
    types = getattr(connection.ops, "integerfield_type_map", None) or {}
    return types.get(base.get_internal_type()) if _is_like(base, *_PLAIN_INTEGERS) else None


def wrapper_of(integer: Any) -> Any:
    """Return what wraps a number, known to fit, in *integer*, one of psycopg's types."""
    # What its own __new__() does, in Python.
    return partial(int.__new__, integer) if integer in RANGES else integer


def checked_wrapper_of(integer: Any) -> Any:
    """Return what wraps a number in *integer*, one of psycopg's types, or raises `Bail`."""
    if integer not in RANGES:
        return lambda value: fitting(integer(value))
    low, high = RANGES[integer]
    new = int.__new__

    def wrapped(value: Any) -> Any:
        if low <= value <= high:
            return new(integer, value)
        raise Bail

    return wrapped


def fitting(param: Any) -> Any:
    """Return *param*; raise `Bail` for a number that the type it is wrapped in can't hold.

    Django's cursors send numbers as they are, and the server says what it thinks of it.
    """
    limits = RANGES.get(type(param))
    if limits is not None and not limits[0] <= param <= limits[1]:
        raise Bail
    return param


def _is_plain_json(field: Any, connection: Any) -> bool:
    """Whether *field* is one of Django's whose values psycopg gives to `json.dumps()`."""
    if not all(
        getattr(type(field), name) is getattr(JSONField, name)
        for name in ("get_db_prep_save", "get_db_prep_value", "get_prep_value", "get_internal_type")
    ) or not vars(field).keys().isdisjoint(_METHODS):
        return False
    wrapped = field.get_db_prep_save({}, connection)
    return type(wrapped) is Jsonb and wrapped.dumps is json.dumps


def _has_one_placeholder(field_class: Any) -> bool:
    """Whether a field's placeholder is the same for every value that is no expression."""
    return all(
        method is None or (method.__module__ in _PLACEHOLDERS and "<locals>" not in method.__qualname__)
        for method in (
            getattr(field_class, name, None) for name in ("get_placeholder", "get_placeholder_sql")
        )
    )


def preparer(field: Any, connection: Any) -> Any:
    """Return `get_db_prep_save()` of *field*; it raises `Bail` for expressions, and what is too large.

    Raises `Unsupported` for a field whose placeholder depends on the value.
    """
    if not _has_one_placeholder(type(field)):
        raise Unsupported(f"{field} has placeholders of its own")
    prepare = field.get_db_prep_save

    def prepared(value: Any) -> Any:
        if hasattr(value, "resolve_expression"):
            raise Bail
        result = prepare(value, connection)
        if hasattr(result, "as_sql"):
            raise Bail
        return fitting(result)

    return prepared


def without_foreign_keys(field: Any) -> Any:
    """Return the field whose functions prepare the values of *field*, but for empty strings saved."""
    for _ in range(10):
        if not isinstance(field, ForeignKey) or not _is_like(field, ForeignKey):
            break
        field = field.target_field
    return field


def _is_like(field: Any, *classes: Any) -> bool:
    """Whether *field* treats values by the methods of one of *classes*."""
    return any(
        isinstance(field, kind)
        and all(getattr(type(field), name) is getattr(kind, name) for name in _METHODS)
        and vars(field).keys().isdisjoint(_METHODS)
        for kind in classes
    )


def _stays(connection: Any, adapted_as: str, kind: type) -> bool:
    """Whether the backend, one of Django's, leaves values of *kind* as they are."""
    if adapted_as == "uuid":
        return bool(connection.features.has_native_uuid_field)
    adapt = getattr(connection.ops, f"adapt_{adapted_as}field_value", None)
    module: str = getattr(adapt, "__module__", "")
    sample = _SAMPLES[kind]
    return adapt is not None and module.startswith("django.db.backends.") and adapt(sample) is sample
