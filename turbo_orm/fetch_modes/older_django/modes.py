"""The modes themselves, named and behaving as Django 6.1's."""

from __future__ import annotations

from typing import Any, Protocol

from django.core.exceptions import FieldError
from django.db.models import Model

from turbo_orm.loading import with_peers

__all__ = [
    "FETCH_ONE",
    "FETCH_PEERS",
    "FETCH_RAISE",
    "FetchMode",
    "FetchOne",
    "FetchPeers",
    "FetchRaise",
    "Fetcher",
    "FieldFetchBlocked",
    "mode_of",
]


class FieldFetchBlocked(FieldError):
    """A relation or field that is not loaded was read, and its object's mode is `FETCH_RAISE`."""


class Fetcher(Protocol):
    """What can load one relation or field."""

    @property
    def name(self) -> str:
        """Return the name of the relation or field."""
        ...

    def fetch_one(self, instance: Model) -> None:
        """Load it for *instance*."""

    def fetch_many(self, instances: list[Model]) -> None:
        """Load it for those of *instances* which lack it."""


class FetchMode:
    """What happens when a relation or field that is not loaded is read."""

    __slots__ = ()

    def fetch(self, fetcher: Fetcher, instance: Model) -> None:
        """Load what *fetcher* stands for, at least for *instance*."""
        raise NotImplementedError


class FetchOne(FetchMode):
    """Load it for the one object: what Django always does."""

    __slots__ = ()

    def fetch(self, fetcher: Fetcher, instance: Model) -> None:
        fetcher.fetch_one(instance)

    def __reduce__(self) -> str:
        return "FETCH_ONE"


class FetchPeers(FetchMode):
    """Load it for all objects that came from the same query, with one query."""

    __slots__ = ()

    def fetch(self, fetcher: Fetcher, instance: Model) -> None:
        peers = with_peers(instance)
        if len(peers) > 1:
            fetcher.fetch_many(peers)
        else:
            fetcher.fetch_one(instance)

    def __reduce__(self) -> str:
        return "FETCH_PEERS"


class FetchRaise(FetchMode):
    """Raise `FieldFetchBlocked`."""

    __slots__ = ()

    def fetch(self, fetcher: Fetcher, instance: Model) -> None:
        raise FieldFetchBlocked(f"Fetching of {type(instance).__qualname__}.{fetcher.name} blocked.")

    def __reduce__(self) -> str:
        return "FETCH_RAISE"


FETCH_ONE = FetchOne()
FETCH_PEERS = FetchPeers()
FETCH_RAISE = FetchRaise()


def mode_of(instance: Model) -> FetchMode:
    """Return the mode of *instance*."""
    mode: Any = instance._state.__dict__.get("fetch_mode", FETCH_ONE)
    return mode  # type: ignore[no-any-return]
