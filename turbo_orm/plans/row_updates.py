"""UPDATE plans: what `save()` of an object that has a row sends, compiled once per shape.

The shape is the fields that are saved and, before Django 6.1, which of their values are NULL.
`planned_update()` reads an object itself, where `save()` would run no code of the project;
`update_plan()` is given what `save()` has read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Model, QuerySet
from django.db.models import manager as managers
from django.db.models.sql.compiler import SQLUpdateCompiler

from turbo_orm.db.json_text import as_djangos
from turbo_orm.db.statements import Statement, statement
from turbo_orm.plans.capture import capture
from turbo_orm.plans.compiled_inserts import sample_of
from turbo_orm.plans.inserts import check_hooks, has_djangos_hooks, inserts_of
from turbo_orm.plans.keeping import MAX_PLANS, known_of, make_and_keep
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.saving import (
    FieldParams,
    FieldReads,
    integer_type,
    unchanged_kind,
    without_foreign_keys,
    wrapper_of,
)
from turbo_orm.plans.signals import has_save_receivers
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import Bail

__all__ = [
    "PlannedWrite",
    "RowUpdate",
    "UpdatePlan",
    "compiled_update",
    "key_source",
    "planned_update",
    "update_plan",
    "updates_as_django",
]

Params = tuple[Any, ...]

#: Where what is known of a model is kept: with its options, so that it goes where they go.
_ATTRIBUTE = "_turbo_row_updates"

#: Of old, NULL is written into the text.
_NULL_IS_TEXT = any(
    isinstance(each, str) and "NULL" in each for each in SQLUpdateCompiler.as_sql.__code__.co_consts
)

#: As Django has it: ``install()`` of single_rows.py puts another in its place.
do_update: Any = Model._do_update
_TAKES_RETURNING_FIELDS = "returning_fields" in do_update.__code__.co_varnames


class RowUpdate(NamedTuple):
    """What `save()` writes of *obj*: *values*, one for each of *fields*, into the row *key*."""

    obj: Any
    fields: Sequence[Any]
    values: Sequence[Any]
    key: Any


_new_update: Callable[[type[RowUpdate], tuple[Any, ...]], RowUpdate] = tuple.__new__


class UpdatePlan(NamedTuple):
    """The UPDATE of one row of a table, of a number of fields."""

    statement: Statement
    #: From the fields' values and the key to the statement's parameters. Raises `Bail`, and what
    #: fields raise: both are for Django's own path.
    params: Callable[[Sequence[Any], Any], Params]
    #: Kept alive: they are known by their `id()`.
    fields: Sequence[Any]


class PlannedWrite(NamedTuple):
    """A statement that changes rows, with its parameters."""

    alias: str
    statement: Statement
    params: Params
    writes: bool = True
    #: Django has an error leave the block around it nothing but to roll back.
    marks_for_rollback: bool = True

    def as_sql(self) -> tuple[str, Params]:
        """Return what a cursor takes."""
        return self.statement.sql, tuple(map(as_djangos, self.params))


class _Updates:
    """The plans of one table."""

    def __init__(self, model: type[Model]) -> None:
        meta: Any = model._meta
        #: They are other ones when the model gets a field.
        self.fields = meta.local_concrete_fields
        self.plans: dict[Any, UpdatePlan | None] = {}
        #: By class and names of fields: the fields, and what reads them. None if only Django can.
        self.reads: dict[Any, tuple[Sequence[Any], Callable[[Any], list[Any]]] | None] = {}


def planned_update(
    obj: Any, alias: str, names: frozenset[str] | None, connection: Any
) -> PlannedWrite | None:
    """Return the UPDATE that ``obj.save(using=alias, update_fields=names)`` begins with.

    None unless it is one, and `save()` runs no code of the project but fields' conversions.
    *connection* compiles. Raises what `save()` raises for related objects that are not saved.
    """
    model = type(obj)
    meta: Any = model._meta
    attributes = obj.__dict__
    if not has_djangos_hooks(model) or "save" in attributes or has_save_receivers(model):
        return None
    inserts = inserts_of(model)
    field, state = inserts.key, attributes["_state"]
    if field is None or (state.adding and inserts.key_may_be_set):
        return None
    concrete = meta.concrete_model
    known = known_of(concrete, _ATTRIBUTE, _Updates).reads
    try:
        found = known[model, names]
    except KeyError:
        if len(known) >= MAX_PLANS:
            known.clear()
        found = known[model, names] = _reads(model, names)
    key = attributes.get(field.attname)
    if found is None or key is None:
        return None
    cache = state.__dict__.get("fields_cache")
    if cache and not inserts.are_saved(cache, attributes):
        obj._prepare_related_fields_for_save(operation_name="save")
    fields, read = found
    try:
        values = read(obj)
        update = _new_update(RowUpdate, (obj, fields, values, key))
        plan = update_plan(update, concrete, alias, connection)
        return None if plan is None else PlannedWrite(alias, plan.statement, plan.params(values, key))
    except Exception:  # a deferred field, or a value that is not the field's: Django knows
        return None


def _reads(
    model: type[Model], names: frozenset[str] | None
) -> tuple[Sequence[Any], Callable[[Any], list[Any]]] | None:
    meta: Any = model._meta
    concrete: Any = meta.concrete_model
    local = concrete._meta.local_concrete_fields
    if (
        (meta.parents and not meta.proxy)
        or concrete._meta.parents
        or concrete._meta.select_on_save
        or any(getattr(field, "generated", False) for field in local)
    ):
        return None
    fields = [field for field in local if not field.primary_key]
    if names is not None:
        if not names <= {name for field in fields for name in (field.name, field.attname)}:
            return None
        fields = [field for field in fields if field.name in names or field.attname in names]
    if not fields:
        return None
    try:
        check_hooks()
        reads = FieldReads(model, fields, add=False)
    except Unsupported:
        return None
    lines = ["def read(o):", "    d = o.__dict__", *(f"    {line}" for line in reads.lines)]
    lines += [f"    return [{', '.join(f'v{number}' for number in range(len(fields)))}]", ""]
    return fields, make_function("read", "\n".join(lines), reads.namespace)


def update_plan(update: RowUpdate, table: type[Model], alias: str, connection: Any) -> UpdatePlan | None:
    """Return the plan of such as *update* in the table of the model *table*, None if there is none.

    *connection* compiles.
    """
    nulls = tuple([value is None for value in update.values]) if _NULL_IS_TEXT else ()
    meta: Any = table._meta
    # Tests replace the class of the manager's querysets, or the name of the table.
    querysets = meta.base_manager._queryset_class
    shape = (alias, connection, meta.db_table, querysets, *map(id, update.fields), nulls)
    plans = known_of(table, _ATTRIBUTE, _Updates).plans
    try:
        return plans[shape]
    except KeyError:
        pass
    try:
        return make_and_keep(plans, shape, lambda: _compile(update, table, alias, connection))
    except Exception:  # of this object; the next one may do
        return None


def _compile(update: RowUpdate, table: Any, alias: str, connection: Any) -> UpdatePlan:
    _, fields, values, key = update
    _check_manager(table._base_manager)
    if any(hasattr(value, "resolve_expression") for value in values):
        raise Bail
    text, djangos = compiled_update(update, table._base_manager.using(alias), alias)
    nulls = [_NULL_IS_TEXT and value is None for value in values]
    params = _params(table, fields, nulls, connection)
    if [type(as_djangos(each)) for each in params(values, key)] != [*map(type, djangos)]:
        raise Unsupported("a field is more than one parameter")
    return UpdatePlan(statement(text, len(djangos)), params, tuple(fields))


def compiled_update(update: RowUpdate, base_qs: Any, alias: str) -> tuple[str, Params]:
    """Return the SQL and parameters that Django's own `_do_update()` would execute."""
    obj, fields, values, key = update
    triples = [(field, None, value) for field, value in zip(fields, values, strict=True)]
    sample = sample_of(type(obj), obj)
    returning: Any = [[]] if _TAKES_RETURNING_FIELDS else ()
    sql, params = capture(
        alias, lambda: do_update(sample, base_qs, alias, key, triples, None, True, *returning)
    ).as_sql()
    return sql, tuple(params)


