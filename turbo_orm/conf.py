"""The ``TURBO_ORM`` setting, read into one frozen object."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

__all__ = [
    "Config",
    "MultiplexOptions",
    "check_pool_options",
    "get_config",
    "get_observers",
    "pool_options",
    "sync_pool_options",
]


@dataclass(frozen=True, slots=True)
class MultiplexOptions:
    """How many connections share the statements of all tasks, and when one of them is too busy."""

    #: Connections to share; they are taken from the pool one by one, as they are needed, but for its
    #: last one.
    connections: int = 4
    #: Seconds without an answer after which, or after twice as many, later statements go elsewhere.
    slow_after: float = 0.02
    #: Statements under way on one connection at most.
    in_flight: int = 250
    #: Statements under way on each connection before one more is taken.
    grow_at: int = 4


@dataclass(frozen=True, slots=True)
class Config:
    """What ``settings.TURBO_ORM`` says, with the defaults filled in.

    Keys are the upper-case names of the attributes: ``TURBO_ORM = {"POOL": {"max_size": 40}}``.
    """

    #: Keyword arguments of `psycopg_pool.AsyncConnectionPool` for aliases whose own
    #: ``OPTIONS["pool"]`` does not say otherwise (it is read first, and wins key by key).
    pool: Mapping[str, Any]
    #: Keep the SQL of query shapes and generated loaders of their rows. By default only on the
    #: versions of Django whose own tests have shown that plans are the same as its queries.
    plans: bool = (4, 2) <= django.VERSION[:2] <= (6, 1)
    #: How many query shapes are kept.
    max_shapes: int = 2_000
    #: Compare every planned statement with what Django would execute.
    verify_plans: bool = False
    #: Execute planned statements without psycopg's cursor; "always" also where others have replaced
    #: what Django's cursors do.
    wire: bool | str = True
    #: Let the autocommit reads of all tasks share a few connections: the options for that, or None.
    #: Given is a dictionary of them; ``True`` stands for the default ones.
    multiplex: MultiplexOptions | None = None
    #: Functions that are told of each statement of async code, or their dotted paths: see `get_observers()`.
    observers: tuple[str | Callable[[Any], object], ...] = ()


#: Sizes a project gets without configuring any: psycopg_pool's own default is a fixed 4.
_POOL_DEFAULTS: Mapping[str, Any] = {"min_size": 0, "max_size": 20, "timeout": 30.0}


@lru_cache(maxsize=1)
def get_config() -> Config:
    """Return the project's configuration.

    Raises `ImproperlyConfigured` for a setting that is not a dictionary, has unknown keys or wrong
    values.
    """
    given = getattr(settings, "TURBO_ORM", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(
            f"TURBO_ORM must be a dictionary, not {type(given).__name__}: "
            'for example TURBO_ORM = {"POOL": {"max_size": 20}}.'
        )
    runtime = {field.name.upper() for field in fields(Config)}
    unknown = set(given) - runtime - _CODEGEN_KEYS
    if unknown:
        raise ImproperlyConfigured(
            f"TURBO_ORM has unknown keys: {', '.join(sorted(unknown))}. "
            f"Known are: {', '.join(sorted(runtime | _CODEGEN_KEYS))}."
        )
    values = {key.lower(): value for key, value in given.items() if key in runtime}
    for name in ("plans", "verify_plans", "wire"):
        value = values.get(name, True)
        if not isinstance(value, bool) and (name, value) != ("wire", "always"):
            allowed = 'True, False or "always"' if name == "wire" else "True or False"
            raise ImproperlyConfigured(f'TURBO_ORM["{name.upper()}"] must be {allowed}, not {value!r}.')
    shapes = values.get("max_shapes", 1)
    if not isinstance(shapes, int) or isinstance(shapes, bool) or shapes < 1:
        raise ImproperlyConfigured(f'TURBO_ORM["MAX_SHAPES"] must be a positive number, not {shapes!r}.')
    values["multiplex"] = _multiplex(given.get("MULTIPLEX"))
    values["observers"] = _observers(given.get("OBSERVERS", ()))
    pool = given.get("POOL", {})
    check_pool_options(pool, 'TURBO_ORM["POOL"]')
    if sync := sync_pool_options(pool):
        raise ImproperlyConfigured(
            f'TURBO_ORM["POOL"] is for async connections, and its {", ".join(sorted(sync))} for sync ones: '
            "functions have to be async, a class a psycopg.AsyncConnection."
        )
    values["pool"] = pool_options(_POOL_DEFAULTS, pool)
    return Config(**values)


#: The parameters of psycopg_pool's which are not the project's to give.
_OUR_PARAMETERS = frozenset({"self", "conninfo", "kwargs", "open", "configure"})


#: Those that are numbers; `max_size` may be None as well.
_NUMBERS = {
    "min_size": 0,
    "max_size": 0,
    "max_waiting": 0,
    "num_workers": 1,
    "timeout": 0,
    "max_idle": 0,
    "max_lifetime": 0,
    "reconnect_timeout": 0,
}


def check_pool_options(given: Any, where: str) -> None:
    """Raise `ImproperlyConfigured` for options psycopg_pool does not take; *where* says who has set them."""
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f'{where} must be a dictionary such as {{"max_size": 20}}, not {given!r}.')
    known = set(inspect.signature(AsyncConnectionPool.__init__).parameters) - _OUR_PARAMETERS
    unknown = sorted(map(str, set(given) - known))
    if unknown:
        raise ImproperlyConfigured(
            f"{where} has unknown keys: {', '.join(unknown)}. Known are: {', '.join(sorted(known))}."
        )
    for name, least in _NUMBERS.items():
        value = given.get(name, least)
        if name == "max_size" and value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or value < least:
            raise ImproperlyConfigured(f'{where}["{name}"] must be a number from {least} on, not {value!r}.')
    if given.get("max_size") and given["max_size"] < given.get("min_size", 0):
        raise ImproperlyConfigured(f'{where}["max_size"] is less than "min_size": {dict(given)!r}.')


def pool_options(general: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options *own*, and those of *general* that it does not have."""
    options = {**general, **own}
    if options["max_size"] and options["max_size"] < options["min_size"]:
        # Of the two sizes the one that was meant for others gives way.
        if "max_size" in own:
            options["min_size"] = options["max_size"]
        else:
            options["max_size"] = options["min_size"]
    return options


