"""What is asked for with one relation of a lookup."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Asked"]


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
