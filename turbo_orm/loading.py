"""Load what an object lacks: relations and deferred fields, for all its peers at once.

Objects that came from one query are peers. Loading a relation of one of them loads it for all
that are still alive, with one query, as Django 6.1's ``FETCH_PEERS`` does in sync code.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, SynchronousOnlyOperation
from django.db.models import Model, prefetch_related_objects
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields import related_descriptors
from django.db.models.query_utils import DeferredAttribute

from turbo_orm.db.originals import replace_once
from turbo_orm.errors import NotLoadedError

__all__ = [
    "Peers",
    "RowsNotLoadedError",
    "install",
    "load",
    "load_column",
    "loaded",
    "remember_peers",
    "with_peers",
]


class RowsNotLoadedError(NotLoadedError):
    """The rows of a queryset: where these were to become a field's value, another error names the field."""

    @classmethod
    def of(cls, queryset: Any) -> RowsNotLoadedError:
        """Return the error for the rows of *queryset*."""
        return cls(
            f"The rows of this {type(queryset).__name__} of {queryset.model.__name__} are not loaded, and "
            "loading them here would block the event loop. Use `async for` or "
            "`await queryset.alist()`; or now, in sync code, run_sync()."
        )


class Peers(list["weakref.ref[Model]"]):
    """Weak references to the objects of one query; copies and pickles are empty."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Peers, ()


def remember_peers(rows: Sequence[Any]) -> None:
    """Note that *rows*, model instances, came from one query."""
    if len(rows) < 2:
        return
    peers = Peers(map(weakref.ref, rows))
    for row in rows:
        row._state.peers = peers


def load(instance: Model, paths: Iterable[str]) -> None:
    """Load the relations and fields *paths* of *instance* and its peers, where they are missing.

    A path goes through relations with ``__``. Raises `FieldDoesNotExist` for an unknown name.
    """
    for path in paths:
        _load_path(instance, path)


def loaded(instance: Model, paths: Sequence[str]) -> Any:
    """Return the value of the first step of a single path, or a tuple of those of several."""
    values = tuple(_value(instance, path.split(LOOKUP_SEP)[0]) for path in paths)
    return values[0] if len(values) == 1 else values


def _load_path(instance: Model, path: str) -> None:
    objects: list[Model] = with_peers(instance)
    names = path.split(LOOKUP_SEP)
    for position, name in enumerate(names):
        by_model: dict[type[Model], list[Model]] = {}
        for found in objects:
            by_model.setdefault(type(found), []).append(found)
        objects = []
        for model, group in by_model.items():
            _load_name(model, group, name)
            if position < len(names) - 1:
                objects += _related(group, name)


def with_peers(instance: Model) -> list[Model]:
    """Return *instance* and the objects which came from the same query and are still alive."""
    peers = [peer for ref in getattr(instance._state, "peers", ()) if (peer := ref()) is not None]
    # A peer of another database or class (multi-table parents) would need another query, and one that was
    # deleted, whose key is None, has no relations that others lead to.
    alike = [
        peer
        for peer in peers
        if type(peer) is type(instance)
        and peer._state.db == instance._state.db
        and (peer.pk is not None or instance.pk is None)
    ]
    return alike if any(peer is instance for peer in alike) else [instance]


def _load_name(model: type[Model], objects: list[Model], name: str) -> None:
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if field is not None and (not field.is_relation or name == getattr(field, "attname", None) != field.name):
        load_column(objects, field.attname)
    elif hasattr(model, name):
        if field is not None and field.auto_created and not field.concrete:
            # Nothing leads to an object without a key: what reading it gives needs no query.
            objects = [found for found in objects if found.pk is not None]
        prefetch_related_objects(objects, name)
    else:
        known = sorted(
            {relation.get_accessor_name() or relation.name for relation in model._meta.related_objects}
            | {field.name for field in model._meta.get_fields(include_hidden=False) if field.concrete}
        )
        raise FieldDoesNotExist(
            f"{model._meta.object_name} has no field or relation {name!r}. It has: {', '.join(known)}."
        )


def load_column(objects: list[Model], attname: str) -> None:
    """Load the deferred field *attname* of those of *objects*, all of one model, which lack it."""
    missing = [found for found in objects if attname not in found.__dict__ and found.pk is not None]
    if len(missing) == 1:
        missing[0].refresh_from_db(fields=[attname])
    elif missing:
        rows = type(missing[0])._base_manager.using(missing[0]._state.db)
        values = dict(rows.filter(pk__in=[found.pk for found in missing]).values_list("pk", attname))
        for found in missing:
            if found.pk in values:
                setattr(found, attname, values[found.pk])


def _related(objects: list[Model], name: str) -> list[Model]:
    found: list[Model] = []
    for instance in objects:
        value = _value(instance, name)
        if isinstance(value, Model):
            found.append(value)
        elif value is not None:
            found += list(value)
    return found


def _value(instance: Model, name: str) -> Any:
    try:
        value = getattr(instance, name)
    except ObjectDoesNotExist:  # the other end of a one-to-one relation
        return None
    return list(value.all()) if hasattr(value, "all") else value


def install() -> None:
    """Name the field where Django's guard finds async code loading one on the quiet.

    Hooked are the places Django comes to when the value is not there, so that reading a loaded
    one costs nothing. contenttypes' generic foreign keys are added once they can be imported.
    """
    _explain(related_descriptors.ForwardManyToOneDescriptor, "get_object", "select_related")
    if hasattr(related_descriptors.ForwardManyToOneDescriptor, "fetch_many"):  # FETCH_PEERS of Django 6.1
        _explain(related_descriptors.ForwardManyToOneDescriptor, "fetch_many", "select_related")
    _explain(related_descriptors.ReverseOneToOneDescriptor, "__get__", "select_related")
    _explain(DeferredAttribute, "__get__", "only")
    contenttypes = sys.modules.get("django.contrib.contenttypes.fields")
    if contenttypes is not None:
        # Django 6.1 split the descriptor from the field.
        descriptor = getattr(contenttypes, "GenericForeignKeyDescriptor", contenttypes.GenericForeignKey)
        _explain(descriptor, "__get__", "prefetch_related")


def _explain(descriptor_class: Any, method: str, remedy: str) -> None:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def explaining(self: Any, instance: Any, *args: Any) -> Any:
            try:
                return original(self, instance, *args)
            except SynchronousOnlyOperation as exc:
                if isinstance(instance, list):
                    instance = instance[0]
                known = isinstance(exc, NotLoadedError) and not isinstance(exc, RowsNotLoadedError)
                if instance is None or not hasattr(instance, "afetch") or known:
                    raise
                raise NotLoadedError(_explanation(self, instance, remedy)) from exc

        return explaining

    replace_once(descriptor_class, method, around, by="loading")


def _explanation(descriptor: Any, instance: Model, remedy: str) -> str:
    related = getattr(descriptor, "related", None)
    if related is not None:
        name = related.get_accessor_name()
    else:
        name = getattr(descriptor, "field", descriptor).name  # a GenericForeignKey is its own field
    with_the_query = {
        "select_related": f'with the query, .select_related("{name}") or .prefetch_related("{name}")',
        "only": f'with the query, by not deferring it in .only() or .defer("{name}")',
        "prefetch_related": f'with the query, .prefetch_related("{name}")',
    }[remedy]
    return (
        f"{type(instance).__name__}.{name} is not loaded, and loading it here would block the "
        f'event loop. Load it {with_the_query}; or now, `await instance.afetch("{name}")`.'
    )
