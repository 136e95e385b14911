"""Gives the tests' models an `AsyncManager` wherever they would have a `Manager`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from django.db import models
from django.db.models import base, manager, query

from turbo_orm import AsyncManager, AsyncQuerySet

__all__ = ["install"]

_REPLACED = (
    (models, "Manager", AsyncManager),
    (models, "QuerySet", AsyncQuerySet),
    (manager, "Manager", AsyncManager),
    (query, "QuerySet", AsyncQuerySet),
)


def install() -> None:
    """Replace the classes in the eyes of everyone but Django itself.

    Django's own code keeps comparing with the originals, and the models of its contrib applications keep the
    managers they declare, as in a project.
    """
    properties: dict[ModuleType, dict[str, Any]] = {}
    for module, name, ours in _REPLACED:
        properties.setdefault(module, {})[name] = _by_caller(getattr(module, name), ours)
    for module, namespace in properties.items():
        module.__class__ = type("_SeenByTests", (ModuleType,), namespace)
    # The manager of models which declare none.
    base.Manager = AsyncManager  # type: ignore[attr-defined]


def _by_caller(original: type[Any], ours: type[Any]) -> property:
    def choose(module: ModuleType) -> type[Any]:
        caller = str(sys._getframe(1).f_globals.get("__name__"))
        return original if caller.partition(".")[0] in ("django", "turbo_orm") else ours

    return property(choose)
