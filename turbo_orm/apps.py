"""The Django app: the `turbo_generate` command and the system checks."""

from __future__ import annotations

import sys
from typing import Any

from django.apps import AppConfig
from django.core import checks

__all__ = ["TurboOrmConfig"]


class TurboOrmConfig(AppConfig):
    """Add ``"turbo_orm"`` to ``INSTALLED_APPS`` to get it."""

    name = "turbo_orm"
    verbose_name = "django-turbo-orm"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        # No models have been imported yet, nor have the facades that they and others import.
        if sys.argv[1:2] == ["turbo_generate"]:
            from turbo_orm.codegen import standins

            standins.install()

    def ready(self) -> None:
        from turbo_orm import loading, related
        from turbo_orm.bridge.async_backend import setup
        from turbo_orm.checks import check_databases, check_managers, check_settings
        from turbo_orm.codegen.checks import check_drift
        from turbo_orm.fetch_modes.older_django import descriptors

        related.install()  # again: contenttypes can be patched now
        descriptors.install()
        loading.install()
        setup.enable()
        checks.register(check_settings)
        checks.register(check_databases, checks.Tags.models)
        checks.register(check_managers, checks.Tags.models)
        checks.register(check_drift, checks.Tags.models)
