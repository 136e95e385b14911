"""The statements of `save()` in the bridge, on their plans, wherever it comes from.

Around them everything is Django's: signals, overridden methods, parents, transactions. What is
replaced are the two methods of `Model` that execute the INSERT and the UPDATE of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import FileField, Model
from django.db.models.sql import Query

from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.bridge.refusals import refusals
from turbo_orm.bridge.wrapper import BridgedWrapper
from turbo_orm.conf import get_config
from turbo_orm.db.statements import Statement
from turbo_orm.plans import running
from turbo_orm.plans.compiled_inserts import (
    BoundInsert,
    Insertion,
    LoadReturned,
    check_insert,
    compile_insert,
    is_left_to_database,
    params_function,
    returned_function,
    sample_of,
)
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.inserts import inserts_of, note_hooks
from turbo_orm.plans.keeping import make_and_keep
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.planned import has_all_rows
from turbo_orm.plans.row_updates import PlannedWrite, RowUpdate, do_update, update_plan, updates_as_django
from turbo_orm.plans.verify_writes import verify_row_insert, verify_row_update

__all__ = ["Inserter", "insert_row", "install", "row_insert"]

#: Where the plans of a table are kept: with its options, so that they go where they go.
_ATTRIBUTE = "_turbo_single_rows"

_patched: Any = Model
_djangos_insert = _patched._do_insert


class Inserter(NamedTuple):
    """Django's own method of inserting one object."""

    #: Does it, given a copy of the object.
    insert: Callable[[Any], Any]
    #: Raises `Unsupported` if it is not quite Django's own.
    check: Callable[[], None] | None = None
    #: What that depends on.
    key: tuple[Any, ...] = ()


class _RowInsert(NamedTuple):
    statement: Statement
    params: Callable[[Any], tuple[Any, ...]]
    fields: tuple[Any, ...]
    load: LoadReturned | None
    #: Kept alive: they are known by their `id()`.
    known: tuple[Any, ...]


def insert_row(obj: Any, insertion: Insertion, alias: str, inserter: Inserter) -> list[Any] | None:
    """Insert *obj*, for sync code in the bridge.

    Return what *inserter* would return; None, having done nothing, if only that can do it.
    """
    config = get_config()
    connection = compiling_connection(alias) if config.plans else None
    # While a plan is made or verified, there is a connection that only compiles.
    if connection is None or not isinstance(connections[alias], BridgedWrapper):
        return None
    found = row_insert(obj, insertion, connection, inserter, in_bridge=True)
    if found is None:
        return None
    # What is around Django's own method marks the block, or nothing does.
    insert = PlannedWrite(alias, found.statement, found.params, marks_for_rollback=False)
    if config.verify_plans:
        verify_row_insert(obj, insert, inserter.insert)
    return found.rows(running.run_in_bridge(insert))


def row_insert(
    obj: Any, insertion: Insertion, connection: Any, inserter: Inserter, *, in_bridge: bool
) -> BoundInsert | None:
    """Return the INSERT of *obj* that *inserter* would send; None if only that can.

    *connection* compiles. *obj* is changed by `pre_save()` of its fields only, as it would be by Django.
    *in_bridge* says where this is called: fields may do more there.
    """
    refused = refusals.count
    try:
        plan = _insert_plan(obj, insertion, connection, inserter, in_bridge)
        params = None if plan is None else plan.params(obj)
    except Exception:  # Django raises it again, or knows better
        return None
    if plan is None or params is None or refusals.count != refused:
        return None
    return BoundInsert(plan.statement, params, plan.fields, plan.load)


def _insert_plan(
    obj: Any, insertion: Insertion, connection: Any, inserter: Inserter, in_bridge: bool
) -> _RowInsert | None:
    table, fields, returning, conflict = insertion
    model, meta = type(obj), table._meta
    attributes = obj.__dict__
    shape = (
        model,
        in_bridge,
        *inserter.key,
        connection,
        meta.db_table,
        conflict.key,
        *map(id, fields),
        None,
        *map(id, returning or ()),
        *[is_left_to_database(attributes.get(name)) for name in inserts_of(table).db_defaults],
    )
    plans: dict[Any, _RowInsert | None] = meta.__dict__.setdefault(_ATTRIBUTE, {})
    if shape in plans:
        return plans[shape]

    def make() -> _RowInsert:
        if inserter.check is not None:
            inserter.check()
        return _compile_insert(obj, insertion, connection, in_bridge)

    return make_and_keep(plans, shape, make)