def sync_pool_options(given: Mapping[str, Any]) -> set[str]:
    """Return which of *given* are for a pool of sync connections only."""
    return {name for name, suits in _SUITS.items() if given.get(name) is not None and not suits(given[name])}


def _is_awaited(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _is_async(connection_class: Any) -> bool:
    return isinstance(connection_class, type) and issubclass(connection_class, AsyncConnection)


#: By option, whether a pool of async connections can use its value.
_SUITS: Mapping[str, Callable[[Any], bool]] = {
    "check": _is_awaited,
    "reset": _is_awaited,
    "connection_class": _is_async,
}


def _multiplex(given: Any) -> MultiplexOptions | None:
    if given is None or given is False:
        return None
    options = {} if given is True else given
    known = {field.name for field in fields(MultiplexOptions)}
    if (
        not isinstance(options, Mapping)
        or not known.issuperset(options)
        or not all(isinstance(value, int | float) and value > 0 for value in options.values())
    ):
        raise ImproperlyConfigured(
            'TURBO_ORM["MULTIPLEX"] must be True, False, or a dictionary of positive numbers with '
            f"the keys {', '.join(sorted(known))}; it is {given!r}."
        )
    return MultiplexOptions(**options)


def _observers(given: Any) -> tuple[str | Callable[[Any], object], ...]:
    known = isinstance(given, list | tuple) and all(isinstance(each, str) or callable(each) for each in given)
    if not known:
        raise ImproperlyConfigured(
            f'TURBO_ORM["OBSERVERS"] must be a list of functions or their dotted paths, not {given!r}.'
        )
    return tuple(given)


@lru_cache(maxsize=1)
def get_observers() -> tuple[Callable[[Any], object], ...]:
    """Return the functions that are told of statements; those given by their paths are imported here.

    Raises `ImproperlyConfigured` for what can't be imported, is no function, or an async one.
    """
    return tuple(map(_observer, get_config().observers))


def _observer(given: Any) -> Callable[[Any], object]:
    try:
        observer: Any = import_string(given) if isinstance(given, str) else given
    except ImportError as exc:
        raise ImproperlyConfigured(f'TURBO_ORM["OBSERVERS"] names {given!r}: {exc}') from exc
    if not callable(observer) or _is_awaited(observer):
        raise ImproperlyConfigured(
            f'TURBO_ORM["OBSERVERS"] must name functions that are not async; {given!r} is none.'
        )
    return observer  # type: ignore[no-any-return]


#: Keys which belong to the generator; it reads and checks them itself.
_CODEGEN_KEYS = frozenset({"CODEGEN", "FIELD_TYPES"})


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "TURBO_ORM":
        get_config.cache_clear()
        get_observers.cache_clear()


setting_changed.connect(_forget, dispatch_uid="turbo_orm.conf")
