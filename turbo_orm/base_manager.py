"""The base managers of models with an `AsyncManager`: what Django itself gets rows from.

It follows foreign keys and prefetches them, refreshes objects, and looks for what to delete with a
manager of its own, ``Model._base_manager``. Where that is its plain one, its querysets in async code
and in the bridge are ours, and have plans.
https://docs.djangoproject.com/en/stable/topics/db/managers/#base-managers
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.db.models import Manager, QuerySet
from django.db.models.options import Options, make_immutable_fields_list

from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.instance import is_managed
from turbo_orm.manager import AsyncManager
from turbo_orm.queryset import AsyncQuerySet

__all__ = ["BaseManager", "install"]


class BaseManager(AsyncManager):
    """Has Django's own querysets where there is no event loop, for sync code has no use for others."""

    def get_queryset(self) -> Any:
        """Return a queryset of all rows."""
        if (
            self._queryset_class is AsyncQuerySet
            and current_bridge() is None
            and asyncio._get_running_loop() is None
        ):
            return QuerySet(model=self.model, using=self._db, hints=self._hints)
        return super().get_queryset()

    #: For `update_plan()`.
    get_queryset.has_all_rows = True  # type: ignore[attr-defined]


def install() -> None:
    """Replace the plain base managers of models that have an `AsyncManager`.

    And all managers of the tables of their many-to-many relations, which nobody declares.
    """
    _replace("base_manager", _base_manager)
    _replace("managers", _managers)


def _replace(name: str, instead: Callable[[Any, Any], Any]) -> None:
    known: Any = vars(Options)[name]
    setattr(Options, name, _Replaced(name, known.func, instead))


class _Replaced:
    """A cached property whose value is replaced, and whose function stays as it was found.

    Others replace that function, also after us, and look for Django's plain manager, as
    django-polymorphic does: it must not find ours.
    """

    def __init__(self, name: str, func: Callable[[Any], Any], instead: Callable[[Any, Any], Any]) -> None:
        self.name = name
        self.func = func
        self._instead = instead

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = vars(instance)[self.name] = self._instead(instance, self.func(instance))
        return value


def _base_manager(options: Any, found: Any) -> Any:
    return _in_place_of(found) if is_managed(options.model) else found


def _managers(options: Any, found: Any) -> Any:
    if not _is_between_managed(options):
        return found
    return make_immutable_fields_list("managers", map(_in_place_of, found))


def _in_place_of(found: Any) -> Any:
    if type(found) is not Manager or not found.auto_created:
        return found
    manager: Any = BaseManager()
    vars(manager).update(name=found.name, model=found.model, auto_created=True)
    return manager


def _is_between_managed(options: Any) -> bool:
    """Whether *options* are those of a table Django made for a many-to-many relation of our models."""
    if not options.auto_created:
        return False
    ends = [field.remote_field.model for field in options.local_fields if field.remote_field is not None]
    return any(isinstance(end, type) and is_managed(end) for end in ends)
