"""Copies of expressions without the values in them.

Django tells expressions apart by what their constructors were given, and orders by the position of
a column whose expression is the same. So the values are left out there, too, and put in again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Q, Value, When
from django.utils import timezone

from turbo_orm.plans.expressions import within
from turbo_orm.plans.values import SCALARS

__all__ = ["VALUES", "WithoutParts", "without_parts"]

#: Types of a `Value` that is a parameter, of the type its literal has in PostgreSQL.
VALUES = SCALARS - {str, bytes}

#: Single objects that expressions refer to, and their copies must too: what `Trunc` takes for *is_dst* if
#: nothing is given, before Django 5.0.
_ALONE: dict[int, Any] = {id(each): each for each in (getattr(timezone, "NOT_PASSED", None),)}


class _Given:
    """Stands for a value that a constructor was given, among its arguments: equal to nothing else."""

    __slots__ = ()


class WithoutParts(NamedTuple):
    """A copy of an expression, with blanks in the place of some parts."""

    expression: Any
    blanks: list[Q]
    #: What stands for the values of parts in what constructors were given, and the numbers of these parts.
    given: list[tuple[_Given, int]]

    def filled(self, parts: Sequence[Any]) -> Any:
        """Return a copy with *parts* in the place of the blanks."""
        memo = {id(blank): part for blank, part in zip(self.blanks, parts, strict=True)}
        for given, number in self.given:
            part = parts[number]
            memo[id(given)] = part.value if type(part) is Value else part
        return deepcopy(self.expression, {**_ALONE, **memo})


def without_parts(expression: Any, parts: Sequence[Any]) -> WithoutParts:
    """Return a copy of *expression* without *parts*, which are in it."""
    blanks = [Q() for _ in parts]
    inside = [*within(expression)]
    memo: dict[int, Any] = {
        **_ALONE,
        **{id(part): blank for part, blank in zip(parts, blanks, strict=True)},
        **{id(each._constructor_args): ((), {}) for each in inside if type(each) is When},  # type: ignore[attr-defined]
    }
    copy = deepcopy(expression, memo)
    numbers = {id(part): number for number, part in enumerate(parts)}
    given: list[tuple[_Given, int]] = []
    for each in inside:
        if id(each) in memo and id(each) not in numbers:  # parts, and what is in them, are not copied
            given += _leave_out(each, memo[id(each)], numbers)
    return WithoutParts(copy, blanks, given)


def _leave_out(original: Any, copy: Any, numbers: Mapping[int, int]) -> list[tuple[_Given, int]]:
    """Leave the values of parts out of what *copy* was given; return what stands for them.

    *numbers* are those of the parts, by their ids.
    """
    vars(copy).pop("identity", None)
    if type(original) is When:
        copy._constructor_args = (copy.condition, copy.result), {}
        return []
    args, kwargs = getattr(original, "_constructor_args", ((), {}))
    made = _parts_made_of([*args, *kwargs.values()], original, numbers)
    standing: list[tuple[_Given, int]] = []

    def leave_out(value: Any, copied: Any) -> Any:
        parts = made.get(id(value))
        if parts is None:
            return copied
        given = _Given()
        standing.extend((given, numbers[id(part)]) for part in islice(parts, 1))
        return given

    if made:
        new_args, new_kwargs = copy._constructor_args
        named = {name: leave_out(kwargs[name], new) for name, new in new_kwargs.items()}
        copy._constructor_args = tuple(map(leave_out, args, new_args)), named
    return standing


def _parts_made_of(
    arguments: Sequence[Any], expression: Any, numbers: Mapping[int, int]
) -> dict[int, Iterator[Any]]:
    """Return, by its id, the parts that the constructor of *expression* made of each value it was given.

    In the order of *arguments*; none where that is not known. A value of which Django's own classes make
    no part is none of it.
    """
    values = [value for value in arguments if type(value) in SCALARS]
    found: dict[int, Iterator[Any]] = {}
    if values:
        own_class = not type(expression).__module__.startswith("django.")
        direct = _parts_among(getattr(expression, "get_source_expressions", tuple)(), numbers)
        inside = _parts_among(within(expression), numbers)
        for value in values:
            alike = [[part for part in parts if part.value is value] for parts in (direct, inside)]
            if alike[1] or (own_class and type(value) in VALUES):
                count = sum(each is value for each in values)
                found[id(value)] = iter(next((parts for parts in alike if len(parts) == count), ()))
    return found


def _parts_among(expressions: Any, numbers: Mapping[int, int]) -> list[Any]:
    return [each for each in expressions if type(each) is Value and id(each) in numbers]
