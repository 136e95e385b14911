"""``aggregate()`` as a terminal: its expressions are its shape, its one row becomes a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from turbo_orm.plans.arguments import Argument, Arguments, made_by_name
from turbo_orm.plans.columns import RowColumns
from turbo_orm.plans.loaders import Loader, values_loader
from turbo_orm.plans.template import Param

__all__ = ["Aggregation", "aggregate_loader", "aggregation_of", "named_aggregates"]


class Aggregation(NamedTuple):
    """The shape of ``aggregate(**kwargs)``, as a terminal."""

    names: tuple[str, ...]
    expressions: tuple[Argument, ...]

    @property
    def method(self) -> str:
        """The name of the method it is the shape of."""
        return "aggregate"

    def arguments(self, params: Iterator[Param], query_class: type) -> dict[str, Any]:
        """Return the keyword arguments for a template, with the next of *params*."""
        return made_by_name(self.names, self.expressions, params, query_class)


def aggregation_of(kwargs: Mapping[str, Any]) -> tuple[Aggregation, Arguments]:
    """Return the shape of ``aggregate(**kwargs)``, and what was taken apart for it.

    Raises `Bail` for expressions that can't be told from others.
    """
    arguments = Arguments()
    expressions = tuple(map(arguments.take_expression, kwargs.values()))
    return Aggregation(tuple(kwargs), expressions), arguments


def named_aggregates(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of ``aggregate()`` by the names of their results.

    Raises anything for one which has no name.
    """
    return {**kwargs, **{each.default_alias: each for each in args}} if args else kwargs


def aggregate_loader(compiler: Any) -> Loader:
    """Return what makes a dictionary of the row of the query that *compiler* has compiled.

    Raises `Unsupported` where only Django itself does what Django does.
    """
    aggregates = compiler.query.annotation_select
    columns = RowColumns(compiler, list(aggregates.values()))
    items = ", ".join(f"{name!r}: c{position}" for position, name in enumerate(aggregates))
    return values_loader(columns, f"{{{items}}}")
