"""Run the INSERTs of `bulk_create()` on the wire, a column per parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, transaction
from django.db.models import AutoField, Field, Model, QuerySet
from django.db.models.constants import OnConflict

from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.scopes import is_in_scope
from turbo_orm.bridge.straight import goes_straight
from turbo_orm.conf import get_config
from turbo_orm.db.statements import Statement
from turbo_orm.db.wire import Result
from turbo_orm.plans.bulk_inserts import bulk_insert
from turbo_orm.plans.compiled_inserts import NO_CONFLICT, BoundInsert, Conflict, Insertion, has_db_default
from turbo_orm.plans.connections import compiling_connection
from turbo_orm.plans.instances import is_free
from turbo_orm.plans.mode import is_replaced
from turbo_orm.plans.row_updates import PlannedWrite
from turbo_orm.plans.running import connected_wrapper, run, run_on_wire_in_bridge
from turbo_orm.plans.single_rows import Inserter, insert_row, row_insert
from turbo_orm.plans.verify_writes import verify_bulk_insert, verify_row_insert

if TYPE_CHECKING:
    _Base = QuerySet[Any, Any]
else:
    _Base = object

__all__ = ["InsertsByColumn", "PlannedBulkCreate", "abulk_create", "planned_bulk_create"]


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
            and len(conflicts) < len(_OPTIONS)
            and _OPTIONS.issuperset(more_conflicts)
            and (batch_size is None or (type(batch_size) is int and batch_size > 0))
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
        base: Any = super()
        djangos = partial(
            base._insert,
            fields=fields,
            returning_fields=returning_fields,
            raw=raw,
            using=using,
            on_conflict=on_conflict,
            update_fields=update_fields,
            unique_fields=unique_fields,
        )
        if objs and not raw and current_bridge() is not None:
            self._for_write = True
            alias = using or self.db
            conflict = Conflict(on_conflict, update_fields, unique_fields)
            insertion = Insertion(self.model, fields, returning_fields, conflict)
            if len(objs) == 1:
                inserter = Inserter(lambda sample: djangos([sample]))
                rows = insert_row(objs[0], insertion, alias, inserter)
            else:
                rows = _by_column(objs, insertion, alias)
            if rows is not None:
                return rows
        return djangos(objs)

    _insert.alters_data = True  # type: ignore[attr-defined]
    _insert.queryset_only = False  # type: ignore[attr-defined]
    #: For `check_insert()`: one object is inserted as by Django's own method.
    _insert.inserts_one_as_django = True  # type: ignore[attr-defined]


_bulk_create = QuerySet.bulk_create

#: What it takes besides the objects.
_OPTIONS = frozenset(_bulk_create.__code__.co_varnames[2 : _bulk_create.__code__.co_argcount])

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
    fields = _inserted(queryset.model)
    with transaction.atomic(using=alias, savepoint=False) if _ALWAYS_ATOMIC else nullcontext():
        return _finish(objs, queryset._batched_insert(objs, fields, batch_size), alias)


def _inserted(model: Any) -> list[Any]:
    """Return the fields `bulk_create()` inserts where the database gives the keys."""
    return [
        field
        for field in model._meta.concrete_fields
        if not getattr(field, "generated", False) and not isinstance(field, AutoField)
    ]


def _finish(objs: list[Any], rows: Sequence[tuple[Any, ...]], alias: str) -> list[Any]:
    """Tell *objs* what the database returned as they were inserted."""
    assert len(rows) == len(objs)
    kind = type(objs[0])
    returned = kind._meta.db_returning_fields
    if len(returned) == 1 and is_free(kind, returned[0].attname):
        name = returned[0].attname
        for obj, (value,) in zip(objs, rows, strict=True):
            attributes = obj.__dict__
            attributes[name] = value
            state = attributes["_state"]
            state.adding = False
            state.db = alias
        return objs
    for obj, row in zip(objs, rows, strict=True):
        for field, value in zip(returned, row, strict=True):
            setattr(obj, field.attname, value)
    for obj in objs:
        state = obj._state
        state.adding = False
        state.db = alias
    return objs


async def abulk_create(queryset: InsertsByColumn, /, *args: Any, **kwargs: Any) -> Any:
    """Return what ``queryset.bulk_create(*args, **kwargs)`` does."""
    insert = None
    if len(args) == 1 and not is_replaced(queryset, "bulk_create"):
        insert = planned_bulk_create(queryset, args[0], kwargs)
    if insert is None:
        return await run_sync(queryset.bulk_create, *args, **kwargs)
    return insert.finish(await run(insert))


class PlannedBulkCreate(NamedTuple):
    """The one INSERT a `bulk_create()` comes to."""

    alias: str
    statement: Statement
    params: tuple[Any, ...]
    found: BoundInsert
    objs: list[Any]
    insertion: Insertion
    marks_for_rollback: bool
    writes: bool = True

    def as_sql(self) -> tuple[str, tuple[Any, ...]]:
        """Return what Django gives to a cursor: lists in place of encoded arrays."""
        ((text, params),) = self.insertion.compiler(self.objs, connections[self.alias]).as_sql()
        return text, tuple(params)

    def finish(self, result: Result) -> list[Any]:
        """Return the objects, told what the database returned."""
        if self.insertion.conflict is NO_CONFLICT:
            return _finish(self.objs, self.found.rows(result), self.alias)
        return self.objs  # which of them were inserted is not known


#: Conflicts with the options of `bulk_create()` that say so; all others are for the bridge.
_CONFLICTS = {(): NO_CONFLICT, ("ignore_conflicts",): Conflict(OnConflict.IGNORE)}


def planned_bulk_create(
    queryset: Any,
    objs: Any,
    options: Mapping[str, Any] = MappingProxyType({}),
    *,
    in_atomic: bool = _ALWAYS_ATOMIC,
) -> PlannedBulkCreate | None:
    """Return the INSERT that is all ``bulk_create(objs, **options)`` does; None if it does more, or another.

    Objects are changed as `bulk_create()` changes them before it inserts them. *in_atomic* says that
    Django inserts them in an ``atomic()`` block.
    """
    kind, config = type(queryset), get_config()
    conflict = _CONFLICTS.get(tuple(name for name, value in options.items() if value))
    if (
        conflict is None
        or not (config.plans and config.wire)
        or not _OPTIONS.issuperset(options)
        or options.get("batch_size") is not None
        or not isinstance(objs, list | tuple)
        or any(
            getattr(kind, name) is not getattr(InsertsByColumn, name) for name in ("bulk_create", "_insert")
        )
        or not _is_simple(kind, queryset.model)
        or not _need_keys(objs)
    ):
        return None
    alias = queryset._alias_to_write()
    connection = compiling_connection(alias)
    fields = _inserted(queryset.model)
    may_go = is_in_scope() or goes_straight(alias)
    if connection is None or not may_go or not 0 < len(objs) <= connection.ops.bulk_batch_size(fields, objs):
        return None
    returning = queryset.model._meta.db_returning_fields if conflict is NO_CONFLICT else None
    insertion = Insertion(queryset.model, fields, returning, conflict)
    found = _bound_insert(queryset, objs, insertion, alias, connection)
    if found is None or (found.load is None and conflict is NO_CONFLICT):
        return None
    return PlannedBulkCreate(
        alias, found.statement, found.params, found, list(objs), insertion, marks_for_rollback=in_atomic
    )


def _bound_insert(
    queryset: Any, objs: Sequence[Any], insertion: Insertion, alias: str, connection: Any
) -> BoundInsert | None:
    """Return the INSERT of *objs* as `QuerySet._insert()` makes it, verified if that is to be."""
    verifying = get_config().verify_plans
    if len(objs) > 1:
        found = bulk_insert(objs, insertion, connection)
        if found is not None and verifying:
            verify_bulk_insert(found, objs, insertion, connection)
        return found
    inserter = Inserter(lambda sample: _djangos_insert(queryset, sample, insertion, alias))
    found = row_insert(objs[0], insertion, connection, inserter, in_bridge=False)
    if found is not None and verifying:
        verify_row_insert(objs[0], PlannedWrite(alias, found.statement, found.params), inserter.insert)
    return found


def _djangos_insert(queryset: Any, obj: Any, insertion: Insertion, alias: str) -> Any:
    insert: Any = vars(QuerySet)["_insert"]
    conflict = insertion.conflict._asdict()
    return insert(queryset, [obj], insertion.fields, insertion.returning, using=alias, **conflict)


def _is_simple(queryset_class: Any, model: Any) -> bool:
    """Whether `bulk_create()` is Django's for *queryset_class* and one table is all there is to it.

    It may have been replaced in `QuerySet` itself, as django-cacheops does.
    """
    meta = model._meta
    return (
        QuerySet.bulk_create is _bulk_create
        and not meta.order_with_respect_to
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
    if not issubclass(model, Model):
        return False
    key: Any = model._meta.pk
    if (
        key.has_default()
        or has_db_default(key)
        or type(key).get_pk_value_on_save is not Field.get_pk_value_on_save
        or any(getattr(model, name) is not djangos for name, djangos in _HOOKS)
        or not is_free(model, key.attname)
    ):
        return False
    name = key.attname
    for obj in objs:
        if obj.__dict__.get(name, objs) is not None:
            return False
    meta = model._meta
    if meta.private_fields or any(field.is_relation for field in meta.concrete_fields):
        for obj in objs:
            # An instance has it once a foreign key was set.
            if obj._state.fields_cache:
                obj._prepare_related_fields_for_save(operation_name="bulk_create")
    return True


def _by_column(objs: Sequence[Any], insertion: Insertion, alias: str) -> list[Any] | None:
    config = get_config()
    if not (config.plans and config.wire):
        return None
    wrapper = connected_wrapper(alias)
    if wrapper is None or wrapper.wire is None:
        return None
    compiling = compiling_connection(alias)
    if compiling is None:
        return None
    found = bulk_insert(objs, insertion, compiling)
    if found is None:
        return None
    if config.verify_plans:
        verify_bulk_insert(found, objs, insertion, compiling)
    result = run_on_wire_in_bridge(alias, found.statement, found.params)
    return None if result is None else found.rows(result)
