"""Which values may stand in a plan's parameters, and what of them belongs to a query's shape."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

from django.db.models import Model

__all__ = [
    "CONTAINERS",
    "SCALARS",
    "VIEWS",
    "Bail",
    "NoValues",
    "as_it_is_now",
    "check_container",
    "is_plannable",
    "is_scalar",
]


class Bail(Exception):
    """One call can't use a plan; Django's own path serves it."""


class NoValues(Bail):
    """The values of ``IN`` are none: Django's condition is never true, and is not in the SQL."""


#: Containers that can't be made of their values, or not in the same order: of two equal sets, one may have
#: grown to its size value by value, and has another order than its copy.
VIEWS: tuple[Any, ...] = (set, range, type({}.keys()), type({}.values()))

#: Types of values that are several, exactly. Not iterators: whoever looks at one takes from it.
CONTAINERS = (list, tuple, frozenset, *VIEWS)

#: Types of values that are data, exactly.
SCALARS = frozenset(
    {
        int,
        str,
        float,
        bytes,
        decimal.Decimal,
        uuid.UUID,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
    }
)

_plannable: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def is_plannable(kind: type) -> bool:
    """Whether values of exactly this type may be parameters: data, and not expressions."""
    try:
        return _plannable[kind]
    except KeyError:
        found = kind in CONTAINERS or kind is dict or issubclass(kind, Model) or is_scalar(kind)
        _plannable[kind] = found
        return found


def is_scalar(kind: type) -> bool:
    """Whether values of exactly this type are one datum."""
    return kind in SCALARS or _is_choice(kind)


def _is_choice(kind: type) -> bool:
    """Whether values of this type are texts or integers with names, as those of `TextChoices`."""
    return issubclass(kind, enum.Enum) and issubclass(kind, str | int)


def check_container(values: Collection[Any]) -> None:
    """Raise `Bail` unless *values* are some scalars, or instances of one model.

    Django drops ``None`` from the values of ``IN`` and an empty list makes the whole query
    empty; neither is a matter of parameters.
    """
    kinds = set(map(type, values))
    if not kinds or not (
        kinds <= SCALARS
        or (len(kinds) == 1 and issubclass(next(iter(kinds)), Model))
        or all(map(is_scalar, kinds))
    ):
        raise Bail


def as_it_is_now(values: Any) -> Any:
    """Return a copy of the container *values* that Django takes for the same."""
    kind = type(values)
    return [*values] if kind in VIEWS else kind(values)
