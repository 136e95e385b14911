"""What the managers of a relation come to, kept for the next instances.

The first time, Django's related manager of an instance makes the query and each instance's
queryset. What it came to is kept with the relation's descriptor: managers of the same code make
the same of the next instances, but for their keys.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import getattr_static
from operator import attrgetter, itemgetter
from typing import Any

from django.db.models import ForeignKey, QuerySet, fields
from django.db.models.base import ModelState

from turbo_orm.fetch_modes import FETCH_ONE
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.planned import Planned
from turbo_orm.plans.shapes import Node, trie
from turbo_orm.prefetching.asked import Answer, Asked, Unknown
from turbo_orm.prefetching.kept import KEPT, keep

__all__ = ["KnownRelation", "known_answer", "manager_of", "queryset_of"]

_DJANGOS = {"django.db.models.fields.related_descriptors", "django.db.models.manager"}

#: What a related manager prefetches with; the names differ between versions.
_METHODS = (
    "get_queryset",
    "_apply_rel_filters",
    "get_prefetch_cache",
    "get_prefetch_queryset",
    "get_prefetch_querysets",
)

#: Fields of keys, and of which kind these have to be to be the same in Python and in the database.
_PLAIN_KEYS: dict[type, type] = {
    fields.AutoField: int,
    fields.BigAutoField: int,
    fields.SmallAutoField: int,
    fields.BigIntegerField: int,
    fields.IntegerField: int,
    fields.UUIDField: uuid.UUID,
}

#: What Django's related managers call on querysets, and plan mode leaves alone.
_LEFT_ALONE = ("using", "_add_hints")


class KnownRelation(ABC):
    """What the managers of a model's relation come to, for instances with a plain key."""

    __slots__ = (
        "_attname",
        "_base_code",
        "_base_methods",
        "_cache_name",
        "_code",
        "_descriptor",
        "_kind",
        "_manager_class",
        "_methods",
        "_model",
        "_name",
        "_nodes",
        "_queryset",
        "_rows",
    )

    def __init__(
        self,
        manager: Any,
        source: ForeignKey[Any, Any],
        name: str,
        cache_name: str,
        instances: Sequence[Any],
        rows: PlannedQuerySet,
    ) -> None:
        """Keep what *manager*, of the first of *instances*, comes to with the descriptor of its relation.

        The relation is *name* and Django caches it as *cache_name*, *source* is the foreign key to the
        instances' model, and *rows* the query for what to prefetch.
        Raises `Unknown` if the next instances may come to something else.
        """
        first = instances[0]
        self._model = type(first)
        self._name = name
        self._cache_name = cache_name
        self._descriptor = getattr_static(self._model, name)
        kind = self._manager_class = type(manager)
        self._methods = attrgetter(*(each for each in _METHODS if hasattr(kind, each)), "__init__")
        self._code = self._methods(kind)
        self._base_methods = attrgetter("get_queryset", "__init__")
        self._base_code = self._base_methods(kind.__mro__[1])
        ((_, foreign), *more) = source.related_fields
        if more or type(foreign) not in _PLAIN_KEYS or foreign is not self._model._meta.pk:
            raise Unknown
        self._attname: str = foreign.attname
        self._kind = _PLAIN_KEYS[type(foreign)]
        keys = self._keys_of(instances)
        if keys is None or self._model._meta.parents:
            raise Unknown
        # Any: Django's private attributes are in no stub.
        self._rows: Any = rows
        self._queryset: Any = manager.get_queryset()
        nodes = _node_of(self._rows, keys, first), _node_of(self._queryset, keys[0], first)
        if self._queryset._known_related_objects != self.known_objects(first, keys[0]):
            raise Unknown
        self._nodes: tuple[Node, Node] = nodes
        # Without the first instance, which is not to live as long as the model.
        self._rows = self._rows._derive(_planned(nodes[0], None))
        self._queryset = self._queryset._derive(_planned(nodes[1], None))
        self._rows._hints, self._queryset._hints = {}, {}
        self._queryset._known_related_objects = {}
        # In the place of what another model's came to, which has inherited the relation.
        self._descriptor._turbo_prefetch = self

    @abstractmethod
    def grouped(
        self, instances: Sequence[Any], keys: list[Any], rows: list[tuple[Any, ...]], found: list[Any]
    ) -> Mapping[Any, list[Any]]:
        """Return by key what was *found* for *instances*, made of *rows*; an empty list for other keys."""

    @abstractmethod
    def rows_from(self, queryset: Any, instances: Sequence[Any]) -> PlannedQuerySet | None:
        """Return the query for what of *queryset* belongs to *instances*; None if managers are to make it."""

    @abstractmethod
    def known_objects(self, instance: Any, key: Any) -> dict[Any, dict[Any, Any]]:
        """Return ``_known_related_objects`` of the queryset of *instance*."""

    def answer(self, instances: Sequence[Any], asked: Asked) -> Answer | None:
        """Return what is to be done for *instances*; None if managers might come to something else now."""
        of_rows, of_queryset = self._nodes
        if (
            asked.name != self._name
            or self._descriptor.related_manager_cls is not self._manager_class
            or of_rows.forgotten
            or of_queryset.forgotten
            or not of_rows.epoch == trie.epoch == of_queryset.epoch
            or self._methods(self._manager_class) != self._code
            or self._base_methods(self._manager_class.__mro__[1]) != self._base_code
            or (keys := self._keys_of(instances)) is None
        ):
            return None
        of_rows.used = of_queryset.used = trie.clock
        if asked.queryset is None:
            rows = self._rows._derive(_planned(of_rows, keys))
            rows._hints = {"instance": instances[0]}
        elif (rows := self.rows_from(asked.queryset, instances)) is None:
            return None
        return rows, partial(self._give, instances, keys, asked)

    def _keys_of(self, instances: Sequence[Any]) -> list[Any] | None:
        """Return the key of each of *instances*; None if one is not what this is known for."""
        if type(instances[0]) is not self._model:  # they are all of one model
            return None
        # Of all at once, without bytecode for each, as far as that goes.
        attributes = [*map(vars, instances)]
        try:
            keys = [*map(itemgetter(self._attname), attributes)]
        except KeyError:
            return None
        if {*map(type, keys)} != {self._kind}:
            return None
        states = [*map(_state, attributes)]
        try:
            modes = {*map(_fetch_mode, states)}
        except AttributeError:  # before Django 6.1
            modes = {getattr(state, "fetch_mode", FETCH_ONE) for state in states}
        if modes != {FETCH_ONE}:
            return None
        name, cache_name = self._name, self._cache_name
        for kept in [each[KEPT] for each in attributes if KEPT in each]:
            if name in kept or cache_name in kept:
                return None
        return keys

    def _give(
        self,
        instances: Sequence[Any],
        keys: list[Any],
        asked: Asked,
        rows: list[tuple[Any, ...]],
        found: list[Any],
    ) -> None:
        related = self.grouped(instances, keys, rows, found)
        if asked.to_attr is not None:
            for instance, key in zip(instances, keys, strict=True):
                setattr(instance, asked.to_attr, related.get(key, []))
            return
        relation = self if asked.queryset is None else _OfAnother(self, asked)
        keep(instances, self._cache_name, keys, related, relation)

    def has_key(self, instance: Any, key: Any) -> bool:
        """Whether *key* is the key of *instance* still."""
        return bool(instance.__dict__.get(self._attname) == key)

    def filtered(self, instance: Any, key: Any) -> Any:
        """Return the manager's queryset of *instance*, whose *key* was this when it was prefetched."""
        return self._queryset._derive(_planned(self._nodes[1], key))

    def filter_by(self, instance: Any, queryset: Any) -> None:
        """Have *queryset*, which was made for a stand-in of *instance*, be as Django has it for this."""
        queryset._hints = {"instance": instance}

    def queryset(self, instance: Any, key: Any, rows: list[Any]) -> Any:
        """Return what ``get_queryset()`` of the manager of *instance* does, with its rows."""
        queryset = self.filtered(instance, key)
        queryset._hints = {"instance": instance}
        queryset._known_related_objects = self.known_objects(instance, key)
        queryset._result_cache = rows
        queryset._prefetch_done = True
        return queryset

    def stand_in(self, state: ModelState, key: Any) -> Any:
        """Return an instance that has *state* and *key*, and nothing else is known of."""
        instance = object.__new__(self._model)
        instance.__dict__.update({"_state": state, self._attname: key})
        return instance


