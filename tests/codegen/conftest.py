"""Projects to generate for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.codegen.support import PROJECTS, Project

_MODELS = """
from django.db import models
from turbo_orm import AsyncManager

class Note(models.Model):
    text = models.CharField(max_length=10)
    objects = AsyncManager()
"""
_SETTINGS = """
SECRET_KEY = "tests"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["turbo_orm", "notes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}
"""


@pytest.fixture
def bookshop(tmp_path: Path) -> Project:
    """The bookshop, without facades."""
    shutil.copytree(
        PROJECTS / "bookshop",
        tmp_path / "bookshop",
        ignore=shutil.ignore_patterns("__pycache__", "turbo.py*"),
    )
    return Project(tmp_path / "bookshop")


@pytest.fixture
def notes(tmp_path: Path) -> Project:
    """The smallest project there is: one app with one model."""
    project = Project(tmp_path / "project")
    project.write("settings.py", _SETTINGS)
    project.write("notes/__init__.py", "")
    project.write("notes/models.py", _MODELS)
    return project
