"""``aggregate()`` as a terminal: its expressions are its shape, its one row becomes a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from turbo_orm.plans.columns import Columns
from turbo_orm.plans.expressions import identity
from turbo_orm.plans.loaders import Loader

__all__ = ["Aggregation", "aggregate_loader", "aggregation_of"]


class Aggregation(NamedTuple):
    """The shape of ``aggregate(**kwargs)``, as a terminal."""

    names: tuple[str, ...]
    #: What identifies each expression.
    identities: tuple[Any, ...]

    @property
    def method(self) -> str:
        """The name of the method it is the shape of."""
        return "aggregate"

    def arguments(self, before: int, expressions: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments for a template."""
        return dict(expressions)


_new_aggregation: Callable[[type[Aggregation], tuple[Any, ...]], Aggregation] = tuple.__new__


def aggregation_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Aggregation, Mapping[str, Any]]:
    """Return the shape of ``aggregate(*args, **kwargs)``, and its expressions by name.

    Raises `Bail` for expressions that can't be told from others, and anything for an argument which
    has no name.
    """
    if args:
        kwargs = {**kwargs, **{each.default_alias: each for each in args}}
    identities = tuple([identity(each) for each in kwargs.values()])
    return _new_aggregation(Aggregation, (tuple(kwargs), identities)), kwargs


def aggregate_loader(compiler: Any) -> Loader:
    """Return what makes a dictionary of the row of the query that *compiler* has compiled.

    Raises `Unsupported` where only Django itself does what Django does.
    """
    aggregates = compiler.query.annotation_select
    columns = Columns(compiler, list(aggregates.values()))
    items = ", ".join(f"{name!r}: c{position}" for position, name in enumerate(aggregates))
    load, source = columns.function(f"{{{items}}}")
    return Loader(lambda peers: load, source, calls_user_code=columns.calls_user_code)
