"""Run the INSERTs of `bulk_create()` on the wire, a column per parameter."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import AutoField, Field, Model, QuerySet

from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.bridge.wrapper import BridgedWrapper
from turbo_orm.conf import get_config
from turbo_orm.plans.bulk import Conflict, bulk_insert
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.instances import is_free
from turbo_orm.plans.running import run_on_wire_in_bridge, wire_wrapper
from turbo_orm.plans.verify_inserts import verify_bulk_insert

if TYPE_CHECKING:
    _Base = QuerySet[Any, Any]
else:
    _Base = object

__all__ = ["InsertsByColumn"]

#: Fewer rows are not worth it.
_MIN_ROWS = 5


class InsertsByColumn(_Base):
    """Mixed into a `QuerySet` class: what `bulk_create()` inserts in the bridge goes by column.

    Around each batch everything stays Django's: transactions, the sizes of batches, conflicts.
    Where all objects are alike, they are prepared, and told their keys, in one go as well.
    """

    def bulk_create(
        self, objs: Any, batch_size: int | None = None, *conflicts: Any, **more_conflicts: Any
    ) -> Any:
        internals: Any = self
        if (
            current_bridge() is not None
            and not any(conflicts)
            and not any(more_conflicts.values())
            and (batch_size is None or batch_size > 0)
            and isinstance(objs, list | tuple)
            and _is_simple(type(self), self.model)
            and _need_keys(objs)
        ):
            return _create(internals, list(objs), batch_size)
        return super().bulk_create(objs, batch_size, *conflicts, **more_conflicts)

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def _insert(
        self,
        objs: Sequence[Any],
        fields: Sequence[Any],
        returning_fields: Sequence[Any] | None = None,
        raw: bool = False,
        using: str | None = None,
        on_conflict: Any = None,
        update_fields: Sequence[Any] | None = None,
        unique_fields: Sequence[Any] | None = None,
    ) -> Any:
        if len(objs) >= _MIN_ROWS and not raw and current_bridge() is not None:
            self._for_write = True
            conflict = Conflict(on_conflict, update_fields, unique_fields)
            rows = _by_column(self.model, objs, fields, returning_fields, conflict, using or self.db)
            if rows is not None:
                return rows
        base: Any = super()
        return base._insert(
            objs,
            fields,
            returning_fields=returning_fields,
            raw=raw,
            using=using,
            on_conflict=on_conflict,
            update_fields=update_fields,
            unique_fields=unique_fields,
        )

    _insert.alters_data = True  # type: ignore[attr-defined]
    _insert.queryset_only = False  # type: ignore[attr-defined]
    #: For `insert_plan()`: one object is inserted as by Django's own method.
    _insert.inserts_one_as_django = True  # type: ignore[attr-defined]


_bulk_create = QuerySet.bulk_create

#: Before 6.0, Django opens a transaction for a single statement, too.
_ALWAYS_ATOMIC = "nullcontext" not in _bulk_create.__code__.co_names

#: What `bulk_create()` calls of a queryset.
_STEPS = [
    (name, vars(QuerySet)[name])
    for name in (
        "_batched_insert",
        "_check_bulk_create_options",
        "_handle_order_with_respect_to",
        "_prepare_for_bulk_create",
        "db",
    )
    if name in vars(QuerySet)
]

#: What it calls of an object, besides what `_need_keys()` looks at.
_HOOKS = [
    (name, getattr(Model, name))
    for name in (
        "_prepare_related_fields_for_save",
        "_get_pk_val",
        "_set_pk_val",
        "_is_pk_set",
        "__setattr__",
    )
    if hasattr(Model, name)
]


def _create(queryset: Any, objs: list[Any], batch_size: int | None) -> list[Any]:
    """Do what Django's `bulk_create()` does with objects that it has prepared, and that need keys."""
    queryset._for_write = True
    alias = queryset.db
    meta = queryset.model._meta
    fields = [
        field
        for field in meta.concrete_fields
        if not getattr(field, "generated", False) and not isinstance(field, AutoField)
    ]
    with transaction.atomic(using=alias, savepoint=False) if _ALWAYS_ATOMIC else nullcontext():
        rows = queryset._batched_insert(objs, fields, batch_size)
        assert len(rows) == len(objs)
        returned = meta.db_returning_fields
        kind = type(objs[0])
        if len(returned) == 1 and is_free(kind, returned[0].attname):
            name = returned[0].attname
            for obj, (value,) in zip(objs, rows, strict=True):
                obj.__dict__[name] = value
        else:
            for obj, row in zip(objs, rows, strict=True):
                for field, value in zip(returned, row, strict=True):
                    setattr(obj, field.attname, value)
        for obj in objs:
            state = obj._state
            state.adding = False
            state.db = alias
    return objs


def _is_simple(queryset_class: Any, model: Any) -> bool:
    """Whether `bulk_create()` is Django's for *queryset_class* and one table is all there is to it."""
    meta = model._meta
    return (
        not meta.order_with_respect_to
        and all(parent._meta.concrete_model is meta.concrete_model for parent in meta.get_parent_list())
        and all(getattr(queryset_class, name) is step for name, step in _STEPS)
    )


def _need_keys(objs: Sequence[Any]) -> bool:
    """Prepare *objs*, if they are all alike and the database is to give all of them their keys.

    Returns whether they are. Raises what Django raises for related objects that are not saved.
    """
    if not objs or len(set(map(type, objs))) > 1:
        return False
    model: Any = type(objs[0])
    key = model._meta.pk
    if (
        key.has_default()
        or (hasattr(key, "has_db_default") and key.has_db_default())
        or type(key).get_pk_value_on_save is not Field.get_pk_value_on_save
        or any(getattr(model, name) is not djangos for name, djangos in _HOOKS)
        or not is_free(model, key.attname)
    ):
        return False
    name = key.attname
    if {obj.__dict__.get(name, objs) for obj in objs} != {None}:
        return False
    for obj in objs:
        if obj._state.__dict__.get("fields_cache"):
            obj._prepare_related_fields_for_save(operation_name="bulk_create")
    return True


def _by_column(
    model: Any,
    objs: Sequence[Any],
    fields: Sequence[Any],
    returning_fields: Sequence[Any] | None,
    conflict: Conflict,
    alias: str,
) -> list[Any] | None:
    config = get_config()
    if not (config.plans and config.wire):
        return None
    wrapper = wire_wrapper(alias)
    compiling = None if wrapper is None else compiling_connection(alias)
    if wrapper is None or compiling is None or not _is_utf8(wrapper):
        return None
    found = bulk_insert(model, objs, fields, returning_fields, conflict, compiling)
    if found is None:
        return None
    if config.verify_plans:
        verify_bulk_insert(found, model, objs, fields, returning_fields, conflict, compiling)
    result = run_on_wire_in_bridge(alias, found.statement, found.params)
    if result is None:
        return None
    return [] if found.load is None else found.load(result.rows or ())


def _is_utf8(wrapper: BridgedWrapper) -> bool:
    """Whether the session takes text as the arrays have it."""
    assert wrapper.connection is not None
    return bool(wrapper.connection.pgconn.parameter_status(b"client_encoding") == b"UTF8")
