"""What the methods of a manager begin with: one queryset for all calls, where nobody can tell.

``Book.objects.filter(...)`` makes a queryset of all books only to clone it. A manager with Django's
own ``get_queryset()`` makes an equal one each time, and the methods named here leave it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import Any, overload

from django.db.models.manager import BaseManager

from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.shapes import ROOT, trie

__all__ = ["BEGINNINGS", "Beginning"]

#: Methods which do nothing to the queryset they are called on.
BEGINNINGS = (
    "aaggregate",
    "acount",
    "aexists",
    "afirst",
    "aget",
    "alast",
    "annotate",
    "defer",
    "distinct",
    "exclude",
    "filter",
    "only",
    "order_by",
    "prefetch_related",
    "select_for_update",
    "select_related",
    "values",
    "values_list",
)


class Beginning:
    """The manager's method *name*, which is that of a queryset. It looks like *like*.

    Reading it from a manager returns the method of the queryset to call: a function in between
    would have to take the arguments apart and put them together again.
    """

    def __init__(self, name: str, like: Callable[..., Any]) -> None:
        self._name = name
        self._function = like
        update_wrapper(self, like)

    @overload
    def __get__(self, manager: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, manager: Any, owner: type | None = None) -> Callable[..., Any]: ...
    def __get__(self, manager: Any, owner: type | None = None) -> Callable[..., Any]:
        if manager is None:
            return self._function
        if (
            type(manager).get_queryset is not _get_queryset
            or manager._hints
            or "get_queryset" in manager.__dict__
            or manager.model is None
        ):
            return MethodType(self._function, manager)
        root = manager.model._meta.__dict__.get(ROOT)
        if root is not None and root.epoch == trie.epoch:
            kept = root.querysets.get((manager._queryset_class, manager._db))
            # It is no longer in plan mode if it once had to be Django's.
            if kept is not None and kept._planned is not None:
                return getattr(kept, self._name)  # type: ignore[no-any-return]
        return getattr(_keep(manager), self._name)  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


_get_queryset = BaseManager.get_queryset


def _keep(manager: Any) -> Any:
    queryset = manager.get_queryset()
    if isinstance(queryset, PlannedQuerySet) and queryset._planned is not None and queryset._may_be_kept:
        root = queryset._planned[0]
        root.querysets[type(queryset), manager._db] = queryset
    return queryset