class _OfAnother:
    """A relation whose objects are those of another queryset than its manager's."""

    def __init__(self, known: KnownRelation, asked: Asked) -> None:
        self._known = known
        self._asked = asked

    def queryset(self, instance: Any, key: Any, rows: list[Any]) -> Any:
        """Return what Django makes of the other queryset for *instance*, with its rows."""
        if self._known.has_key(instance, key):
            return queryset_of(instance, self._asked, rows)
        queryset = queryset_of(self.stand_in(instance._state, key), self._asked, rows)
        self._known.filter_by(instance, queryset)
        queryset._known_related_objects = self._known.known_objects(instance, key)
        return queryset

    def stand_in(self, state: ModelState, key: Any) -> Any:
        """Return an instance that has *state* and *key*, and nothing else is known of."""
        return self._known.stand_in(state, key)


_state, _fetch_mode = itemgetter("_state"), attrgetter("fetch_mode")


def _planned(node: Node, value: Any) -> Planned:
    return node, (value,), None, None, False


def queryset_of(instance: Any, asked: Asked, rows: list[Any]) -> Any:
    """Return the queryset that Django leaves *instance* with, whose *rows* are known."""
    manager = getattr(instance, asked.name)
    if asked.queryset is None:
        queryset = manager.get_queryset()
    else:
        queryset = manager._apply_rel_filters(asked.queryset._chain())
        queryset._hints = {"instance": instance}  # clones share theirs
    queryset._result_cache = rows
    queryset._prefetch_done = True
    return queryset


