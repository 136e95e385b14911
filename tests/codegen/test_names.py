"""Names and texts of models which need care in source code."""

from __future__ import annotations

import ast
import re

import pytest

from tests.codegen.support import Project
from turbo_orm.codegen.naming import is_name

_MODELS = """
from django.db import models
from turbo_orm import AsyncManager

class School(models.Model):
    '''A "school"'''
    name = models.CharField(max_length=20, help_text='A "name"\\\\')
    objects = AsyncManager()

class Class(models.Model):
    '''Three: \"\"\" and a backslash: \\\\ and "'''
    school = models.ForeignKey(School, models.CASCADE)
    objects = AsyncManager()

class Pass(models.Model):
    school = models.OneToOneField(School, models.CASCADE)
    other = models.ForeignKey(School, models.CASCADE, related_name="others", related_query_name="my-thing")
    objects = AsyncManager()
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("title", True), ("class", False), ("None", False), ("my-thing", False), ("", False)],
)
def test_names(text: str, expected: bool) -> None:
    assert is_name(text) is expected


@pytest.mark.slow
def test_ways_back_which_are_no_names(notes: Project) -> None:
    notes.write("notes/models.py", _MODELS)
    finished = notes.generate()
    assert finished.returncode == 0, finished.stderr
    stub = notes.read("notes/turbo.pyi")
    ast.parse(stub)
    assert " class: " not in stub
    assert re.search(r" class__in: .* class__isnull: ", stub)
    assert " class__school: " in stub
    assert "my-thing__in" not in stub
    for path in ("class_set", "pass", "my-thing", "my-thing__id"):
        assert f'"{path}"' in stub


_NEWS = """
from __future__ import annotations
from django.db import models
from typing_extensions import Self
from turbo_orm import AsyncManager, AsyncQuerySet

class ItemQuerySet(AsyncQuerySet):
    def fresh(self) -> Self:
        return self.filter(pk__gt=9)

class Item(models.Model):
    objects = AsyncManager.from_queryset(ItemQuerySet)()
"""


@pytest.mark.slow
@pytest.mark.parametrize("app", ["abc_news", "typing_lab"])
def test_methods_in_an_app_which_is_called_nearly_like_a_module_of_pythons(notes: Project, app: str) -> None:
    notes.write("settings.py", notes.read("settings.py") + f"INSTALLED_APPS += [{app!r}]\n")
    notes.write(f"{app}/__init__.py", "")
    notes.write(f"{app}/models.py", _NEWS)
    finished = notes.generate(app)
    assert finished.returncode == 0, finished.stderr
    assert "    def fresh(self) -> ItemQuerySet[_R]: ..." in notes.read(f"{app}/turbo.pyi")