def _compile_insert(obj: Any, insertion: Insertion, connection: Any, in_bridge: bool) -> _RowInsert:
    model, fields, returning = type(obj), insertion.fields, insertion.returning or ()
    params = params_function(model, [*fields], connection, in_bridge=in_bridge)
    for field in fields:
        if type(field).pre_save is FileField.pre_save:
            field.pre_save(obj, True)  # or the sample would store the file, under another name
    sample = sample_of(model, obj)
    compiled = compile_insert(insertion, sample, connection)
    if len(compiled.fields) != len(fields):
        params = params_function(model, compiled.fields, connection, in_bridge=in_bridge)
    compiled.check(params(sample))
    load = returned_function(compiled.compiler)
    known = (*fields, *returning)
    return _RowInsert(compiled.statement, params, tuple(compiled.fields), load, known)


def _update(
    obj: Any,
    base_qs: Any,
    alias: str,
    key: Any,
    triples: Sequence[tuple[Any, Any, Any]],
    forced: Any,
    returning: Sequence[Any],
) -> list[Any] | None:
    """Update the row *key*; return what of it is *returning*, None if only `_do_update()` can."""
    config = get_config()
    connection = compiling_connection(alias) if config.plans else None
    if (
        connection is None
        or not triples
        or (obj._meta.select_on_save and not forced)
        or not _has_all_rows(base_qs)
    ):
        return None
    values = [triple[2] for triple in triples]
    if returning or any(hasattr(value, "resolve_expression") for value in values):
        return _update_and_return(base_qs, alias, key, triples, returning)
    update = RowUpdate(obj, [triple[0] for triple in triples], values, key)
    try:
        plan = update_plan(update, base_qs.model, alias, connection)
        params = None if plan is None else plan.params(values, key)
    except Exception:  # Django raises it again, or knows better
        return None
    if plan is None or params is None:
        return None
    planned = PlannedWrite(alias, plan.statement, params)
    if config.verify_plans:
        verify_row_update(update, planned, base_qs)
    # Since Django 6.0 it is rows, without columns.
    return [()] * running.run_in_bridge(planned).rowcount


def _update_and_return(
    base_qs: Any, alias: str, key: Any, triples: Sequence[tuple[Any, Any, Any]], returning: Sequence[Any]
) -> list[Any] | None:
    """Do what `_update()` does, where there are expressions: by the plan of ``update()``."""
    if not isinstance(base_qs, PlannedQuerySet) or not updates_as_django(type(base_qs)):
        return None
    values = {field.attname: value for field, _, value in triples}
    try:
        filtered = base_qs.filter(pk=key)
    except Exception:  # Django raises it again
        return None
    bound = filtered._bound_update(values, tuple([field.attname for field in returning]))
    if bound is None:
        return None
    result = running.run_in_bridge(bound)
    loader = bound.plan.loader
    return [()] * result.rowcount if loader is None else loader(result.rows or [], alias)


def _has_all_rows(base_qs: Any) -> bool:
    """Whether *base_qs* is its model's base manager's, and nothing was done to it."""
    model = base_qs.model
    if type(base_qs) is not model._base_manager._queryset_class:
        return False
    planned = base_qs.__dict__.get("_planned")
    if planned is not None:
        return has_all_rows(planned)
    query = base_qs.__dict__.get("_query")
    return (
        type(query) is Query
        and not query.where.children
        and not query.annotations
        and not query.is_sliced
        and not query.combinator
    )


def install() -> None:
    """Replace `Model._do_insert()` and `Model._do_update()`."""

    @wraps(_djangos_insert)
    def do_insert_planned(
        self: Any, manager: Any, using: str, fields: Any, returning_fields: Any, raw: bool
    ) -> Any:
        if current_bridge() is not None and not raw:
            inserter = Inserter(
                lambda sample: _djangos_insert(sample, manager, using, fields, returning_fields, False),
                partial(check_insert, manager),
                (type(manager), manager._queryset_class),
            )
            insertion = Insertion(manager.model, fields, returning_fields)
            rows = insert_row(self, insertion, using, inserter)
            if rows is not None:
                return rows
        return _djangos_insert(self, manager, using, fields, returning_fields, raw)

    @wraps(do_update)
    def do_update_planned(
        self: Any,
        base_qs: Any,
        using: str,
        pk_val: Any,
        values: Any,
        update_fields: Any,
        forced_update: Any,
        *returning_fields: Any,
    ) -> Any:
        if current_bridge() is not None:
            (returning,) = returning_fields or ((),)
            rows = _update(self, base_qs, using, pk_val, values, forced_update, returning or ())
            if rows is not None:
                return rows if returning_fields else bool(rows)
        return do_update(
            self, base_qs, using, pk_val, values, update_fields, forced_update, *returning_fields
        )

    # For `check_hooks()`.
    do_insert_planned._turbo = do_update_planned._turbo = True  # type: ignore[attr-defined]
    _patched._do_insert = do_insert_planned
    _patched._do_update = do_update_planned
    note_hooks()
