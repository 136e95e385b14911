"""What the methods of a manager begin with: one queryset for all calls, where nobody can tell.

``Book.objects.filter(...)`` makes a queryset of all books only to clone it. A manager with Django's
own ``get_queryset()`` makes an equal one each time, and the methods named here leave it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db.models.manager import BaseManager

from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.shapes import ROOT, trie

__all__ = ["BEGINNINGS", "beginning"]

#: Methods which do nothing to the queryset they are called on.
BEGINNINGS = (
    "aaggregate",
    "acontains",
    "acount",
    "aearliest",
    "aexists",
    "afirst",
    "aget",
    "ain_bulk",
    "alast",
    "alatest",
    "alias",
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


def beginning(
    name: str, like: Callable[..., Any], packed: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return the manager's method *name*, which calls that of a queryset. It looks like *like*.

    ``packed(queryset, args, kwargs)`` does what the queryset's method does, and takes arguments as they
    are: to unpack them and pack them once more would take as long as the rest of it.
    """

    @wraps(like)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (
            type(self).get_queryset is _get_queryset
            and not self._hints
            and "get_queryset" not in self.__dict__
        ):
            root = self.model._meta.__dict__.get(ROOT)
            if root is not None and root.epoch == trie.epoch:
                kept = root.querysets.get((self._queryset_class, self._db))
                # It is no longer in plan mode if it once had to be Django's.
                if kept is not None and kept._planned is not None:
                    if packed is not None:
                        return packed(kept, args, kwargs)
                    return getattr(kept, name)(*args, **kwargs)
            return getattr(_keep(self), name)(*args, **kwargs)
        return getattr(self.get_queryset(), name)(*args, **kwargs)

    return method


_get_queryset = BaseManager.get_queryset


def _keep(manager: Any) -> Any:
    queryset = manager.get_queryset()
    if isinstance(queryset, PlannedQuerySet) and queryset._planned is not None and queryset._may_be_kept:
        root = queryset._planned[0]
        root.querysets[type(queryset), manager._db] = queryset
    return queryset
