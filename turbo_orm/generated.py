"""What generated modules import at run time; small, so that importing a facade costs nothing."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Collection
from opcode import opmap
from pkgutil import resolve_name
from types import FrameType, GenericAlias
from typing import Any, TypedDict, cast

from django.apps import apps
from django.db.models import Manager, Model

__all__ = ["attach_manager", "manager_class", "model_class", "queryset_class", "typing_only"]


def model_class(module: str, name: str) -> Any:
    """Return the model *name* of *module*."""
    found = importlib.import_module(module)
    try:
        return getattr(found, name)
    except AttributeError:
        pass
    if getattr(found.__spec__, "_initializing", False):
        raise ImportError(
            f"{module} has no {name!r} yet: it is being imported, and what it imports leads to its own "
            "generated module. Import that inside a function there, or for type checkers only.",
            name=module,
        )
    raise ImportError(
        f"{module} has no {name!r}, but its generated module was made when it had one. "
        "Run `manage.py turbo_generate`.",
        name=module,
    )


def attach_manager(model: type[Model], name: str) -> None:
    """Make the manager *name* of a model which cannot be edited an `AsyncManager` as well.

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
    options.local_managers = [other for other in options.local_managers if other.name != name]
    manager.contribute_to_class(model, name)
    for other in apps.get_models():
        if issubclass(other, model):
            cast(Any, other._meta)._expire_cache()


def manager_class(model: type[Model], name: str) -> Any:
    """The class of the manager *name* of *model*."""
    return type(_manager(model, name))


def queryset_class(model: type[Model], name: str, made: str = "") -> Any:
    """The class of the querysets which the manager *name* of *model* returns.

    *made* is its path where `get_queryset()` of the manager makes them: ``blog.models:PostQuerySet``.
    """
    declared = _manager(model, name)._queryset_class
    try:
        return resolve_name(made) if made else declared
    except AttributeError as error:
        raise ImportError(
            f"There is no {made}, but the generated module of {model._meta.app_label!r} was made when there "
            f"was. Run `manage.py turbo_generate {model._meta.app_label}`."
        ) from error


def typing_only(
    module: str, *names: str, dicts: Collection[str] = (), generic: Collection[str] = ()
) -> Callable[[str], Any]:
    """Return a module ``__getattr__`` for names which exist for type checkers only.

    They read as ``typing.Any``, so that ``from blog.turbo import BookOrder`` works in code which runs;
    *dicts* as TypedDicts, which can be called, and *generic* as classes which take parameters.
    """
    known = {*names, *dicts, *generic}
    made: dict[str, Any] = {}

    def __getattr__(name: str) -> Any:  # noqa: N807  (it becomes the module's)
        if name in known:
            if name not in made:
                made[name] = _stand_in(module, name, is_dict=name in dicts, is_generic=name in generic)
            return made[name]
        message = (
            f"module {module!r} has no attribute {name!r}. "
            f"If a model or one of its managers was added or renamed, run `manage.py turbo_generate`."
        )
        if _is_import(sys._getframe(1)):
            raise ImportError(message, name=module)
        raise AttributeError(message)

    return __getattr__


def _stand_in(module: str, name: str, *, is_dict: bool, is_generic: bool) -> Any:
    made: Any = Any
    if is_dict:
        typed_dict: Any = TypedDict
        made = typed_dict(name, {})  # takes any keys at run time
    elif is_generic:
        made = type(name, (), {"__class_getitem__": classmethod(GenericAlias)})
    if made is not Any:
        made.__module__ = module
    return made


def _is_import(frame: FrameType) -> bool:
    """Whether *frame* is at a ``from ... import``, which says of an AttributeError only that it was one."""
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


def _manager(model: type[Model], name: str) -> Any:
    manager = model._meta.managers_map.get(name)  # type: ignore[attr-defined,unused-ignore]
    if isinstance(manager, Manager):
        return manager
    raise ImportError(
        f"{model._meta.label} has no manager {name!r}, but its generated module was made when it had one. "
        f"Run `manage.py turbo_generate {model._meta.app_label}`."
    )
