"""INSERT plans: what `save()` of a new object sends, compiled once per shape.

A caller that creates goes through these steps; wherever one says no (None, False or an
exception of any kind before the statement is sent), Django's own path serves the call::

    obj = new_object(model, kwargs)          # construction.py; for create() only
    plan = insert_plan(obj, alias, connection, force_insert=True)
    params = plan.params(obj)                # raises Bail
    row = ...                                # execute plan.statement: one row, or none
    plan.finish(obj, row, alias)

When there is an object already, "Django's own path" is ``obj.save(force_insert=True,
using=alias)``, so that defaults are not computed twice; nothing above changes an object in a way
`save()` would not. After `create()`, Django 6.1 sets ``obj._state.fetch_mode`` to the
queryset's. An error of the statement inside of a transaction marks it for rollback, as
`transaction.mark_for_rollback_on_error()` does.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django.db.models import NOT_PROVIDED, Field, Model
from django.db.models.fields.related import ForeignKey
from django.db.models.signals import post_save, pre_save

from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.bridge.refusals import refusals
from turbo_orm.db.statements import Statement
from turbo_orm.plans.columns import RowColumns
from turbo_orm.plans.compiled_inserts import (
    Insertion,
    check_insert,
    compile_insert,
    has_db_default,
    is_left_to_database,
    params_function,
    sample_of,
)
from turbo_orm.plans.instances import cache_key, is_djangos, is_free
from turbo_orm.plans.keeping import known_of, make_and_keep
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.saving import FieldReads
from turbo_orm.plans.signals import has_save_receivers
from turbo_orm.plans.unsupported import Unsupported

__all__ = [
    "InsertPlan",
    "Inserts",
    "check_hooks",
    "has_djangos_hooks",
    "insert_plan",
    "inserts_of",
    "note_hooks",
]

#: What `Model.save()` goes through. A model with one of its own, at any time, has no plan.
_HOOKS = tuple(
    name
    for name in (
        "save",
        "save_base",
        "get_deferred_fields",
        "_save_parents",
        "_save_table",
        "_do_insert",
        "_assign_returned_values",
        "_prepare_related_fields_for_save",
        "_get_pk_val",
        "_set_pk_val",
        "_is_pk_set",
        "__setattr__",
        "__getattribute__",
    )
    if hasattr(Model, name)
)
_hooks_of = attrgetter(*_HOOKS)


class _Djangos:
    """The methods of `Model` itself, as they were when the library was installed."""

    hooks = _hooks_of(Model)


def has_djangos_hooks(model: type[Model]) -> bool:
    """Whether `save()` of *model* is Django's, with all it goes through."""
    return bool(_hooks_of(model) == _Djangos.hooks)


def note_hooks() -> None:
    """Take the methods `Model` has now for Django's: some of them were replaced by the library's."""
    _Djangos.hooks = _hooks_of(Model)


def check_hooks() -> None:
    """Raise `Unsupported` if somebody else has replaced a method of `Model`."""
    for name, function in zip(_HOOKS, _Djangos.hooks, strict=True):
        if not (name.startswith("__") or is_djangos(function) or hasattr(function, "_turbo")):
            raise Unsupported(f"Model.{name}() was replaced")


#: Where what is known of a model is kept: with its options, so that it goes where they go.
_ATTRIBUTE = "_turbo_inserts"

_MISSING: Any = object()

Row = Any


class InsertPlan:
    """The INSERT of one object of a model, for one database and one set of fields."""

    __slots__ = ("finish", "params", "statement")

    def __init__(
        self,
        statement: Statement,
        params: Callable[[Any], tuple[Any, ...]],
        finish: Callable[[Any, Row | None, str], None],
    ) -> None:
        self.statement = statement
        #: ``params(obj)`` calls `pre_save()` of the fields and returns the statement's parameters.
        #: Raises `Bail`, and what fields raise: both are for Django's own path. A cursor takes
        #: what `as_djangos()` makes of them.
        self.params = params
        #: ``finish(obj, row, alias)`` does to an object what follows its INSERT, which returned
        #: *row*, into the database *alias*.
        self.finish = finish


def insert_plan(  # noqa: C901 - in one: each call would cost more than the question it answers
    obj: Any, alias: str, connection: Any, *, force_insert: bool = False
) -> InsertPlan | None:
    """Return the plan to save *obj*, which must be new, in the database *alias*.

    None unless ``obj.save(force_insert=force_insert, using=alias)`` sends one INSERT and runs no
    code of the project but fields' conversions: an overridden method it goes through, receivers
    of its signals, a key that is set and may exist already. *connection* compiles. Raises what
    `save()` raises for related objects that are not saved.
    """
    model = type(obj)
    if _hooks_of(model) != _Djangos.hooks:
        return None
    meta: Any = model._meta
    if (pre_save.receivers or post_save.receivers) and has_save_receivers(model):
        return None
    attributes = obj.__dict__
    state = attributes["_state"]
    if "save" in attributes or not (state.adding or force_insert):
        return None
    inserts: Inserts | None = meta.__dict__.get(_ATTRIBUTE)
    if inserts is None or inserts.fields is not meta.local_concrete_fields:
        inserts = inserts_of(model)
    cache = state.__dict__.get("fields_cache")
    if cache and not inserts.are_saved(cache, attributes):
        obj._prepare_related_fields_for_save(operation_name="save")
    field = inserts.key
    if field is None:
        return None
    key = attributes.get(field.attname, _MISSING)
    if key is None:
        if not inserts.key_is_left or field.default is not NOT_PROVIDED:
            refused = refusals.count
            key = field.get_pk_value_on_save(obj)
            if refusals.count != refused:
                return None
            if key is not None:
                setattr(obj, field.attname, key)
    elif key is _MISSING or not (force_insert or inserts.key_may_be_set):
        return None
    # Tests replace the class of the manager's querysets, or the name of the table.
    querysets = meta.concrete_model._meta.base_manager._queryset_class
    shape: Any = (alias, connection, meta.db_table, querysets, key is None)
    if inserts.db_defaults:
        shape = (*shape, *[is_left_to_database(attributes.get(name)) for name in inserts.db_defaults])
    try:
        return inserts.plans[shape]
    except KeyError:
        return inserts.add(shape, obj, alias, connection)


