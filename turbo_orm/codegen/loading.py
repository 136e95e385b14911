"""What querysets load with their rows, where type checkers are to know it (``strict_relations``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from turbo_orm.codegen import ir
from turbo_orm.codegen.literals import MOST_MEMBERS
from turbo_orm.codegen.naming import ModelNames
from turbo_orm.codegen.paths import relation_paths
from turbo_orm.codegen.views import Entry, Loading

__all__ = ["LOADED_VARIABLES", "is_loadable", "view_loading"]

#: The private names of the type variables which stand for names of relations. There is one for each
#: name in a call; a call with more of them loads something that is not known.
LOADED_VARIABLES = ("_Loads1", "_Loads2", "_Loads3")


def is_loadable(relation: ir.Relation, model: ir.Model) -> bool:
    """Whether reading the relation of *model* needs another row, which a parent's fields do not."""
    is_parent = relation.kind is ir.RelationKind.ONE_TO_ONE and relation.target in model.parents
    return bool(relation.name) and relation.kind.is_one and bool(relation.target) and not is_parent


def view_loading(
    model: ir.Model,
    models: Mapping[str, ir.Model],
    depth: int,
    names: ModelNames,
    literal: Callable[[list[str]], str],
) -> Loading:
    """Group the paths from *model* by the relation they begin with; *literal* spells a Literal.

    Groups too big for one are left out: such paths load something that is not known.
    """
    one = [relation.name for relation in model.relations if is_loadable(relation, model)]
    related = relation_paths(model, models, depth, only_one=True)
    prefetch = relation_paths(model, models, depth, only_one=False)

    def nested(paths: list[str]) -> tuple[Entry, ...]:
        by_first = ((first, [path for path in paths if path.startswith(f"{first}__")]) for first in one)
        return tuple(
            Entry(literal([first]), literal(found))
            for first, found in by_first
            if 0 < len(found) <= MOST_MEMBERS
        )

    many = [path for path in prefetch if path.partition("__")[0] not in one]
    return Loading(
        one=literal(one),
        variables=tuple(names[variable] for variable in LOADED_VARIABLES),
        related=nested(related),
        prefetch=nested(prefetch),
        many=literal(many) if 0 < len(many) <= MOST_MEMBERS else "",
    )
