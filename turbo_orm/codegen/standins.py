"""Lets a project start whose facades are stale or missing, so that `turbo_generate` can renew them.

Django imports the project's code before it runs a command. Where that code imports a facade which
cannot be imported, or a name which it does not have, something else stands in until the command ends.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps
from django.db.models import Model, Q
from django.utils.module_loading import module_has_submodule

from turbo_orm.codegen.naming import DICT_SUFFIXES, GENERIC_SUFFIXES, TYPE_SUFFIXES
from turbo_orm.codegen.option_sources import load_options
from turbo_orm.errors import CodegenError
from turbo_orm.generated import typing_only

__all__ = ["Anything", "install"]


def install() -> None:
    """Have facades imported by a loader that never fails."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds the facades of the installed apps, where there is a file and where there is none."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        config = _facades().get(fullname) if apps.apps_ready else None
        if config is None:
            return None
        spec = PathFinder.find_spec(fullname, path) or ModuleSpec(fullname, None)
        spec.loader = _Loader(spec.loader, config)
        return spec


@cache
def _facades() -> Mapping[str, AppConfig]:
    found = {f"{config.name}.turbo": config for config in apps.get_app_configs()}
    try:
        chosen = load_options().facades
    except CodegenError:
        return found  # the command says what is wrong with the options
    for label, module in chosen.items():
        if label in apps.app_configs:
            found[module] = apps.app_configs[label]
    return found


class _Loader(Loader):
    """Executes the facade as far as it gets, and answers for what it then lacks."""

    def __init__(self, real: Any, config: AppConfig) -> None:
        self._real = real
        self._config = config

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        try:
            if self._real is not None:
                self._real.exec_module(module)
        except Exception:  # the file may hold anything: the marks of a merge, names that are gone
            vars(module).pop("__getattr__", None)
        module.__getattr__ = _attributes(module, self._config)  # type: ignore[method-assign]


def _attributes(module: ModuleType, config: AppConfig) -> Callable[[str], Any]:
    own = vars(module).get("__getattr__", _has_none)

    def __getattr__(name: str) -> Any:  # noqa: N807  (it becomes the module's)
        try:
            return own(name)
        except (AttributeError, ImportError):
            if name.startswith("__"):
                raise AttributeError(name) from None
        found = _as_generated(module.__name__, config, name)
        setattr(module, name, found)
        return found

    return __getattr__


def _has_none(name: str) -> Any:
    raise AttributeError(name)


def _as_generated(module: str, config: AppConfig, name: str) -> Any:
    """Return what *name* will be once the facade is generated; if none can tell, `Anything`."""
    for model in _models(config):
        if name == model.__name__:
            return model
        if not name.startswith(model.__name__):
            continue
        suffix = name[len(model.__name__) :].removeprefix("_")
        manager: Any = model._default_manager
        if suffix in ("Q", "QuerySet", "Manager"):
            return {"Q": Q, "QuerySet": manager._queryset_class, "Manager": type(manager)}[suffix]
        if suffix in (*DICT_SUFFIXES, *GENERIC_SUFFIXES, *TYPE_SUFFIXES):
            return typing_only(
                module,
                name,
                dicts=[name] if suffix in DICT_SUFFIXES else [],
                generic=[name] if suffix in GENERIC_SUFFIXES else [],
            )(name)
    return Anything(name, (), {})


def _models(config: AppConfig) -> Iterator[type[Model]]:
    """The app's models, as the facade would import them."""
    if not apps.models_ready and module_has_submodule(config.module, "models"):
        importlib.import_module(f"{config.name}.models")
    yield from list(apps.all_models[config.label].values())


class Anything(type):
    """The class of classes which stand in for what is not there: any use of one is the class again.

    It is false and empty, so that who registers models or makes forms of them has nothing to do.
    """

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __bool__(cls) -> bool:
        return False

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __and__ = __rand__ = __xor__ = __rxor__ = __or__

    def __invert__(cls) -> Any:
        return cls
