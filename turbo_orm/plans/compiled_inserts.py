"""What plans of INSERTs are made from: the INSERT of one object as Django compiles it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.db.models import Model, QuerySet, sql
from django.db.models import manager as managers
from django.db.models.base import ModelState

from turbo_orm.db.json_text import as_djangos
from turbo_orm.db.statements import Statement, statement
from turbo_orm.db.wire import Result
from turbo_orm.plans.columns import returned_columns
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.saving import FieldParams, FieldReads
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import Bail

DatabaseDefault: Any
try:
    from django.db.models.expressions import DatabaseDefault
except ImportError:  # before Django 5.0
    DatabaseDefault = None

__all__ = [
    "NO_CONFLICT",
    "BoundInsert",
    "CompiledInsert",
    "Conflict",
    "Insertion",
    "LoadReturned",
    "check_insert",
    "compile_insert",
    "has_db_default",
    "is_left_to_database",
    "is_proxy",
    "params_function",
    "returned_function",
    "sample_of",
]

#: Makes of a statement's rows what `SQLInsertCompiler.execute_sql()` returns.
LoadReturned = Callable[[Sequence[tuple[Any, ...]]], list[Any]]


class Conflict(NamedTuple):
    """What `bulk_create()` is told of conflicts."""

    on_conflict: Any = None
    update_fields: Sequence[Any] | None = None
    unique_fields: Sequence[Any] | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What of it is part of the shape of an INSERT."""
        return self.on_conflict, tuple(self.update_fields or ()), tuple(self.unique_fields or ())


NO_CONFLICT = Conflict()


class Insertion(NamedTuple):
    """What `QuerySet._insert()` is told besides the objects."""

    #: The model whose table it is.
    table: Any
    fields: Sequence[Any]
    returning: Sequence[Any] | None
    conflict: Conflict = NO_CONFLICT

    def compiler(self, objs: list[Any], connection: Any) -> Any:
        """Return Django's compiler of the INSERT of *objs*."""
        options: dict[str, Any] = self.conflict._asdict()
        query = sql.InsertQuery(self.table, **options)
        query.insert_values([*self.fields], objs, raw=False)
        compiler: Any = query.get_compiler(connection=connection)
        compiler.returning_fields = self.returning
        return compiler


class BoundInsert(NamedTuple):
    """One INSERT, with its parameters."""

    statement: Statement
    params: tuple[Any, ...]
    #: Those which it gives values to.
    fields: tuple[Any, ...]
    load: LoadReturned | None

    def rows(self, result: Result) -> list[tuple[Any, ...]]:
        """Return what `SQLInsertCompiler.execute_sql()` returns of *result*."""
        return [] if self.load is None else self.load(result.rows or ())


class CompiledInsert(NamedTuple):
    """The INSERT of one object, as Django makes it."""

    statement: Statement
    params: tuple[Any, ...]
    #: Without those that are left to the database.
    fields: list[Any]
    compiler: Any

    def check(self, params: tuple[Any, ...]) -> None:
        """Raise `Unsupported` unless *params* are of the same types as Django's."""
        if [type(as_djangos(each)) for each in params] != [*map(type, self.params)]:
            raise Unsupported("a field is more than one parameter")


def compile_insert(insertion: Insertion, sample: Any, connection: Any) -> CompiledInsert:
    """Compile the INSERT of *sample*; raise `Bail` if it has expressions for values."""
    attributes = vars(sample)
    given = [field for field in insertion.fields if not is_left_to_database(attributes.get(field.attname))]
    if any(hasattr(attributes.get(field.attname), "resolve_expression") for field in given):
        raise Bail
    compiler = insertion.compiler([sample], connection)
    ((text, params),) = compiler.as_sql()
    return CompiledInsert(statement(text, len(params)), tuple(params), given, compiler)


def params_function(
    model: type[Model], fields: list[Any], connection: Any, *, in_bridge: bool = False
) -> Callable[[Any], tuple[Any, ...]]:
    """Return what makes an object into the parameters of its INSERT."""
    reads = FieldReads(model, fields, add=True, in_bridge=in_bridge)
    made = FieldParams(fields, connection)
    lines = [
        "def params(o):",
        "    d = o.__dict__",
        *(f"    {line}" for line in (*reads.lines, *made.lines)),
        f"    return ({''.join(f'{each}, ' for each in made.expressions)})",
    ]
    params: Callable[[Any], tuple[Any, ...]] = make_function(
        "params", "\n".join([*lines, ""]), reads.namespace | made.namespace
    )
    return params


def returned_function(compiler: Any) -> LoadReturned | None:
    """Return what loads the fields that the INSERT of *compiler* returns, if there are any."""
    if not compiler.returning_fields:
        return None
    columns, alias = returned_columns(compiler), compiler.connection.alias
    load, _ = columns.function(f"({columns.targets})")
    return lambda rows: load(rows, alias, None, None)


def check_insert(manager: Any) -> None:
    """Raise `Unsupported` unless *manager*, and its querysets, insert one object as Django's do."""
    djangos: Any = QuerySet
    insert = type(manager.get_queryset())._insert
    if not (
        (insert is djangos._insert or getattr(insert, "inserts_one_as_django", False))
        and is_proxy(type(manager)._insert)
    ):
        raise Unsupported(f"{type(manager).__qualname__} inserts by itself")


def is_proxy(method: Any) -> bool:
    """Whether a manager's method is the one Django made of the queryset's."""
    code = getattr(method, "__code__", None)
    return code is not None and code.co_filename == managers.__file__


def has_db_default(field: Any) -> bool:
    """Whether the database has a default of its own for *field* (Django 5.0 and later)."""
    return hasattr(field, "has_db_default") and field.has_db_default()


def is_left_to_database(value: Any) -> bool:
    """Whether *value* stands for the database's own default."""
    return DatabaseDefault is not None and isinstance(value, DatabaseDefault)


def sample_of(model: type[Model], obj: Any) -> Any:
    """A copy of *obj* to compile with; making it runs no code of the project."""
    sample: Any = object.__new__(model)
    state = ModelState()
    # A cache of its own: the end of a state empties it.
    for name, value in {**vars(obj._state), "fields_cache": dict(obj._state.fields_cache)}.items():
        setattr(state, name, value)
    sample.__dict__.update(vars(obj), _state=state)
    return sample
