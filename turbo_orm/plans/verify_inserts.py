"""Always-compare for what is saved: each planned statement against what Django itself would execute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from turbo_orm.db.arrays import ENCODERS, Array
from turbo_orm.plans.bulk import BulkInsert
from turbo_orm.plans.bulk_updates import compiled_bulk_update
from turbo_orm.plans.compiled_inserts import Conflict, sample_of
from turbo_orm.plans.connections import Captured, connections_capturing
from turbo_orm.plans.row_updates import compiled_update
from turbo_orm.plans.verify import Verified, compare, refuse, same_params

__all__ = [
    "verify_bulk_insert",
    "verify_bulk_update",
    "verify_insert",
    "verify_row_insert",
    "verify_row_update",
    "verify_update",
]


class _AsSQL(Protocol):
    @property
    def alias(self) -> str: ...
    def as_sql(self) -> tuple[str, tuple[Any, ...]]: ...


def verify_insert(obj: Any, insert: _AsSQL, alias: str, *, force_insert: bool) -> None:
    """Raise `PlanMismatchError` unless *insert* is what ``obj.save(using=alias)`` would send.

    Call it before the statement is sent. Times that are set at that moment may differ.
    """
    verify_row_insert(obj, insert, lambda sample: sample.save(force_insert=force_insert, using=alias))


def verify_row_insert(obj: Any, insert: _AsSQL, insert_as_django: Callable[[Any], Any]) -> None:
    """Raise `PlanMismatchError` unless *insert* is what *insert_as_django*, given *obj*, would send."""
    _compare(f"to insert {type(obj).__name__}", obj, insert, _sent(obj, insert.alias, insert_as_django))


def _sent(obj: Any, alias: str, save: Callable[[Any], Any]) -> Sequence[tuple[str, Any]]:
    """Return the statements that *save*, given a copy of *obj*, would begin with."""
    sample = sample_of(type(obj), obj)
    with connections_capturing(alias):
        try:
            save(sample)
        except Captured as captured:
            found = captured.compiler.as_sql()
            return found if isinstance(found, list) else [found]
    return []


def verify_row_update(
    obj: Any, update: _AsSQL, base_qs: Any, fields: Sequence[Any], values: Sequence[Any], key: Any
) -> None:
    """Raise `PlanMismatchError` unless *update* is what ``obj._do_update(base_qs, ...)`` would send."""
    djangos = compiled_update(obj, base_qs, fields, values, key, update.alias)
    _compare(f"to update {type(obj).__name__}", obj, update, [djangos])


def verify_update(obj: Any, update: _AsSQL, names: frozenset[str] | None) -> None:
    """Raise `PlanMismatchError` unless *update* is what ``obj.save(update_fields=names)`` would send.

    Times that are set at that moment may differ.
    """
    alias = update.alias
    statements = _sent(
        obj,
        alias,
        lambda sample: sample.save(force_update=names is None, using=alias, update_fields=names),
    )
    _compare(f"to update {type(obj).__name__}", obj, update, statements)


def _compare(what: str, obj: Any, planned: _AsSQL, statements: Sequence[tuple[str, Any]]) -> None:
    text, djangos = statements[0] if len(statements) == 1 else ("(something else)", ())
    sql, params = planned.as_sql()
    if sql != text or not same_params(*_without_times(obj, params, tuple(djangos))):
        refuse(what, django=f"{text!r} {tuple(djangos)!r}", plan=f"{sql!r} {params!r}")
    Verified.same += 1


def verify_bulk_insert(
    found: BulkInsert,
    model: Any,
    objs: Sequence[Any],
    fields: Sequence[Any],
    returning_fields: Sequence[Any] | None,
    conflict: Conflict,
    connection: Any,
) -> None:
    """Raise `PlanMismatchError` unless *found* is what Django's compiler makes of the same."""
    query = conflict.query(model)
    query.insert_values(list(fields), [sample_of(type(obj), obj) for obj in objs], raw=False)
    compiler: Any = query.get_compiler(connection=connection)
    compiler.returning_fields = returning_fields
    ((text, columns),) = compiler.as_sql()
    what = f"to insert {model.__name__}"
    if found.statement.sql != text or len(columns) != len(found.params):
        refuse(what, django=repr(text), plan=repr(found.statement.sql))
    for field, array, column in zip(found.fields, found.params, columns, strict=True):
        # A time that is set now was another one a moment ago.
        if not _is_automatic(field) and _encoded(field, column, connection) != array:
            refuse(what, django=f"{text!r} {column!r}", plan=f"{array.data!r} for {field.name}")
    Verified.same += 1


def verify_bulk_update(model: Any, objs: Sequence[Any], fields: Sequence[Any], update: _AsSQL) -> None:
    """Raise `PlanMismatchError` unless *update* is what ``bulk_update(objs, fields)`` would send."""
    samples = [sample_of(type(obj), obj) for obj in objs]
    djangos = compiled_bulk_update(model, samples, fields, update.alias)
    compare(f"to update many {model.__name__}", update.as_sql(), djangos)
    Verified.same += 1


def _without_times(
    obj: Any, params: tuple[Any, ...], djangos: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Leave out pairs of parameters which are times that `pre_save()` set, one after the other."""
    automatic = [vars(obj).get(field.attname) for field in obj._meta.concrete_fields if _is_automatic(field)]
    if not automatic or len(params) != len(djangos):
        return params, djangos
    pairs = [
        (param, other)
        for param, other in zip(params, djangos, strict=True)
        if not (type(param) is type(other) and any(param is each for each in automatic))
    ]
    return tuple(param for param, _ in pairs), tuple(other for _, other in pairs)


def _is_automatic(field: Any) -> bool:
    return getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)


def _encoded(field: Any, column: Sequence[Any], connection: Any) -> Array:
    """The array of a column as Django prepared it."""
    values = [_plain(value) for value in column]
    return ENCODERS[field.db_type(connection).partition("(")[0]](values, None in values)


def _plain(value: Any) -> Any:
    if hasattr(value, "dumps"):  # psycopg's Jsonb
        return value.dumps(value.obj)
    if isinstance(value, str):
        return str.__str__(value)
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value
