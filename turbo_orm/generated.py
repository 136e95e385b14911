"""What generated modules import at run time; small, so that importing a facade costs nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

from django.apps import apps
from django.db.models import Manager, Model

__all__ = ["attach_manager", "manager_class", "queryset_class", "typing_only"]


def attach_manager(model: type[Model], name: str) -> None:
    """Make the manager ``name`` of a model which cannot be edited an `AsyncManager` as well.

    It keeps its class as a base, so that its own methods, such as ``create_user()``, stay. For
    migrations it is still the manager of the model's app. Does nothing if it is async already.
    """
    from turbo_orm.adoption import async_manager_class
    from turbo_orm.manager import AsyncManager

    current: Any = _manager(model, name)
    if isinstance(current, AsyncManager):
        return
    manager = copy.copy(current)
    manager.__class__ = async_manager_class(current.__class__, current._queryset_class)
    manager.turbo_original = current  # what the generator describes, whether this has run or not
    options: Any = model._meta
    options.local_managers[:] = [other for other in options.local_managers if other.name != name]
    manager.contribute_to_class(model, name)
    for other in apps.get_models():
        if issubclass(other, model):
            cast(Any, other._meta)._expire_cache()


def manager_class(model: type[Model], name: str) -> Any:
    """The class of the manager ``name`` of ``model``."""
    return type(_manager(model, name))


def queryset_class(model: type[Model], name: str) -> Any:
    """The class of the querysets which the manager ``name`` of ``model`` returns."""
    return _manager(model, name)._queryset_class


def typing_only(module: str, *names: str) -> Callable[[str], Any]:
    """Return a module ``__getattr__`` for names which exist for type checkers only.

    They read as ``typing.Any``, so that ``from blog.turbo import BookOrder`` works in code which runs.
    """
    known = frozenset(names)

    def __getattr__(name: str) -> Any:  # noqa: N807  (it becomes the module's)
        if name in known:
            return Any
        raise AttributeError(
            f"module {module!r} has no attribute {name!r}. "
            f"If a model or one of its managers was added or renamed, run `manage.py turbo_generate`."
        )

    return __getattr__


def _manager(model: type[Model], name: str) -> Any:
    manager = model._meta.managers_map.get(name)  # type: ignore[attr-defined,unused-ignore]
    if isinstance(manager, Manager):
        return manager
    raise ImportError(
        f"{model._meta.label} has no manager {name!r}, but its generated module was made when it had one. "
        f"Run `manage.py turbo_generate {model._meta.app_label}`."
    )
