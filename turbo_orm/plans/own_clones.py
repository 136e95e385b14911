"""Plan mode of querysets whose class has a `_clone()` or `__init__()` of its own.

Such classes keep something in their querysets that is to be in their clones too. Wherever Django would
call them they are called, and with them goes plan mode on as long as they leave the query alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turbo_orm.plans.planned import Planned
from turbo_orm.plans.values import Bail

__all__ = ["CLONING", "FOLLOWED", "clones_as_django", "copy_of"]

#: The methods by which a class makes clones.
CLONING = ("__init__", "_clone")

_new = object.__new__

#: What only the queryset itself has of its state, and no copy.
_PASSING = ("_later", "_peek", "_pending")

#: What Django hands on to clones.
_HANDED_ON = (
    "_db",
    "_fields",
    "_for_write",
    "_hints",
    "_iterable_class",
    "_known_related_objects",
    "_prefetch_related_lookups",
)


def copy_of(queryset: Any, planned: Planned) -> Any:
    """Return a copy of *queryset* in the state *planned* that nothing of a project has a part in."""
    copy = _new(type(queryset))
    vars(copy).update({name: value for name, value in vars(queryset).items() if name not in _PASSING})
    copy._planned = planned
    return copy


def _derive(self: Any, planned: Planned) -> Any:
    """Return a clone in the state *planned*, one step further than this queryset.

    Raises `Bail` if the class has done anything to the query, which only Django's own methods can follow.
    """
    before = vars(self).get("_planned") or planned
    clone = copy_of(self, before)._clone()
    found = vars(clone).get("_planned")
    if (
        type(clone) is not type(self)
        or found is None
        or any(found[at] is not before[at] for at in (_NODE, _VALUES, _LIMITS))
    ):
        raise Bail
    clone._planned = planned
    clone._sticky_filter = False
    return clone


_NODE, _VALUES, _LIMITS = 0, 1, 3


def _unknown(self: Any, *args: Any) -> None:
    """Leave it to the long way, which knows what to do if there is no clone in plan mode."""


#: What is so in these classes, instead of what takes no notice of the class.
FOLLOWED: dict[str, Callable[..., Any]] = {
    "_derive": _derive,
    "_known": _unknown,
    "_known_filter": _unknown,
}


def clones_as_django(queryset: Any) -> bool:
    """Whether a clone of *queryset* is what Django's ``_clone()`` would return, but for what is not Django's.

    A plan stands for terminals that work with clones of their queryset, and these it does without.
    """
    try:
        clone = queryset._derive(queryset._planned)
    except Exception:  # Django raises it again
        return False
    return all(getattr(clone, name) == getattr(queryset, name) for name in _HANDED_ON) and (
        getattr(clone, "_fetch_mode", None) is getattr(queryset, "_fetch_mode", None)
    )
