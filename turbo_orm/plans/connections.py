"""Connections that compile and never connect: what plans are made with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, NoReturn

from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler, SQLInsertCompiler
from django.db.utils import load_backend

from turbo_orm.bridge import readiness
from turbo_orm.bridge.handler import connections_replaced
from turbo_orm.plans.unsupported import Unsupported

__all__ = [
    "Captured",
    "as_it_is",
    "capturing",
    "compiling_connection",
    "connections_capturing",
    "forget_connections",
    "raise_returning",
    "take_for_update",
]


class Captured(Exception):
    """Raised where a query would be executed; carries the compiler that was to do it."""

    def __init__(self, compiler: SQLCompiler) -> None:
        super().__init__()
        self.compiler = compiler


@cache
def capturing(compiler_class: Any) -> Any:
    """Have compilers raise `Captured` in place of executing: for `compiling_connection()`."""

    def execute_sql(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, SQLInsertCompiler):
            (self.returning_fields,) = (*args, *kwargs.values()) or (None,)
        raise Captured(self)

    methods = {"execute_sql": execute_sql, "execute_returning_sql": raise_returning}
    return type(compiler_class.__name__, (compiler_class,), methods)


def raise_returning(compiler: Any, returning_fields: Any) -> NoReturn:
    """Be `SQLUpdateCompiler.execute_returning_sql()`, which asks for a cursor before it compiles."""
    compiler.returning_fields = returning_fields
    raise Captured(compiler)


def as_it_is(compiler_class: Any) -> Any:
    """Instrument nothing: for `compiling_connection()`."""
    return compiler_class


def compiling_connection(alias: str, instrument: Any = as_it_is) -> BaseDatabaseWrapper | None:
    """Return a connection of *alias* whose compilers are made by *instrument*.

    *instrument* takes a compiler class and returns the class to use in its stead. Returns None
    as long as the server's version is not known: compilation depends on it.
    """
    if instrument is as_it_is:
        found = _plain.get(alias)
        if found is not None and found.pg_version == readiness.server_versions.get(alias):
            return found  # type: ignore[no-any-return]
    version = readiness.server_versions.get(alias)
    if version is None:
        return None
    made = _make(alias, version, instrument)
    if instrument is as_it_is:
        _plain[alias] = made
    return made


@contextmanager
def connections_capturing(alias: str) -> Iterator[None]:
    """Have what would execute on *alias* in this thread raise `Captured`."""
    connection: Any = compiling_connection(alias, capturing)
    try:
        with connections_replaced({alias: connection}):
            yield
    finally:
        # They have told it of the exception, and that of what is changed.
        connection.needs_rollback = False
        connection.rollback_exc = None


#: The connections without instruments, by alias.
_plain: dict[str, Any] = {}


@lru_cache(maxsize=64)
def _make(alias: str, version: int, instrument: Any) -> BaseDatabaseWrapper:
    given = connections.settings[alias]
    engine = load_backend(given["ENGINE"]).DatabaseWrapper
    wrapper: Any = _class_for(engine)(given, alias)
    wrapper.pg_version = version
    # delete() opens a block, which is nothing to do in one that does not want a savepoint.
    wrapper.in_atomic_block = True
    compiler_class = wrapper.ops.compiler
    wrapper.ops.compiler = lambda name: instrument(compiler_class(name))
    for_update_sql = wrapper.ops.for_update_sql

    def noting_for_update(*args: Any, **kwargs: Any) -> str:
        wrapper.for_update = sql = for_update_sql(*args, **kwargs)
        return sql  # type: ignore[no-any-return]

    wrapper.ops.for_update_sql = noting_for_update
    return wrapper  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _class_for(engine: type[BaseDatabaseWrapper]) -> type[BaseDatabaseWrapper]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise Unsupported("it asks the database while it compiles")

    return type(
        engine.__name__,
        (engine,),
        {
            "__module__": __name__,
            "connect": refuse,
            "get_new_connection": refuse,
            "cursor": refuse,
            # What select_for_update() asks; its plans are used in transactions only.
            "get_autocommit": lambda self: False,
            #: The FOR UPDATE that was compiled last: see `take_for_update()`.
            "for_update": None,
        },
    )


def take_for_update(connection: Any) -> str | None:
    """Return the FOR UPDATE that *connection* compiled since this was last called for it, if it did."""
    compiled: str | None = connection.for_update
    connection.for_update = None
    return compiled


def forget_connections() -> None:
    """Make connections anew from now on."""
    _make.cache_clear()
    _plain.clear()


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in {"DATABASES", "USE_TZ", "TIME_ZONE"}:
        forget_connections()


setting_changed.connect(_on_setting_changed, dispatch_uid="turbo_orm.plans.connections")