def _params(
    table: Any, fields: Sequence[Any], nulls: Sequence[bool], connection: Any
) -> Callable[[Sequence[Any], Any], Params]:
    made = FieldParams([field for field, null in zip(fields, nulls, strict=True) if not null], connection)
    numbers = iter(range(len(fields)))
    targets = "".join("_, " if null else f"v{next(numbers)}, " for null in nulls)
    is_key, key = key_source(table._meta.pk, connection, made.namespace)
    made.namespace["Bail"] = Bail
    lines = [
        "def params(values, key):",
        f"    {targets}= values",
        f"    if not ({is_key}): raise Bail",
        *(f"    {line}" for line in made.lines),
        f"    params = ({''.join(f'{each}, ' for each in made.expressions)}{key},)",
        *(["    if None in params: raise Bail"] if _NULL_IS_TEXT else []),
        "    return params",
        "",
    ]
    params: Callable[[Sequence[Any], Any], Params] = make_function("params", "\n".join(lines), made.namespace)
    return params


def key_source(field: Any, connection: Any, namespace: dict[str, Any]) -> tuple[str, str]:
    """Return the condition on ``key``, and the expression that is its parameter in a filter.

    What they need is put into *namespace*, the type of keys as ``kind_of_key``. Raises `Unsupported`
    for keys that are neither integers nor texts nor UUIDs.
    """
    integer = integer_type(field, connection)
    kind = int if integer is not None else unchanged_kind(field, connection)
    if kind not in (int, str, UUID):
        raise Unsupported(f"{field} is an unusual key")
    namespace["kind_of_key"] = kind
    condition = "key.__class__ is kind_of_key"
    if kind is int:
        internal_type = without_foreign_keys(field).get_internal_type()
        low, high = connection.ops.integer_field_range(internal_type)
        # Django knows that there is no row of a key the column can't hold.
        condition += f" and {low} <= key <= {high}"
    if integer is None:
        return condition, "key"
    namespace["integer_of_key"] = wrapper_of(integer)
    return condition, "integer_of_key(key)"


def updates_as_django(queryset_class: type) -> bool:
    """Whether what `_do_update()` calls of a queryset is Django's in *queryset_class*, or ours."""
    own = PlannedQuerySet if issubclass(queryset_class, PlannedQuerySet) else QuerySet
    return all(getattr(queryset_class, name) is getattr(own, name) for name in _STEPS)


#: What `_do_update()` calls of a queryset.
_STEPS = ("using", "filter", "_chain", "_clone", "_filter_or_exclude", "_update", "db", "query")


def _check_manager(manager: Any) -> None:
    """Raise `Unsupported` unless *manager* returns Django's querysets of all rows, or ours."""
    get = type(manager).get_queryset
    all_rows = get is managers.BaseManager.get_queryset or getattr(get, "has_all_rows", False)
    if not all_rows or not updates_as_django(type(manager.get_queryset())):
        raise Unsupported(f"{type(manager).__qualname__} may not have all rows")