def inserts_of(model: type[Model]) -> Inserts:
    """Return what is known of *model*."""
    return known_of(model, _ATTRIBUTE, Inserts)


class Inserts:
    """The plans of one model, and what decides which one an object needs."""

    def __init__(self, model: type[Model]) -> None:
        meta: Any = model._meta
        key: Any = meta.pk
        #: They are other ones when the model gets a field.
        self.fields = meta.local_concrete_fields
        self.plans: dict[Any, InsertPlan | None] = {}
        #: The primary key, if it is one field.
        self.key = key if len(getattr(meta, "pk_fields", [key])) == 1 else None
        # The rule of save(): with a default, a key that is set does not mean that its row exists.
        self.key_may_be_set = has_db_default(key) or (key.has_default() and bool(key.default))
        #: Without a default, `get_pk_value_on_save()` has none either.
        self.key_is_left = (
            type(key).get_pk_value_on_save is Field.get_pk_value_on_save
            and type(key).get_default is Field.get_default
            and not key.empty_strings_allowed
            and not has_db_default(key)
        )
        #: Attributes which the database may fill in.
        self.db_defaults = [field.attname for field in meta.local_concrete_fields if has_db_default(field)]
        self._model = model
        #: By key of the cache: the attributes that are to be the same here and there.
        self._relations = {
            cache_key(field): (field.attname, field.target_field.attname)
            for field in meta.concrete_fields
            if isinstance(field, ForeignKey) and field.target_field.primary_key
        }

    def are_saved(self, cache: dict[str, Any], attributes: dict[str, Any]) -> bool:
        """Whether the related objects in *cache* have the keys that *attributes* say.

        Then `_prepare_related_fields_for_save()` has nothing to do.
        """
        for key, related in cache.items():
            if related is None:
                continue
            names = self._relations.get(key)
            if names is None:
                return False
            value = attributes.get(names[0])
            if value is None or value == "" or related.__dict__.get(names[1]) != value:
                return False
        return True

    def add(self, shape: Any, obj: Any, alias: str, connection: Any) -> InsertPlan | None:
        """Make the plan of *shape*, with *obj* as a sample, unless there can't be one."""
        try:
            return make_and_keep(self.plans, shape, lambda: _compile(self._model, obj, alias, connection))
        except Exception:  # of this object; the next one may do
            return None


def _compile(model: type[Model], obj: Any, alias: str, connection: Any) -> InsertPlan:
    meta: Any = model._meta
    concrete: Any = meta.concrete_model
    if (meta.parents and not meta.proxy) or concrete._meta.parents:
        raise Unsupported(f"{model.__qualname__} has several tables")
    if concrete._meta.order_with_respect_to:
        raise Unsupported(f"{model.__qualname__} queries for its order")
    check_hooks()
    local = [
        field for field in concrete._meta.local_concrete_fields if not getattr(field, "generated", False)
    ]
    # Compiling calls pre_save() of all of them.
    FieldReads(model, local, add=True)
    sample = sample_of(model, obj)
    manager, fields, returning = _captured(sample, concrete, alias, connection)
    check_insert(manager)
    compiled = compile_insert(Insertion(concrete, fields, returning), sample, connection)
    prepare = params_function(model, compiled.fields, connection)
    compiled.check(prepare(sample))
    return InsertPlan(compiled.statement, prepare, _finish(model, returning, compiled.compiler))


def _captured(
    sample: Any, concrete: type[Model], alias: str, connection: Any
) -> tuple[Any, list[Any], list[Any]]:
    """What Django's `_save_table()` gives to `_do_insert()`."""
    captured: list[Any] = []

    def capture(manager: Any, using: str, fields: Any, returning_fields: Any, raw: bool) -> list[Any]:
        captured.append((manager, list(fields), list(returning_fields)))
        return []

    sample.__dict__["_do_insert"] = capture
    # Else Django would make a connection of its own for the event loop's thread.
    with connections_replaced({alias: connection}):
        sample._save_table(cls=concrete, force_insert=True, using=alias)
    return captured[0]  # type: ignore[no-any-return]


def _finish(
    model: type[Model], returning: list[Any], compiler: Any
) -> Callable[[Any, Row | None, str], None]:
    table = compiler.query.get_meta().db_table
    columns = RowColumns(compiler, [field.get_col(table) for field in returning])
    if columns.calls_user_code:
        raise Unsupported(f"{model.__qualname__} converts what INSERT returns")
    assigning = [
        f"{columns.targets} = row",
        *columns.conversions,
        *(
            f"d[{field.attname!r}] = c{position}"
            if is_free(model, field.attname)
            else f"setattr(o, {field.attname!r}, c{position})"
            for position, field in enumerate(returning)
        ),
    ]
    lines = [
        "def finish(o, row, alias):",
        "    d = o.__dict__",
        *(["    if row is not None:", *(f"        {line}" for line in assigning)] if returning else []),
        "    state = d['_state']",
        "    state.db = alias",
        "    state.adding = False",
    ]
    finish: Callable[[Any, Row | None, str], None] = make_function(
        "finish", "\n".join([*lines, ""]), columns.namespace
    )
    return finish
