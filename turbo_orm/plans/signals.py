"""Who listens to the signals of a model."""

from __future__ import annotations

from typing import Any
from weakref import ref

from django.dispatch import dispatcher

__all__ = ["has_listeners"]

_NO_RECEIVERS: Any = dispatcher.NO_RECEIVERS


def has_listeners(signal: Any, model: type[Any]) -> bool:
    """Return ``signal.has_listeners(model)``; ask *signal* itself only where it does not know."""
    if not signal._dead_receivers and signal.sender_receivers_cache.data.get(ref(model)) is _NO_RECEIVERS:
        return False
    return bool(signal.has_listeners(model))
