"""What is asked for with one relation of a lookup, and what the relation answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.planned import loads_field

__all__ = ["Answer", "Asked", "Unknown", "tells"]


class Asked(NamedTuple):
    """The relation *name*, by its *descriptor*, and what a `Prefetch` has to say of it.

    The descriptor is one of Django's own classes, and no instance has *to_attr* yet.
    """

    name: str
    descriptor: Any
    #: The queryset to take the objects from, in plan mode or not; None for the manager's.
    queryset: Any
    #: Where the objects go; None for where the relation has them.
    to_attr: str | None


#: A query, and what gives the objects it finds to the instances they were prefetched for. It is
#: called with the rows and with what was made of them, and raises `Unknown` if they do not tell.
Answer: TypeAlias = "tuple[PlannedQuerySet, Callable[[list[tuple[Any, ...]], list[Any]], None]]"


class Unknown(Exception):
    """Django has to be asked."""


def tells(rows: PlannedQuerySet | None, field: Any) -> TypeGuard[PlannedQuerySet]:
    """Whether *rows*, if there are any, say by *field* whom each belongs to.

    Django asks for that row by row where `defer()` or `only()` leaves it out.
    """
    return rows is not None and rows._planned is not None and loads_field(rows._planned, field)
