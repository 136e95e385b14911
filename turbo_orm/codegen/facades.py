"""Which apps get a facade, where it stands, and which models are in it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from django.apps import AppConfig, apps
from django.db.models import Model

from turbo_orm.codegen.annotations import is_importable
from turbo_orm.codegen.managers import has_async_manager
from turbo_orm.codegen.options import Options
from turbo_orm.errors import CodegenError

__all__ = ["Facade", "find_facades", "why_no_facade"]


@dataclass(frozen=True)
class Facade:
    """The two files generated for an app."""

    label: str
    #: The dotted path of the module, and where its files stand without their suffix.
    module: str
    path: Path
    models: tuple[type[Model], ...]

    @property
    def stub(self) -> Path:
        return self.path.with_suffix(".pyi")


def find_facades(options: Options) -> dict[str, Facade]:
    """Return the facades by their app's label: of the project's apps, and those in its packages.

    Raises `CodegenError` for a package which isn't one.
    """
    facades = {}
    for config in sorted(apps.get_app_configs(), key=lambda config: config.label):
        if config.label in options.facades:
            facades[config.label] = _in_package(config, options.facades[config.label])
        elif _is_projects(config) and any(map(has_async_manager, config.get_models())):
            models = tuple(filter(has_async_manager, config.get_models()))
            facades[config.label] = Facade(
                config.label, f"{config.name}.turbo", Path(config.path) / "turbo", models
            )
    for label in options.facades:
        if label not in facades:
            raise CodegenError(_unknown(label, list(facades)))
    return facades


def _in_package(config: AppConfig, module: str) -> Facade:
    """The facade, in the module *module*, of an app which cannot be edited."""
    package, _, name = module.rpartition(".")
    try:
        folders = list(importlib.import_module(package).__path__) if package else []
    except (ImportError, AttributeError):
        folders = []
    if not folders or not name.isidentifier():
        raise CodegenError(
            f"The facade of {config.label!r} is to be the module {module!r}, but {package!r} is not a "
            "package. Make a folder of that name with an __init__.py, or give another package."
        )
    models = tuple(model for model in config.get_models() if is_importable(model))
    if not models:
        raise CodegenError(f"The app {config.label!r} has no models, so there is nothing to generate.")
    return Facade(config.label, module, Path(folders[0]) / name, models)


def why_no_facade(label: str, known: list[str]) -> str:
    """Say why the app called *label* has no facade, and what would give it one."""
    try:
        config = apps.get_app_config(label)
    except LookupError:
        return _unknown(label, known)
    if _is_projects(config):
        return (
            f"No model of the app {label!r} has an AsyncManager, so there is nothing to generate. "
            "Add `objects = AsyncManager()` to a model (from turbo_orm import AsyncManager)."
        )
    return (
        f"The app {label!r} is an installed package's. To write its facade into a package of the project's, "
        f"run `manage.py turbo_generate --package PACKAGE {label}`."
    )


def _unknown(label: str, known: list[str]) -> str:
    return (
        f"There is no app with the label {label!r} in INSTALLED_APPS. "
        f"Apps to generate for: {', '.join(known) or 'none'}."
    )


def _is_projects(config: AppConfig) -> bool:
    """Whether the app's folder is the project's own, and not an installed package's.

    Not whether it can be written: in a container that checks the facades it often cannot.
    """
    return not {"site-packages", "dist-packages"} & set(Path(config.path).resolve().parts)
