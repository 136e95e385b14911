"""The columns of a model as attributes: `Book.objects.columns.author.name`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from turbo_orm.codegen import ir
from turbo_orm.codegen.expressions import NONE, generic, name, ours, union
from turbo_orm.codegen.naming import is_name
from turbo_orm.codegen.views import Entry

__all__ = ["view_columns"]


def view_columns(
    model: ir.Model, models: Mapping[str, ir.Model], spell: Callable[[str], str]
) -> tuple[Entry, ...]:
    """The columns as attributes. ``_M`` is the model queried, ``_N`` None where a row may be missing."""
    types = {"pk": _column(model.key_column, null=False)}
    for field in model.fields:
        column = field.attname if field.name in model.foreign_keys else field.name
        types[column] = _column(field.column, null=field.null)
    for relation in model.relations:
        if is_name(relation.query_name):
            types[relation.query_name] = _columns_of(relation, models[relation.target])
    return tuple(Entry(column, spell(type_)) for column, type_ in types.items())


def _column(column: ir.Column, *, null: bool) -> str:
    nothing = NONE if null else "_N"
    if not column.row:
        return generic(column.kind, "_M", nothing)
    return generic(column.kind, "_M", union(column.row, nothing), column.value)


def _columns_of(relation: ir.Relation, target: ir.Model) -> str:
    if not target.facade:
        return generic(ours("OtherColumns"), "_M")
    missing = relation.null or not relation.kind.is_forward_one
    return generic(name("@columns", target.label), "_M", NONE if missing else "_N")
