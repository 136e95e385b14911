"""A project's own expressions that only declare what is in their SQL: functions of the database with a name.

``class Similarity(Func): function = "SIMILARITY"; output_field = FloatField()`` is compiled by Django's
methods alone, so its class and its arguments say all about it. One with an `as_sql()`, or anything else
that Django calls, may do as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from inspect import getattr_static
from typing import Any
from weakref import WeakKeyDictionary

from django.db.models import Field, Func, Transform
from django.utils import functional

from turbo_orm.plans.values import SCALARS, Bail

__all__ = ["check_instance", "django_base", "is_declared_function"]

#: What a class may define in any way: Python's own, what no SQL comes of, and SQL of other databases.
_WITHOUT_EFFECT = frozenset(
    {
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__init__",
        "__module__",
        "__qualname__",
        "__repr__",
        "__static_attributes__",
        "__str__",
        "__weakref__",
        "as_mysql",
        "as_oracle",
        "as_sqlite",
    }
)

#: What Django looks for in a class that need not have it.
_LOOKED_FOR = frozenset({"as_postgresql"})

#: Of what an instance has of its own, that which tells it from others of its class.
_TOLD = frozenset(
    {
        "_default_provided",
        "default",
        "distinct",
        "extra",
        "filter",
        "order_by",
        "output_field",
        "source_expressions",
    }
)

_CONSTANTS = (bool, int, str, type(None))
_CACHED = (cached_property, functional.cached_property)

_bases: WeakKeyDictionary[type, type | None] = WeakKeyDictionary()


def django_base(kind: type) -> type | None:
    """Return the class of Django's that *kind* adds nothing to but declarations; None if it does more."""
    try:
        return _bases[kind]
    except KeyError:
        base = _bases[kind] = _find_base(kind)
        return base


def _find_base(kind: type) -> type | None:
    own = [each for each in kind.__mro__ if not _is_djangos(each) and each is not object]
    base = next(each for each in kind.__mro__ if each not in own)
    # Django's follow the project's, each with all it has: nothing of the project stands between them.
    if kind.__mro__ != (*own, *base.__mro__):
        return None
    for each in own:
        for name, value in vars(each).items():
            if name not in _WITHOUT_EFFECT and _may_matter(base, name) and not _declares(name, value):
                return None
    return base


def _is_djangos(kind: type) -> bool:
    return kind.__module__.startswith("django.")


def _may_matter(base: type, name: str) -> bool:
    return name.startswith("__") or name in _LOOKED_FOR or hasattr(base, name)


def _declares(name: str, value: Any) -> bool:
    return isinstance(value, Field) if name == "output_field" else isinstance(value, _CONSTANTS)


def is_declared_function(kind: type) -> bool:
    """Whether *kind* is a function of the database that is declared only, also where a lookup makes it."""
    if not issubclass(kind, Func):
        return False
    base = django_base(kind)
    # Only a transform is made by lookups, and its constructor might look around.
    return base is not None and (not issubclass(kind, Transform) or kind.__init__ is Func.__init__)


def check_instance(expression: Any, inside: Iterable[Any]) -> None:
    """Raise `Bail` if *expression* has more than its class and arguments say, or holds something to keep.

    *inside* are it, and the expressions in it.
    """
    own = vars(expression)
    for name, value in own.items():
        if name == "_constructor_args" or name in _TOLD:
            continue
        known = getattr_static(type(expression), name, None)
        if isinstance(known, _CACHED):  # what Django has found out from the rest
            continue
        if (known is not None and value != known) or not isinstance(value, _CONSTANTS):
            raise Bail
    args, kwargs = own.get("_constructor_args", ((), {}))
    kept = {*map(id, inside)}
    for given in (*args, *kwargs.values()):
        if (
            type(given) not in SCALARS
            and not isinstance(given, (*_CONSTANTS, Field))
            and id(given) not in kept
        ):
            raise Bail
