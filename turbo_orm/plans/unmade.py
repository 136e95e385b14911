"""Queries that are made when somebody looks at them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models.sql import Query

__all__ = ["Unmade", "become"]


class Unmade(Query):
    """Stands for the `Query` that *make* returns: where anybody looks at it, it becomes that query.

    Attributes that are set before are set in the query then.
    """

    #: What can be looked at before, and is not the query's.
    _own: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, make: Callable[[], Query], **own: Any) -> None:
        vars(self).update(own, **{_MAKE: make})

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_OBJECTS or name in object.__getattribute__(self, "_own"):
            return object.__getattribute__(self, name)
        return getattr(become(self), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Copies, and what is unpickled, are of the query's class.
        return become(self).__reduce_ex__(protocol)


_MAKE = "make"
_OF_OBJECTS = frozenset({"__class__", "__dict__"})
_LOCK = threading.Lock()


def become(unmade: Any) -> Any:
    """Have *unmade* be its query, and return it."""
    before = unmade.__dict__
    make = before.get(_MAKE)
    query = None if make is None else make()  # outside of the lock: it runs Django's methods
    with _LOCK:
        if query is not None and unmade.__dict__ is before:
            own = {_MAKE, *type(unmade)._own}
            vars(query).update({name: value for name, value in before.items() if name not in own})
            unmade.__dict__ = query.__dict__
            unmade.__class__ = type(query)
    return unmade