def _node_of(queryset: Any, value: Any, instance: Any) -> Node:
    """Return the shape of *queryset*; raises `Unknown` if not of *value* and *instance* alone."""
    planned = queryset._planned if isinstance(queryset, PlannedQuerySet) else None
    if planned is None or queryset._clones_itself:
        raise Unknown
    node, stored, _, limits, chained = planned
    if (
        stored != (value,)
        or limits is not None
        or chained
        or queryset._db is not None
        or queryset._hints != {"instance": instance}
        or "get" not in queryset._plannable_terminals
        or any(getattr(type(queryset), each) is not getattr(QuerySet, each) for each in _LEFT_ALONE)
    ):
        raise Unknown
    return node


def known_answer(instances: Sequence[Any], asked: Asked) -> Answer | None:
    """Return how what is *asked* for is prefetched for *instances*, if its descriptor knows that already."""
    known: KnownRelation | None = getattr(asked.descriptor, "_turbo_prefetch", None)
    return None if known is None else known.answer(instances, asked)


def manager_of(instances: Sequence[Any], name: str) -> Any:
    """Return the related manager of the first instance if it is as Django makes it, and none has its rows."""
    first = instances[0]
    if any(name in instance.__dict__.get(KEPT, ()) for instance in instances):
        return None
    try:
        manager = getattr(first, name)
    except ValueError:  # an object that is not saved; Django says so
        return None
    kind = type(manager)
    if not all(_is_djangos(kind, method) for method in _METHODS):
        return None
    # Django's class for the relation is on top of the manager's own, which may do anything.
    return manager if _is_djangos(super(kind, manager), "get_queryset") else None


def _is_djangos(owner: Any, method: str) -> bool:
    """Whether *owner* has *method* from Django, or not at all."""
    found = getattr(owner, method, None)
    return found is None or found.__module__ in _DJANGOS
