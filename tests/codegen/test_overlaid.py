"""Managers which are not what the hand-written class has there."""

from __future__ import annotations

import pytest

from tests.codegen.support import Project

_MODELS = """\
from django.db import models
from turbo_orm import AsyncManager, AsyncQuerySet


class PlaceQuerySet(AsyncQuerySet):
    pass


class OpenManager(AsyncManager):
    pass


class Place(models.Model):
    name = models.CharField(max_length=10)
    near = models.ManyToManyField("self", help_text="Not far.")
    objects = AsyncManager.from_queryset(PlaceQuerySet)()
    named = OpenManager()
    opened = OpenManager.from_queryset(PlaceQuerySet)()


class Cafe(Place):
    objects = AsyncManager()


class Plain(models.Model):
    objects = AsyncManager()
"""
_SETTINGS = """\
SECRET_KEY = "x"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["turbo_orm", "places"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> str:
    project = Project(tmp_path_factory.mktemp("project"))
    project.write("settings.py", _SETTINGS)
    project.write("places/__init__.py", "")
    project.write("places/models.py", _MODELS)
    finished = project.generate()
    assert finished.returncode == 0, finished.stderr
    return (project.folder / "places" / "turbo.pyi").read_text(encoding="utf-8")


def _body(stub: str, name: str) -> str:
    _, found, rest = stub.partition(f"\nclass {name}(")
    if not found:
        _, found, rest = stub.partition(f"\nclass {name}:")
    return rest.partition("\nclass ")[0].partition("\n@type_check_only")[0] if found else ""


def test_managers_unlike_the_hand_written_are_in_a_base_before_it(stub: str) -> None:
    assert _body(stub, "_PlaceManagers").strip().splitlines() == [
        "near: PlaceManyManager[AutoThrough] = ...",
        '    """Not far."""',
        "    opened: ClassVar[PlaceOpenedManager] = ...",
    ]
    assert _body(stub, "Place").startswith("_PlaceManagers, _m.Place):\n")


def test_others_are_in_the_class_of_the_row(stub: str) -> None:
    body = _body(stub, "Place")
    assert "    objects: ClassVar[PlaceManager] = ...\n" in body
    assert "    named: ClassVar[PlaceNamedManager] = ...\n" in body
    assert "near:" not in body
    assert "opened:" not in body


def test_managers_of_a_child_are_not_those_of_its_parent(stub: str) -> None:
    assert "    objects: ClassVar[CafeManager] = ...\n" in _body(stub, "_CafeManagers") + "\n"
    assert _body(stub, "Cafe").startswith("_CafeManagers, _m.Cafe, Place):\n")


def test_without_such_managers_there_is_no_base(stub: str) -> None:
    assert "_PlainManagers" not in stub
    assert "\nclass Plain(_m.Plain):\n" in stub
