"""System checks of the runtime: settings that would surprise in production.

https://docs.djangoproject.com/en/stable/ref/checks/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import Model
from django.db.utils import load_backend

from turbo_orm.bridge.databases import own_pool_options
from turbo_orm.conf import get_config, get_observers
from turbo_orm.instance import is_managed
from turbo_orm.manager import AsyncManager
from turbo_orm.queryset import AsyncQuerySet

__all__ = ["check_databases", "check_managers", "check_settings"]


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """``turbo_orm.E001``: the ``TURBO_ORM`` setting can't be read, or the options of a pool."""
    try:
        get_config()
        get_observers()
        for alias in connections.settings:
            if _vendor(alias) == "postgresql":
                own_pool_options(alias)
    except ImproperlyConfigured as exc:
        return [checks.Error(str(exc), id="turbo_orm.E001")]
    return []


def check_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """``turbo_orm.W002``: a model with an `AsyncManager` is read from another kind of database."""
    found: list[CheckMessage] = []
    for model in filter(is_managed, _models(app_configs)):
        alias = router.db_for_read(model)
        vendor = _vendor(alias)
        if vendor != "postgresql":
            found.append(
                checks.Warning(
                    f"{model._meta.label} has an AsyncManager, and is read from database "
                    f"{alias!r}, which is {vendor}: its a-methods will raise "
                    "UnsupportedDatabaseError.",
                    hint="Route the model to a PostgreSQL database.",
                    obj=model,
                    id="turbo_orm.W002",
                )
            )
    return found


def check_managers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """``turbo_orm.W003``: of a manager and its querysets one is async, the other Django's."""
    found: list[CheckMessage] = []
    for model in _models(app_configs):
        for manager in model._meta.managers:
            try:
                rows: Any = type(manager.get_queryset())
            except Exception:  # it wants what a command has not: a tenant, a request
                continue
            name, kind = f"{model._meta.label}.{manager.name}", rows.__name__
            if isinstance(manager, AsyncManager) and not issubclass(rows, AsyncQuerySet):
                said = (
                    f"{name} is an AsyncManager, and its get_queryset() makes {kind} objects, which are not "
                    "async: the a-methods run in threads."
                )
                hint = "Let it make objects of turbo_orm.AsyncQuerySet, or of a class derived from it."
            elif issubclass(rows, AsyncQuerySet) and not is_managed(model):
                said = (
                    f"{name} makes {kind} objects, which are async, and is no AsyncManager: asave() and the "
                    "other a-methods of its rows run in threads."
                )
                hint = "Derive its class from turbo_orm.AsyncManager in the place of models.Manager."
            else:
                continue
            found.append(checks.Warning(said, hint=hint, obj=model, id="turbo_orm.W003"))
    return found


def _models(app_configs: Sequence[AppConfig] | None) -> list[type[Model]]:
    """Return the models of *app_configs*, all of them by default."""
    models = apps.get_models()
    return [model for model in models if app_configs is None or model._meta.app_config in app_configs]


def _vendor(alias: str) -> str:
    return str(load_backend(connections.settings[alias]["ENGINE"]).DatabaseWrapper.vendor)
