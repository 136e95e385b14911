"""The system checks of the runtime; those of the generator are in `tests/codegen/test_checks.py`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.core.checks import run_checks
from django.core.checks.registry import registry
from django.db import connections, models
from django.test import override_settings
from django.test.utils import isolate_apps

from tests.project.library.models import Book, BookQuerySet
from turbo_orm import AsyncManager, checks
from turbo_orm.checks import check_databases, check_managers, check_settings
from turbo_orm.codegen import checks as codegen_checks


@pytest.mark.parametrize("module", [checks, codegen_checks])
def test_every_check_is_registered(module: ModuleType) -> None:
    assert {getattr(module, name) for name in module.__all__} <= set(registry.get_checks())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "must be a dictionary such as"),
        ({"maxsize": 3}, "has unknown keys: maxsize"),
        ({"reset": print, "check": print}, "has check, reset for the connections of sync code"),
    ],
)
def test_bad_options_of_a_database(given: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "pool", given)
    [found] = check_settings(None)
    assert found.id == "turbo_orm.E001"
    assert found.msg.startswith(f'DATABASES[\'default\']["OPTIONS"]["pool"] {message}')


def test_a_bad_setting() -> None:
    assert check_settings(None) == []
    with override_settings(TURBO_ORM={"NO": 1}):
        assert "turbo_orm.E001" in [found.id for found in run_checks()]


def test_a_model_in_another_kind_of_database() -> None:
    with override_settings(DATABASE_ROUTERS=[_EverythingInSqlite()]):
        connections.settings["sqlite"] = {
            **connections["default"].settings_dict,
            "ENGINE": "django.db.backends.sqlite3",
        }
        try:
            found = check_databases(None)
        finally:
            del connections.settings["sqlite"]
    assert "library.Author has an AsyncManager" in str([warning.msg for warning in found])


class _EverythingInSqlite:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "sqlite"


class _Rows(models.QuerySet):  # type: ignore[type-arg]
    pass


class _GivesPlain(AsyncManager):
    def get_queryset(self) -> Any:
        return _Rows(self.model, using=self._db)


class _WantsATenant(models.Manager):  # type: ignore[type-arg]
    def get_queryset(self) -> Any:
        raise LookupError("no tenant")


@isolate_apps("tests.project.library")
def test_a_check_finds_managers_that_are_half_async(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(models.Model):
        objects = _GivesPlain()

        class Meta:
            app_label = "library"

    class OtherHalf(models.Model):
        objects = models.Manager.from_queryset(BookQuerySet)()
        tenants = _WantsATenant()

        class Meta:
            app_label = "library"

    monkeypatch.setattr(apps, "get_models", lambda: [Half, OtherHalf, Book, Group])
    half, other = check_managers(None)
    assert (half.id, half.obj, other.obj) == ("turbo_orm.W003", Half, OtherHalf)
    assert "library.Half.objects is an AsyncManager, and its get_queryset() makes _Rows objects" in half.msg
    assert half.hint == "Let it make objects of turbo_orm.AsyncQuerySet, or of a class derived from it."
    assert "library.OtherHalf.objects makes BookQuerySet objects, which are async" in other.msg


def test_the_managers_of_the_project_are_not_half_async() -> None:
    assert check_managers(None) == []
