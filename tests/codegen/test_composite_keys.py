"""Composite primary keys, of Django 5.2 and newer."""

from __future__ import annotations

import django
import pytest

from tests.codegen.support import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(django.VERSION < (5, 2), reason="this Django has no composite primary keys"),
]

MODELS = """
from django.db import models
from turbo_orm import AsyncManager

class Product(models.Model):
    name = models.CharField(max_length=10)
    objects = AsyncManager()

class Line(models.Model):
    pk = models.CompositePrimaryKey("product_id", "code")
    product = models.ForeignKey(Product, models.CASCADE, related_name="lines")
    code = models.CharField(max_length=3)
    objects = AsyncManager()
"""


@pytest.fixture
def stub(notes: Project) -> str:
    notes.write("notes/models.py", MODELS)
    finished = notes.generate()
    assert finished.returncode == 0, finished.stderr
    return notes.read("notes/turbo.pyi")


def test_the_key_is_a_tuple_of_its_columns(stub: str) -> None:
    assert "\n    pk: tuple[int, str]\n" in stub
    bases = next(line for line in stub.splitlines() if line.startswith("class LineQueries("))
    assert ", Writes[_m.Line, Line, LineField, tuple[int, str], tuple[int, str]], " in bases


def test_lookups_are_those_which_django_has_for_it(stub: str) -> None:
    assert "\n_TupleIntStrOrExpr: TypeAlias = tuple[int, str] | Expr\n" in stub
    lookups = next(line for line in stub.splitlines() if " pk: _TupleIntStrOrExpr = ...," in line)
    assert "pk__in: Iterable[tuple[int, str] | Expr] | Expr = ..." in lookups
    assert "pk__gt: _TupleIntStrOrExpr = ..." in lookups
    assert "pk__range" not in lookups


def test_the_columns_are_those_of_the_table(stub: str) -> None:
    assert 'LineField: TypeAlias = Literal["product", "product_id", "code"]' in stub
    assert "class LineRow(TypedDict):\n    product_id: int\n    code: str\n" in stub


def test_behind_a_relation(stub: str) -> None:
    assert "lines__pk: _TupleIntStrOrExpr = ..." in stub
    assert '_ProductPathTupleIntNoneStrNone: TypeAlias = Literal["lines", "lines__pk"]' in stub
    assert "values_list(self, field: _ProductPathTupleIntNoneStrNone, /, *, flat: Literal[True]) -> " in stub
    assert "ProductQuerySet[tuple[int | None, str | None]]" in stub
