"""The queries of querysets in plan mode, which are made when somebody looks at them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models.sql import Query

from turbo_orm.plans.planned import Planned, made_query
from turbo_orm.plans.unmade import Unmade, attributes_of, become

__all__ = ["OfQueryset", "Passed", "pending_query"]


class Passed(Unmade):
    """Stands for the `Query` of a queryset in plan mode where a ``_clone()`` hands it to its clone.

    Whoever looks at it, as the ``__init__()`` of a project's class may, sees that query.
    """

    _own = frozenset({"chain", "planned"})

    def __init__(self, planned: Planned, make: Callable[[Planned], Query]) -> None:
        super().__init__(partial(make, planned), planned=planned)

    def chain(self, klass: Any = None) -> Any:
        return self


class OfQueryset(Unmade):
    """The query of a queryset in plan mode, which leaves that mode where anybody looks at it.

    What its template says is no look: there are no values in that. Nor is what `delete()` does to it.
    """

    _own = frozenset({"clear_ordering", "is_empty"})

    def __init__(self, queryset: Any, planned: Planned) -> None:
        # Results are to be freed without the garbage collector.
        reference = weakref.ref(queryset)
        make = partial(_made, reference, planned)
        super().__init__(make, queryset=reference, planned=planned)

    def __getattribute__(self, name: str) -> Any:
        told = _told(self, name)
        return super().__getattribute__(name) if told is _UNTOLD else told

    def __setattr__(self, name: str, value: Any) -> None:
        if _told(self, name) is not value:
            super().__setattr__(name, value)

    def is_empty(self) -> bool:
        """Whether it is the query of `none()`."""
        planned = _planned(self)
        return bool((become(self) if planned is None else planned[0].template.query).is_empty())

    def clear_ordering(self, force: bool = False, clear_default: bool = True) -> None:
        """Do what Django's does: of all of it, by a step of the queryset."""
        queryset = _queryset_of(self) if force and clear_default else None
        if queryset is None or not queryset._clear_ordering():
            become(self).clear_ordering(force, clear_default)


#: What values have no part in.
_TOLD_BY_TEMPLATES = frozenset(
    {"combinator", "distinct", "distinct_fields", "is_sliced", "select_for_update", "select_related"}
)
_UNTOLD = object()


def _told(query: OfQueryset, name: str) -> Any:
    """Return what the template of *query* has for *name*, if it is told and nobody can change that."""
    planned = _planned(query) if name in _TOLD_BY_TEMPLATES else None
    if planned is None:
        return _UNTOLD
    node, *_, limits, _ = planned
    if name == "is_sliced":  # the limits are no part of the template
        return limits is not None
    found = getattr(node.template.query, name)
    return found if found is None or isinstance(found, bool) or found == () else _UNTOLD


def _queryset_of(query: Query) -> Any:
    """Return the queryset of *query*, an `OfQueryset`; None if it is gone, or *query* has become another."""
    reference = attributes_of(query).get("queryset")
    return None if reference is None else reference()


def _planned(query: OfQueryset) -> Planned | None:
    """Return the state of the queryset of *query*, of now if it is there still; None if *query* is made."""
    queryset = _queryset_of(query)
    now: Planned | None = None if queryset is None else queryset._planned
    return now or attributes_of(query).get("planned")


def pending_query(reference: weakref.ref[OfQueryset] | None, queryset: Any) -> OfQueryset | None:
    """Return what *reference* refers to while it is the query of *queryset*, and nobody has looked at it.

    Copies of a queryset have its attributes, and another thread may look at any time.
    """
    found = None if reference is None else reference()
    return None if found is None or _queryset_of(found) is not queryset else found


def _made(reference: weakref.ref[Any], planned: Planned) -> Query:
    """Have a queryset that was *planned* leave plan mode, if it is there still, and return its query."""
    queryset = reference()
    if queryset is None or queryset._planned is None:
        return made_query(planned)
    queryset._materialise()
    return queryset.query  # type: ignore[no-any-return]
