"""Expands a model's fields and relations into the paths of lookups: ``author__username``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from turbo_orm.codegen import ir
from turbo_orm.codegen.expressions import EXPR, builtin, generic, name, optional, union
from turbo_orm.codegen.ir import Reach
from turbo_orm.codegen.naming import is_name

__all__ = ["Keyword", "Path", "lookup_keywords", "relation_paths", "value_paths"]


@dataclass(frozen=True)
class Keyword:
    """A keyword of ``filter()`` and the type of its argument."""

    name: str
    value: str


@dataclass(frozen=True)
class Path:
    """What ``values()`` and ``order_by()`` take, and the type of the value there."""

    name: str
    value: str


def lookup_keywords(model: ir.Model, models: Mapping[str, ir.Model], depth: int) -> list[list[Keyword]]:
    """Return the keywords, those of one field or relation together.

    The second relation of a path, and any further one, is a forward one: what each of many rows
    refers to, not what refers to each of them. The farther a field, the fewer lookups it has, and
    behind two relations a column has one name only. What cannot be a keyword in source code is left
    out: ``class``, but not ``class__in``.
    """
    return _writable(list(_keywords(model, models, depth, "", Reach.OWN)))


def _keywords(
    model: ir.Model, models: Mapping[str, ir.Model], depth: int, prefix: str, reach: Reach
) -> Iterator[list[Keyword]]:
    for column, lookups in _columns(model, prefix):
        yield list(_column_keywords(_join(prefix, column), lookups, reach))
    for relation in _queried(model):
        if not _ends(relation, depth, prefix):
            continue
        yield list(_relation_keywords(relation, prefix))
        if depth and relation.target in models and _continues(relation, prefix):
            path = _join(prefix, relation.query_name)
            nearest = relation.kind.is_forward_one and not prefix
            yield from _keywords(
                models[relation.target], models, depth - 1, path, Reach.NEXT if nearest else Reach.FAR
            )


def _columns(model: ir.Model, prefix: str) -> Iterator[tuple[str, tuple[ir.Lookup, ...]]]:
    """Yield the columns of *model* and their lookups; a foreign key's are those of its ``_id``."""
    foreign_keys = {relation.name for relation in model.relations if relation.kind.is_forward_one}
    far = _is_far(prefix)
    if not far or "pk" in {field.name for field in model.fields}:
        yield "pk", model.key_lookups
    for field in model.fields:
        if field.name not in foreign_keys:
            yield field.name, field.lookups
        elif not far:
            yield field.attname, field.lookups


def _is_far(prefix: str) -> bool:
    """Whether *prefix* crosses two relations or more."""
    return "__" in prefix


def _column_keywords(path: str, lookups: Iterable[ir.Lookup], reach: Reach) -> Iterator[Keyword]:
    for lookup in lookups:
        if lookup.reach >= reach:
            yield Keyword(_join(path, lookup.name), lookup.value)


def _ends(relation: ir.Relation, depth: int, prefix: str) -> bool:
    """Whether a path may end with *relation*: a backward one is itself a table to cross to."""
    return relation.kind.is_forward_one or depth > 0 or not prefix


def _continues(relation: ir.Relation, prefix: str) -> bool:
    return relation.kind.is_forward_one or not prefix


def _relation_keywords(relation: ir.Relation, prefix: str) -> Iterator[Keyword]:
    target = name("@base", relation.target)
    path = _join(prefix, relation.query_name)
    exact = union(target, relation.key)
    yield Keyword(path, optional(exact) if relation.null else exact)
    yield Keyword(f"{path}__in", union(generic(name("collections.abc", "Iterable"), exact), EXPR))
    if relation.null or not prefix:
        yield Keyword(f"{path}__isnull", builtin("bool"))


def value_paths(model: ir.Model, models: Mapping[str, ir.Model], depth: int) -> list[Path]:
    """Return the paths to values, ``pk`` first."""
    return list({path.name: path for path in _values(model, models, depth, "", False)}.values())


def _values(
    model: ir.Model, models: Mapping[str, ir.Model], depth: int, prefix: str, maybe_null: bool
) -> Iterator[Path]:
    nullable = optional if maybe_null else union
    far = _is_far(prefix)
    if not far:
        yield Path(_join(prefix, "pk"), model.key_missing if maybe_null else model.key_read)
    for field in model.fields:
        for column in (field.name,) if far else dict.fromkeys((field.name, field.attname)):
            yield Path(_join(prefix, column), nullable(field.row))
    for relation in _queried(model):
        target = models.get(relation.target)
        path = _join(prefix, relation.query_name)
        if target is None:
            continue
        if not relation.kind.is_forward_one and _ends(relation, depth, prefix):
            yield Path(path, target.key_missing)
        if depth and _continues(relation, prefix):
            yield from _values(target, models, depth - 1, path, maybe_null or relation.null)


def relation_paths(
    model: ir.Model, models: Mapping[str, ir.Model], depth: int, *, only_one: bool
) -> list[str]:
    """Return what ``prefetch_related()`` takes; with *only_one*, what ``select_related()`` takes."""
    return list(dict.fromkeys(_relations(model, models, depth, "", only_one)))


def _relations(
    model: ir.Model, models: Mapping[str, ir.Model], depth: int, prefix: str, only_one: bool
) -> Iterator[str]:
    for relation in model.relations:
        if not relation.name or (only_one and not relation.kind.is_one):
            continue
        path = _join(prefix, relation.name)
        yield path
        if depth and relation.target in models and (only_one or _continues(relation, prefix)):
            yield from _relations(models[relation.target], models, depth - 1, path, only_one)


def _queried(model: ir.Model) -> list[ir.Relation]:
    return [relation for relation in model.relations if relation.query_name]


def _join(*parts: str) -> str:
    return "__".join(part for part in parts if part)


def _writable(groups: list[list[Keyword]]) -> list[list[Keyword]]:
    seen: set[str] = set()
    kept = []
    for group in groups:
        fresh = [keyword for keyword in group if keyword.name not in seen and is_name(keyword.name)]
        seen.update(keyword.name for keyword in fresh)
        if fresh:
            kept.append(fresh)
    return kept
