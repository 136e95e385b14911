"""Make Django's attributes of models ask the object's mode before they load anything."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, prefetch_related_objects
from django.db.models.fields import related_descriptors
from django.db.models.query_utils import DeferredAttribute

from turbo_orm.db.originals import replace_once
from turbo_orm.fetch_modes.older_django import NEEDED
from turbo_orm.fetch_modes.older_django.modes import FETCH_ONE, FetchMode, mode_of
from turbo_orm.fetch_modes.older_django.rows import apply, mark
from turbo_orm.loading import load_column

__all__ = ["install"]

_replace = partial(replace_once, by="fetch_modes")


class _Relation:
    """Loads what a descriptor's `__get__` would."""

    def __init__(self, descriptor: Any, original: Callable[..., Any]) -> None:
        self.descriptor = descriptor
        self.original = original

    @property
    def name(self) -> str:
        """The name in messages."""
        name: str = self.relation.name
        return name

    @property
    def relation(self) -> Any:
        """What knows the cache: a field, or the reverse of one."""
        return self.descriptor

    @property
    def accessor(self) -> str:
        """The name to prefetch by."""
        return self.name

    def is_missing(self, instance: Model) -> bool:
        return not self.relation.is_cached(instance)

    def fetch_one(self, instance: Model) -> None:
        with contextlib.suppress(ObjectDoesNotExist):
            self.read(instance)
        found = self.relation.get_cached_value(instance, default=None)
        if found is not None:
            _mark([found], mode_of(instance))

    def read(self, instance: Model) -> None:
        self.original(self.descriptor, instance)

    def fetch_many(self, instances: list[Model]) -> None:
        missing = [instance for instance in instances if self.is_missing(instance)]
        prefetch_related_objects(missing, self.accessor)


class _Forward(_Relation):
    @property
    def relation(self) -> Any:
        return self.descriptor.field

    def read(self, instance: Model) -> None:
        self.relation.set_cached_value(instance, self.original(self.descriptor, instance))


class _ReverseOneToOne(_Relation):
    @property
    def relation(self) -> Any:
        return self.descriptor.related

    @property
    def accessor(self) -> str:
        accessor: str = self.relation.get_accessor_name()
        return accessor

    def is_missing(self, instance: Model) -> bool:
        return instance.pk is not None and super().is_missing(instance)


class _Deferred(_Relation):
    @property
    def relation(self) -> Any:
        return self.descriptor.field

    def is_missing(self, instance: Model) -> bool:
        return (
            self.relation.attname not in instance.__dict__
            and instance.pk is not None
            and self.descriptor._check_parent_chain(instance) is None
        )

    def fetch_one(self, instance: Model) -> None:
        instance.refresh_from_db(fields=[self.relation.attname])

    def fetch_many(self, instances: list[Model]) -> None:
        load_column(instances, self.relation.attname)


def install() -> None:
    """Hook in; contenttypes' generic foreign keys once they can be imported."""
    if not NEEDED:
        return
    forward, reverse = (
        related_descriptors.ForwardManyToOneDescriptor,
        related_descriptors.ReverseOneToOneDescriptor,
    )
    # `__get__` of a forward relation runs for loaded ones too; this does when there is none.
    for descriptor in (forward, related_descriptors.ForwardOneToOneDescriptor):
        _replace(descriptor, "get_object", _ask_before_get_object)
    _replace(reverse, "__get__", lambda original: _ask_before_reading(original, _ReverseOneToOne))
    _replace(DeferredAttribute, "__get__", lambda original: _ask_before_reading(original, _Deferred))
    related: list[Any] = [forward, reverse]
    contenttypes = sys.modules.get("django.contrib.contenttypes.fields")
    if contenttypes is not None:
        generic = contenttypes.GenericForeignKey
        _replace(generic, "__get__", lambda original: _ask_before_reading(original, _Relation))
        related.append(generic)
    for descriptor in related:
        name = "get_prefetch_querysets" if hasattr(descriptor, "get_prefetch_querysets") else None
        _replace(descriptor, name or "get_prefetch_queryset", _hand_on_when_prefetching)


def _ask_before_get_object(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def get_object(self: Any, instance: Model) -> Any:
        mode = mode_of(instance)
        if mode is FETCH_ONE or self.field.is_cached(instance):
            return original(self, instance)
        mode.fetch(_Forward(self, original), instance)
        found = self.field.get_cached_value(instance, default=None)
        # None: the row is not there; Django has its own words for that.
        return original(self, instance) if found is None else found

    return get_object


def _ask_before_reading(original: Callable[..., Any], fetcher: type[_Relation]) -> Callable[..., Any]:
    @wraps(original)
    def read(self: Any, instance: Model | None, cls: Any = None) -> Any:
        if instance is not None and (mode := mode_of(instance)) is not FETCH_ONE:
            loader = fetcher(self, original)
            if loader.is_missing(instance):
                mode.fetch(loader, instance)
        return original(self, instance, cls)

    return read


def _hand_on_when_prefetching(original: Callable[..., Any]) -> Callable[..., Any]:
    """Give what a to-one relation prefetches the mode of the objects it is prefetched for."""

    @wraps(original)
    def prefetch(self: Any, instances: Any, querysets: Any = None) -> Any:
        rows, *others = original(self, instances, querysets)
        first = next(iter(instances), None)
        mode = FETCH_ONE if first is None else mode_of(first)
        if mode is not FETCH_ONE:
            if isinstance(rows, list):  # a generic foreign key's, of several models
                _mark(rows, mode)
            elif querysets is None:
                apply(rows, mode, instances)
        return rows, *others

    return prefetch


def _mark(rows: list[Model], mode: FetchMode) -> None:
    by_model: dict[type[Model], list[Model]] = {}
    for row in rows:
        by_model.setdefault(type(row), []).append(row)
    for group in by_model.values():
        for _ in mark(group, mode):
            pass
