"""What an instance has prefetched, as querysets that are made when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, Protocol, TypeAlias
from weakref import ref

from django.db.models import Model

__all__ = ["KEPT", "Prefetched", "Relation", "keep", "known_rows"]


#: The attribute of an instance that is what it has prefetched.
KEPT = "_prefetched_objects_cache"


class Relation(Protocol):
    """Makes the querysets of a relation."""

    def queryset(self, instance: Any, key: Any, rows: list[Any]) -> Any:
        """Return the queryset of *instance*, whose rows are known."""
        ...

    def stand_in(self, state: Any, key: Any) -> Any:
        """Return an instance that has *state* and *key*, and nothing else is known of."""
        ...


#: The prefetched rows of an instance, in the place of the queryset: `_ROWS`, what of the instance
#: the relation goes by, the rows, and the relation. A plain tuple, for there may be many.
_Rows: TypeAlias = "tuple[object, Any, list[Any], Relation]"
_ROWS = object()


def _is_rows(value: Any) -> bool:
    return type(value) is tuple and len(value) == 4 and value[0] is _ROWS


def known_rows(kept: dict[str, Any], name: str) -> list[Any] | None:
    """Return what the relation *name* has in *kept*, a ``_prefetched_objects_cache``; None if nothing."""
    value: Any = dict.get(kept, name)
    return value[2] if _is_rows(value) else getattr(value, "_result_cache", None)


class Prefetched(dict[str, Any]):
    """A ``_prefetched_objects_cache``: from the names of relations to querysets.

    Whoever looks at the querysets finds them, but most are never looked at. Each refers to the
    instance that has it, so that with them only the garbage collector gets rid of the rows.
    """

    __slots__ = ("_instance", "_state")

    #: Whose it is.
    _instance: ref[Model]
    #: The instance's.
    _state: Any

    def of(self, instance: Model) -> bool:
        """Whether it was made for *instance*; a copy of an instance shares its dictionary."""
        return self._instance() is instance

    def _make(self, name: str, rows: _Rows) -> Any:
        _, key, found, relation = rows
        instance: Any = self._instance()
        if instance is None:
            # Only a copy of the instance is left. The querysets want the original to ask
            # database routers with.
            instance = relation.stand_in(self._state, key)
        queryset = relation.queryset(instance, key, found)
        dict.__setitem__(self, name, queryset)
        return queryset

    def _make_all(self) -> None:
        for name, value in list(dict.items(self)):
            if _is_rows(value):
                self._make(name, value)

    def __getitem__(self, name: str) -> Any:
        value = dict.__getitem__(self, name)
        return self._make(name, value) if _is_rows(value) else value

    def get(self, name: str, default: Any = None) -> Any:
        value = dict.get(self, name, default)
        return self._make(name, value) if _is_rows(value) else value

    def __iter__(self) -> Iterator[str]:
        # With a method of its own for this, dict() and ** go through __getitem__().
        return dict.__iter__(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle and copy as a dictionary: what is pickled can be had without this library."""
        return dict, (), None, None, iter(self.items())


def _after_making_all(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def of_querysets(self: Prefetched, *args: Any) -> Any:
        self._make_all()
        return method(self, *args)

    return of_querysets


for _name in (
    "__eq__",
    "__ne__",
    "__or__",
    "__repr__",
    "__ror__",
    "copy",
    "items",
    "pop",
    "popitem",
    "setdefault",
    "values",
):
    setattr(Prefetched, _name, _after_making_all(getattr(dict, _name)))


def keep(
    instances: Iterable[Any],
    name: str,
    keys: Iterable[Any],
    rows: Mapping[Any, list[Any]],
    relation: Relation,
) -> None:
    """Give each of *instances* its part of *rows*, which *relation* has prefetched, as *name*.

    *keys* are what the instances have in *rows*.
    """
    for instance, key in zip(instances, keys, strict=True):
        attributes = instance.__dict__
        kept = attributes.get(KEPT)
        if kept is None:
            kept = attributes[KEPT] = Prefetched()
            kept._instance = ref(instance)
            kept._state = attributes["_state"]
        elif type(kept) is not Prefetched or not kept.of(instance):
            kept[name] = relation.queryset(instance, key, rows[key])
            continue
        kept[name] = _ROWS, key, rows[key], relation
