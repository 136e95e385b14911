"""The TypedDicts of a model: what makes, finds and changes its rows by keyword, and rows as dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from turbo_orm.codegen import ir
from turbo_orm.codegen.aliases import Aliases
from turbo_orm.codegen.expressions import ANY, name, optional, union
from turbo_orm.codegen.ir import RelationKind
from turbo_orm.codegen.paths import Keyword
from turbo_orm.codegen.views import Dicts, Entry

__all__ = ["view_dicts"]

#: The lookups of a model's own columns by which one row is found; those of `gt` are any number.
_IDENTIFYING = frozenset(("iexact", "date", "year", "month", "day"))


def view_dicts(
    model: ir.Model, keywords: Iterable[Iterable[Keyword]], spell: Callable[[str], str], aliases: Aliases
) -> Dicts:
    """Return the entries for *model*, which has these *keywords* of lookups."""
    required = {field.name for field in model.fields if field.required}
    init = _distinct(_init(model, required), spell)
    init_names = {entry.name for entry in init}
    return Dicts(
        optional=tuple(entry for entry in init if entry.name not in required),
        required=tuple(entry for entry in init if entry.name in required),
        find=tuple(
            Entry(keyword.name, aliases.spell(keyword.value))
            for group in keywords
            for keyword in group
            if _identifies(keyword.name, init_names)
        ),
        update=_distinct(_update(model), spell),
        values=tuple(Entry(field.attname, spell(field.row)) for field in model.fields),
    )


def _distinct(entries: Iterable[tuple[str, str]], spell: Callable[[str], str]) -> tuple[Entry, ...]:
    """Return *entries*, the last one of each name."""
    return tuple(Entry(key, spell(type_)) for key, type_ in dict(entries).items())


def _identifies(keyword: str, columns: set[str]) -> bool:
    column, _, lookup = keyword.rpartition("__")
    return column in columns and lookup in _IDENTIFYING


def _init(model: ir.Model, required: set[str]) -> Iterator[tuple[str, str]]:
    if "pk" not in required:
        yield "pk", model.key_accept
    for field, relation in _columns(model):
        if relation is not None:
            target = name("@base", relation.target)
            yield field.name, optional(target) if field.null else target
        yield field.attname, field.accept
    for relation in model.relations:
        if relation.kind is RelationKind.GENERIC_FOREIGN_KEY:
            yield relation.name, ANY


def _update(model: ir.Model) -> Iterator[tuple[str, str]]:
    for field, relation in _columns(model):
        if relation is not None:
            yield field.name, union(name("@base", relation.target), field.update)
        yield field.attname, field.update


def _columns(model: ir.Model) -> Iterator[tuple[ir.Field, ir.Relation | None]]:
    """Yield the fields that can be written, each with the foreign key it is."""
    for field in model.fields:
        if not field.generated:
            yield field, model.foreign_keys.get(field.name)
