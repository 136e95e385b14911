"""Follow the lookups of prefetches from relation to relation, without the bridge as far as that goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

from django.db.models import Model, Prefetch, prefetch_related_objects
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ManyToManyDescriptor,
    ReverseManyToOneDescriptor,
)

from turbo_orm.bridge.run import run_sync
from turbo_orm.plans import running
from turbo_orm.plans.instances import cache_key
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.prefetching.asked import Answer, Asked, Unknown
from turbo_orm.prefetching.foreign_keys import foreign_key
from turbo_orm.prefetching.kept import KEPT, known_rows
from turbo_orm.prefetching.many_to_many import many_to_many
from turbo_orm.prefetching.reverse_foreign_keys import reverse_foreign_key
from turbo_orm.rows import load_now, objects

__all__ = ["Lookup", "follow", "independent_groups", "prefetch"]

Lookup: TypeAlias = "str | Prefetch[Any, Any, Any]"

#: What prefetches a relation without the bridge where that is the same, by what it is in the class.
#: One-to-one keys, for example, set the other end as well, and are left to Django.
_WITHOUT_BRIDGE: dict[type, Callable[[Sequence[Any], Asked], Answer | None]] = {
    ForwardManyToOneDescriptor: foreign_key,
    ReverseManyToOneDescriptor: reverse_foreign_key,
    ManyToManyDescriptor: many_to_many,
}


async def prefetch(rows: Sequence[Any], lookups: Sequence[Lookup]) -> None:
    """Do what `prefetch_related_objects()` does, one lookup after the other."""
    if len(lookups) == 1:
        if not await follow(rows, lookups[0]):
            await run_sync(prefetch_related_objects, rows, lookups[0])
        return
    for group in independent_groups(lookups):
        rest = [*group]
        done: set[str] = set()
        found: dict[str, Sequence[Any]] = {}
        if not _are_at_odds(group):
            while rest and (_parts(rest[0])[1] in done or await follow(rows, rest[0], found)):
                done.add(_parts(rest.pop(0))[1])
        # One that is left to Django is with what comes after it, which may build on it.
        left = [lookup for lookup in rest if _parts(lookup)[1] not in done]
        if left:
            await run_sync(prefetch_related_objects, rows, *left)


def _are_at_odds(group: Sequence[Lookup]) -> bool:
    """Whether one of *group* wants a queryset of its own for what another did: Django refuses that."""
    if len(group) == 1:
        return False
    seen: set[str] = set()
    for path, with_queryset in chain.from_iterable(map(_paths, group)):
        if with_queryset and path in seen:
            return True
        seen.add(path)
    return False


def _paths(lookup: Lookup) -> Iterator[tuple[str, bool]]:
    """Yield the path of each relation that *lookup* loads, and whether it asks for a queryset there."""
    _, to, queryset = _parts(lookup)
    names = to.split(LOOKUP_SEP)
    for length in range(1, len(names)):
        yield LOOKUP_SEP.join(names[:length]), False
    yield to, queryset is not None
    for other in getattr(queryset, "_prefetch_related_lookups", ()):
        for path, with_queryset in _paths(other):
            yield f"{to}{LOOKUP_SEP}{path}", with_queryset


async def follow(rows: Sequence[Any], lookup: Lookup, known: dict[str, Sequence[Any]] | None = None) -> bool:
    """Load what *lookup* relates to *rows*, where it is missing; False if the rest of it is for Django.

    *known* are the objects that lookups before it have led to, by their paths, in the order of their queries:
    of several that are equal, others are told the last one.
    """
    if known is None:
        if isinstance(lookup, str) and LOOKUP_SEP not in lookup:
            return not rows or await _take_step(rows, lookup, None, None) is not None
        known = {}
    if not isinstance(lookup, str) and type(lookup) is not Prefetch:
        return False
    through, to, queryset = _parts(lookup)
    if queryset is not None and not isinstance(queryset, PlannedQuerySet):
        return False
    *path, last = through.split(LOOKUP_SEP)
    found = await _follow_path(rows, path, known)
    if not found:
        return found is not None
    to_attr = getattr(lookup, "to_attr", None) or None
    loaded = await _take_step(found, last, queryset, to_attr)
    if loaded is not None:
        known[to] = loaded
    return loaded is not None


async def _follow_path(
    rows: Sequence[Any], path: Sequence[str], known: dict[str, Sequence[Any]]
) -> Sequence[Any] | None:
    """Return the objects *path* leads to from *rows*, loaded if they were not; None if Django is to."""
    found: Sequence[Any] | None = rows
    for length, name in enumerate(path, start=1):
        if not found:
            break
        before, way = found, LOOKUP_SEP.join(path[:length])
        if (found := known.get(way)) is None:
            found = await _take_step(before, name, None, None)
            if found is None and (found := _lists(before, name)) is None:
                return None
            known[way] = found
    return found


def _parts(lookup: Lookup) -> tuple[str, str, Any]:
    """Return the path of *lookup*, the path of what it leads to, and its queryset."""
    if isinstance(lookup, str):
        return lookup, lookup, None
    # Any: its attributes are in no stub.
    of: Any = lookup
    return of.prefetch_through, of.prefetch_to, of.queryset


async def _take_step(rows: Sequence[Any], name: str, queryset: Any, to_attr: str | None) -> list[Any] | None:
    """Return the objects that *name* relates to *rows*, loaded if they were not; None if Django is to."""
    model = _model_of(rows)
    if model is None:
        return None
    descriptor = getattr(model, name, None)
    relation = _WITHOUT_BRIDGE.get(type(descriptor))
    if relation is None:
        return None
    if to_attr is not None and (hasattr(model, to_attr) or any(to_attr in row.__dict__ for row in rows)):
        return None
    asked = Asked(name, descriptor, queryset, to_attr)
    answer = relation(rows, asked)
    found = None if answer is None else await _load(rows, asked, answer)
    if found is None and to_attr is None:
        found = _loaded(rows, name, descriptor)
    if found is not None and (to_attr is not None or relation is foreign_key):
        for row in rows:  # as Django prepares all objects
            row.__dict__.setdefault(KEPT, {})
    return found


async def _load(instances: Sequence[Any], asked: Asked, answer: Answer) -> list[Any] | None:
    rows, give = answer
    queryset = asked.queryset
    bound = rows._bound("list")
    if bound is None:
        return None
    result = await running.run(bound)
    found = load_now(rows, bound, result)
    if found is None:
        found = await objects(rows, bound, result)
    if queryset is not None and found and queryset._prefetch_related_lookups:
        # Before they know whom they belong to, which one of these may load in another way.
        await prefetch(found, queryset._prefetch_related_lookups)
    if _some_have_it(instances, asked):
        return None  # another task was sooner, and has what it loaded in its hands
    try:
        give(result.rows or [], found)
    except Unknown:
        return None
    return found


def _some_have_it(rows: Sequence[Any], asked: Asked) -> bool:
    if asked.to_attr is not None:
        return False
    if type(asked.descriptor) is ForwardManyToOneDescriptor:
        name = cache_key(asked.descriptor.field)
        return any(True for row in rows if name in row._state.fields_cache)
    return any(asked.name in kept[KEPT] for kept in map(vars, rows) if KEPT in kept)


def _model_of(rows: Sequence[Any]) -> type[Model] | None:
    """Return the model that all *rows* are of; None if they are something else."""
    kinds = {*map(type, rows)}
    kind = kinds.pop()
    return None if kinds or not issubclass(kind, Model) else kind


def _lists(rows: Sequence[Any], name: str) -> list[Any] | None:
    """Return the objects in the lists *name* of all *rows*, the ``to_attr`` of another lookup; else None."""
    model = _model_of(rows)
    if model is None or hasattr(model, name):
        return None
    lists = [row.__dict__.get(name) for row in rows]
    return [*chain.from_iterable(lists)] if {*map(type, lists)} == {list} else None


def _loaded(rows: Sequence[Any], name: str, descriptor: Any) -> list[Any] | None:
    """Return the objects that *name* relates to *rows*, which have them all; None if one has not."""
    if type(descriptor) is ForwardManyToOneDescriptor:
        if not all(descriptor.is_cached(row) for row in rows):
            return None
        related = [descriptor.field.get_cached_value(row) for row in rows]
        return [each for each in related if each is not None]
    try:
        getattr(rows[0], name)  # as Django looks whether the first one has them
    except ValueError:  # it has no key any more; Django says so
        return None
    lists: list[Any] = [known_rows(row.__dict__.get(KEPT, {}), name) for row in rows]
    return None if None in lists else [*chain.from_iterable(lists)]


def independent_groups(lookups: Sequence[Lookup]) -> list[list[Lookup]]:
    """Split *lookups* so that no group needs what another loads; order is kept within each.

    Lookups with the same first relation belong together, and so do those which go through the
    ``to_attr`` of another, or have the same.
    """
    groups: dict[str, list[Lookup]] = {}
    leads_to: dict[str, str] = {}
    for lookup in lookups:
        through, to, _ = _parts(lookup)
        first, name = through.split(LOOKUP_SEP)[0], to.split(LOOKUP_SEP)[0]
        root = leads_to.setdefault(name, leads_to.get(first, first))
        groups.setdefault(root, []).append(lookup)
    return list(groups.values())
