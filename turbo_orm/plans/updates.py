"""The values of ``update()``: parameters of the SQL like those of lookups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from turbo_orm.plans.arguments import Arguments, Kind, made
from turbo_orm.plans.columns import returned_columns
from turbo_orm.plans.loaders import Loader, values_loader
from turbo_orm.plans.prepare import Binding
from turbo_orm.plans.recording import Assigned
from turbo_orm.plans.saving import (
    CONDITIONS,
    RANGES,
    checked_wrapper_of,
    integer_type,
    preparer,
    unchanged_kind,
    wrapper_of,
)
from turbo_orm.plans.template import Param
from turbo_orm.plans.values import SCALARS, Bail, is_plannable

__all__ = ["Update", "assignment", "returned_loader", "update_of"]


class Update(NamedTuple):
    """The shape of ``update(**kwargs)``, as a terminal."""

    names: tuple[str, ...]
    #: Of each value: None, its type, or an expression without the values in it.
    kinds: tuple[Kind, ...]
    #: The names of the fields whose values are returned, as `save()` asks for since Django 6.0.
    returning: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The name of the method it is the shape of."""
        return "update"

    @property
    def has_only_values(self) -> bool:
        """Whether each of its values is a parameter."""
        return all(isinstance(kind, type) for kind in self.kinds)

    def arguments(self, params: Iterator[Param], query_class: type) -> dict[str, Any]:
        """Return the keyword arguments for a template, with the next of *params*."""
        arguments: dict[str, Any] = {}
        for name, kind in zip(self.names, self.kinds, strict=True):
            if isinstance(kind, type):
                param = next(params)
                param.is_stored_as_given = True
                arguments[name] = Assigned(param.index, name, kind)
            else:
                arguments[name] = made(kind, params, query_class)
        return arguments


def update_of(kwargs: Mapping[str, Any], returning: tuple[str, ...] = ()) -> tuple[Update, Arguments]:
    """Return the shape of ``update(**kwargs)``, *returning* fields, and what was taken apart for it.

    Raises `Bail` for values that can't be parameters.
    """
    kinds: list[Kind] = []
    arguments = Arguments()
    for value in kwargs.values():
        kind = type(value)
        if value is None:  # NULL is part of the SQL
            kinds.append(None)
        elif kind is bool or kind in SCALARS or is_plannable(kind):
            kinds.append(kind)
            arguments.values.append(value)
        else:
            kinds.append(arguments.take_expression(value))
    return Update(tuple(kwargs), tuple(kinds), returning), arguments


def returned_loader(compiler: Any) -> Loader:
    """Return what makes a tuple of each row that the UPDATE of *compiler* returns.

    Raises `Unsupported` where only Django itself does what Django does.
    """
    columns = returned_columns(compiler)
    return values_loader(columns, f"({columns.targets})")


def assignment(field: Any, connection: Any, kind: type) -> Binding:
    """Return what makes a value of exactly *kind* into the parameter that is stored in *field*."""
    thorough = _thorough(field, connection)
    if kind is int and (integer := integer_type(field, connection)) is not None:
        checked = checked_wrapper_of(integer)
        if integer not in RANGES:
            return Binding(checked)
        low, high = RANGES[integer]
        return Binding(wrapper_of(integer), condition=f"{low} <= {{0}} <= {high}", otherwise=checked)
    if unchanged_kind(field, connection) is not kind:
        return Binding(thorough)
    return Binding(None, condition=CONDITIONS.get(kind), otherwise=thorough)


def _thorough(field: Any, connection: Any) -> Callable[[Any], Any]:
    prepare = preparer(field, connection)
    related = field.remote_field is not None

    def prepared(value: Any) -> Any:
        if hasattr(value, "prepare_database_save"):
            if not related:
                raise Bail
            value = value.prepare_database_save(field)
        result = prepare(value)
        if result is None:  # it becomes NULL in the SQL
            raise Bail
        return result

    return prepared
