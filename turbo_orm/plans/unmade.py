"""Queries that are made when somebody looks at them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models.sql import Query

__all__ = ["Unmade", "attributes_of", "become"]


class Unmade(Query):
    """Stands for the `Query` that *make* returns: where anybody looks at it, it becomes that query."""

    #: Attributes that can be looked at before, and are not the query's.
    _own: ClassVar[frozenset[str]] = frozenset()
    #: Those that can be set before, and are set in the query then.
    _settable: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, make: Callable[[], Query], **own: Any) -> None:
        attributes_of(self).update(own, **{_MAKE: make})

    def __getattribute__(self, name: str) -> Any:
        if name in _get(self, "_own"):
            return _get(self, name)
        return getattr(become(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _get(self, "_settable"):
            attributes_of(self)[name] = value
        else:
            setattr(become(self), name, value)

    def __repr__(self) -> str:
        return repr(become(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Copies, and what is unpickled, are of the query's class.
        return become(self).__reduce_ex__(protocol)


_get = object.__getattribute__
_set = object.__setattr__
_MAKE = "make"
_LOCK = threading.Lock()


def attributes_of(query: Query) -> dict[str, Any]:
    """Return the attributes of *query*, which is no look at it."""
    found: dict[str, Any] = _get(query, "__dict__")
    return found


def become(unmade: Any, query: Query | None = None) -> Any:
    """Have *unmade* be its query, or *query*, and return it."""
    before = attributes_of(unmade)
    make = before.get(_MAKE)
    if query is None and make is not None:
        query = make()  # outside of the lock: it runs Django's methods
    with _LOCK:
        if query is not None and attributes_of(unmade) is before:
            for name in type(unmade)._settable & before.keys():
                setattr(query, name, before[name])
            _set(unmade, "__dict__", attributes_of(query))
            _set(unmade, "__class__", type(query))
    return unmade
