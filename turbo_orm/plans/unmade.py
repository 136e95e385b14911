"""Queries that are made when somebody looks at them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models.sql import Query
from typing_extensions import Self

__all__ = ["OfQueryset", "Unmade", "become"]


class Unmade(Query):
    """Stands for the `Query` that *make* returns: where anybody looks at it, it becomes that query."""

    #: Attributes that can be looked at before, and are not the query's.
    _own: ClassVar[frozenset[str]] = frozenset()
    #: Those that can be set before, and are set in the query then.
    _settable: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, make: Callable[[], Query], **own: Any) -> None:
        _attributes(self).update(own, **{_MAKE: make})

    def copied(self) -> Self:
        """Return another one, of the same query."""
        return type(self)(**_attributes(self))

    def __getattribute__(self, name: str) -> Any:
        if name in _get(self, "_own"):
            return _get(self, name)
        return getattr(become(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _get(self, "_settable"):
            _attributes(self)[name] = value
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


def _attributes(query: Query) -> dict[str, Any]:
    found: dict[str, Any] = _get(query, "__dict__")
    return found


def become(unmade: Any, query: Query | None = None) -> Any:
    """Have *unmade* be its query, or *query*, and return it."""
    before = _attributes(unmade)
    make = before.get(_MAKE)
    if query is None and make is not None:
        query = make()  # outside of the lock: it runs Django's methods
    with _LOCK:
        if query is not None and _attributes(unmade) is before:
            for name in type(unmade)._settable & before.keys():
                setattr(query, name, before[name])
            _set(unmade, "__dict__", _attributes(query))
            _set(unmade, "__class__", type(query))
    return unmade


class OfQueryset(Unmade):
    """The query of a queryset in plan mode, which leaves that mode where anybody looks at it.

    What its *template* says is no look: there are no values in that. *queryset* refers to the queryset,
    and *make* makes the query, whether there is a queryset still or not.
    """

    _own = frozenset({"is_empty", "queryset", "template"})

    def __init__(self, queryset: weakref.ref[Any], template: Query, make: Callable[[], Query]) -> None:
        super().__init__(make, queryset=queryset, template=template)

    def __getattribute__(self, name: str) -> Any:
        if name in _TOLD_BY_TEMPLATES:
            value = getattr(_attributes(self).get("template"), name, None)
            if value is None or value is True or value is False:
                return value
        return super().__getattribute__(name)

    def is_empty(self) -> bool:
        """Whether it is the query of `none()`."""
        return bool(self.template.is_empty())


#: Flags that values have no part in.
_TOLD_BY_TEMPLATES = frozenset({"combinator", "distinct", "select_for_update", "select_related"})
