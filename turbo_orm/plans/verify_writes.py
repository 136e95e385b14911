"""Always-compare for what is saved, INSERTs and UPDATEs: each against what Django itself would execute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from turbo_orm.db.arrays import ENCODERS, Array
from turbo_orm.plans.bulk_updates import compiled_bulk_update
from turbo_orm.plans.capture import capture
from turbo_orm.plans.compiled_inserts import BoundInsert, Insertion, sample_of
from turbo_orm.plans.row_updates import RowUpdate, compiled_update
from turbo_orm.plans.running import Work
from turbo_orm.plans.verify import compare

__all__ = [
    "verify_bulk_insert",
    "verify_bulk_update",
    "verify_insert",
    "verify_row_insert",
    "verify_row_update",
    "verify_update",
]


def verify_insert(obj: Any, insert: Work, alias: str, *, force_insert: bool) -> None:
    """Raise `PlanMismatchError` unless *insert* is what ``obj.save(using=alias)`` would send.

    Call it before the statement is sent. Times that are set at that moment may differ.
    """
    verify_row_insert(obj, insert, lambda sample: sample.save(force_insert=force_insert, using=alias))


def verify_row_insert(obj: Any, insert: Work, insert_as_django: Callable[[Any], Any]) -> None:
    """Raise `PlanMismatchError` unless *insert* is what *insert_as_django*, given *obj*, would send."""
    alias = insert.alias
    _compare(f"to insert {type(obj).__name__}", obj, insert, lambda: _sent(obj, alias, insert_as_django))


def _sent(obj: Any, alias: str, save: Callable[[Any], Any]) -> tuple[str, Any]:
    """Return the statement that *save*, given a copy of *obj*, would begin with."""
    sample = sample_of(type(obj), obj)
    found: Any = capture(alias, lambda: save(sample)).as_sql()
    statements: list[tuple[str, Any]] = found if isinstance(found, list) else [found]
    return statements[0] if len(statements) == 1 else (str(statements), ())


def verify_row_update(update: RowUpdate, planned: Work, base_qs: Any) -> None:
    """Raise `PlanMismatchError` unless *planned* is what ``_do_update(base_qs, ...)`` would send."""
    obj, alias = update.obj, planned.alias
    _compare(
        f"to update {type(obj).__name__}",
        obj,
        planned,
        lambda: compiled_update(update, base_qs, alias),
    )


def verify_update(obj: Any, update: Work, names: frozenset[str] | None) -> None:
    """Raise `PlanMismatchError` unless *update* is what ``obj.save(update_fields=names)`` would send.

    Times that are set at that moment may differ.
    """
    alias = update.alias

    def save(sample: Any) -> None:
        sample.save(force_update=names is None, using=alias, update_fields=names)

    _compare(f"to update {type(obj).__name__}", obj, update, lambda: _sent(obj, alias, save))


def _compare(what: str, obj: Any, planned: Work, djangos: Callable[[], tuple[str, Any]]) -> None:
    sql, params = planned.as_sql()

    def with_our_times() -> tuple[str, Sequence[Any]]:
        text, others = djangos()
        return text, _with_our_times(obj, params, tuple(others))

    compare(what, (sql, params), with_our_times)


def verify_bulk_insert(
    found: BoundInsert, objs: Sequence[Any], insertion: Insertion, connection: Any
) -> None:
    """Raise `PlanMismatchError` unless *found* is what Django's compiler makes of the same."""
    sql, params = found.statement.sql, found.params

    def djangos() -> tuple[str, Sequence[Any]]:
        compiler = insertion.compiler([sample_of(type(obj), obj) for obj in objs], connection)
        ((text, columns),) = compiler.as_sql()
        if text != sql or len(columns) != len(params):
            return text, columns
        return text, [
            # A time that is set now was another one a moment ago.
            array if _is_automatic(field) else _encoded(field, column, connection)
            for field, array, column in zip(found.fields, params, columns, strict=True)
        ]

    compare(f"to insert {insertion.table.__name__}", (sql, params), djangos)


def verify_bulk_update(model: Any, objs: Sequence[Any], fields: Sequence[Any], update: Work) -> None:
    """Raise `PlanMismatchError` unless *update* is what ``bulk_update(objs, fields)`` would send."""

    def djangos() -> tuple[str, Sequence[Any]]:
        samples = [sample_of(type(obj), obj) for obj in objs]
        return compiled_bulk_update(model, samples, fields, update.alias)

    compare(f"to update many {model.__name__}", update.as_sql(), djangos)


def _with_our_times(obj: Any, params: tuple[Any, ...], djangos: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return *djangos* with those of *params* that are times which `pre_save()` set a moment before."""
    automatic = [vars(obj).get(field.attname) for field in obj._meta.concrete_fields if _is_automatic(field)]
    if not automatic or len(params) != len(djangos):
        return djangos
    return tuple(
        param if type(param) is type(other) and any(param is each for each in automatic) else other
        for param, other in zip(params, djangos, strict=True)
    )


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
