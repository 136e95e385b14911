"""Annotations which Python 3.14 does not evaluate until they are asked for: names may be missing then."""

from __future__ import annotations

import sys

import pytest

from tests.codegen.support import Project

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="such names are errors before Python 3.14")

_MODELS = """\
from typing import TYPE_CHECKING
from django.db import models
from turbo_orm import AsyncManager, AsyncQuerySet

if TYPE_CHECKING:
    from decimal import Decimal
    from typing import Self
    from notes.shades import Shade


class ShadeField(models.CharField):
    def from_db_value(self, value, expression, connection) -> Shade | None: ...


class Plain(models.Field):
    pass


class NoteQuerySet(AsyncQuerySet):
    def same(self, shade: Shade, number: int = 0) -> Self: ...
    async def newest(self) -> Note | None: ...
    def others(self) -> AsyncQuerySet[Note]: ...
    def parts[T](self, one: T, shade: Shade) -> list[Decimal]: ...


class Note(models.Model):
    shade = ShadeField(max_length=10)
    price: Decimal = Plain(default=0)
    missing: Nowhere = Plain(default=0)
    objects = AsyncManager.from_queryset(NoteQuerySet)()

    def save(self, *args: Nowhere, shade: Shade | None = None, **kwargs: Nowhere) -> None: ...
    async def asave(self, *args: Nowhere, **kwargs: Nowhere) -> None: ...
"""


@pytest.fixture
def stub(notes: Project) -> list[str]:
    notes.write("notes/models.py", _MODELS)
    notes.write("notes/shades.py", "class Shade: ...")
    finished = notes.generate()
    assert finished.returncode == 0, finished.stderr
    return [line.strip() for line in notes.read("notes/turbo.pyi").splitlines()]


def test_they_are_read_as_they_are_written(stub: list[str]) -> None:
    assert "def same(self, shade: Shade, number: int = ...) -> NoteQuerySet[Note]: ..." in stub
    assert "async def newest(self) -> Note | None: ..." in stub
    assert "def others(self) -> NoteQuerySet[Note]: ..." in stub
    assert "def parts(self, one: Any, shade: Shade) -> list[Decimal]: ..." in stub


def test_fields_are_what_their_annotations_say(stub: list[str]) -> None:
    assert {"shade: Shade", "price: Decimal", "missing: Any"} <= set(stub)


def test_methods_of_rows_keep_parameters_of_their_own(stub: list[str]) -> None:
    assert not any(line.startswith("def save(") for line in stub)
    assert any(line.startswith("async def asave(") for line in stub)
