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
