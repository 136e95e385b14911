"""Lists that lookups of arrays compare with: Django makes ``ARRAY[%s, %s]`` of them, by their length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.postgres.fields import array
from django.db.models import Func, Value

from turbo_orm.plans.saving import fitting
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import SCALARS, Bail, check_container

__all__ = ["compares_arrays", "elements_as_params", "elements_at_filter", "elements_of"]

_array: Any = array  # its lookups are in no stub

_LOOKUPS = frozenset({_array.ArrayContains, _array.ArrayContainedBy, _array.ArrayExact, _array.ArrayOverlap})


def compares_arrays(lookup_class: Any) -> bool:
    """Whether it is one of Django's lookups which do that to lists and tuples."""
    return lookup_class in _LOOKUPS


def elements_of(lookup: Any) -> list[Any] | None:
    """Return the values in the array that *lookup* made of a list, prepared; None if it made none."""
    array_made = lookup.rhs
    if not compares_arrays(type(lookup)) or type(array_made) is not Func:
        return None
    elements = array_made.get_source_expressions()
    return [each.value for each in elements] if {*map(type, elements)} == {Value} else None


def elements_at_filter(lookup_class: Any, lhs: Any) -> Callable[[Any], list[Any]]:
    """Return what makes a list or tuple into what a queryset keeps of it: the values in its array.

    Raises `Unsupported` if these may become others when they are prepared again.
    """
    base = type(lhs.output_field.base_field)
    if not base.__module__.startswith("django."):
        raise Unsupported("a field of the project prepares what is in an array")

    def prepare(values: Any) -> list[Any]:
        check_container(values)
        elements = elements_of(lookup_class(lhs, values))
        if elements is None or not SCALARS.issuperset(map(type, elements)):
            raise Bail
        return elements

    return prepare


def elements_as_params(compiler: Any) -> Callable[[list[Any]], list[Any]]:
    """Return what makes the values in an array into parameters, as each `Value` is compiled."""

    def param(element: Any) -> Any:
        sql, params = Value(element).as_sql(compiler, compiler.connection)
        if sql != "%s":
            raise Bail
        return fitting(params[0])

    def prepare(elements: list[Any]) -> list[Any]:
        if {*map(type, elements)} == {str}:
            return elements  # they are their own parameters
        return [*map(param, elements)]

    return prepare
