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
from django.db.utils import load_backend

from turbo_orm.bridge.databases import own_pool_options
from turbo_orm.conf import get_config
from turbo_orm.instance import is_managed

__all__ = ["check_databases", "check_settings"]


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """``turbo_orm.E001``: the ``TURBO_ORM`` setting can't be read, or the options of a pool."""
    try:
        get_config()
        for alias in connections.settings:
            if _vendor(alias) == "postgresql":
                own_pool_options(alias)
    except ImproperlyConfigured as exc:
        return [checks.Error(str(exc), id="turbo_orm.E001")]
    return []


def check_databases(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """``turbo_orm.W002``: a model with an `AsyncManager` is read from another kind of database."""
    found: list[CheckMessage] = []
    for model in apps.get_models():
        if app_configs is not None and model._meta.app_config not in app_configs:
            continue
        if not is_managed(model):
            continue
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


def _vendor(alias: str) -> str:
    return str(load_backend(connections.settings[alias]["ENGINE"]).DatabaseWrapper.vendor)
