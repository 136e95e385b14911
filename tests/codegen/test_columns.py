"""What the stub offers for a kind of column is what such a column has at run time."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.postgres.fields import HStoreField
from django.db import models
from django.db.models import Q
from django.test.utils import isolate_apps

import turbo_orm
from tests.codegen.test_values import FIELDS
from turbo_orm import Column
from turbo_orm.codegen.annotations import AnnotationReader
from turbo_orm.codegen.expressions import split_union, substitute
from turbo_orm.codegen.fields import FieldReader, column_of
from turbo_orm.codegen.options import Options
from turbo_orm.columns import Columns

STUB = ast.parse(Path(turbo_orm.__file__).with_name("typing.pyi").read_text(encoding="utf-8"))
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
#: What expressions have, and not lookups.
NOT_CONDITIONS = {"asc", "desc", "lookup", "resolve_expression"}

ALL = {**{name: field for name, (field, _) in FIELDS.items()}, "pairs": HStoreField()}


@pytest.fixture(scope="module")
def model() -> Iterator[type[models.Model]]:
    with isolate_apps("tests.codegen"):
        body = {name: field.clone() for name, field in ALL.items()}
        meta = type("Meta", (), {"app_label": "codegen"})
        yield type("Wide", (models.Model,), {"__module__": __name__, "Meta": meta, **body})


def bases(name: str) -> list[ast.ClassDef]:
    """The class ``name`` of the stub and its bases there."""
    found = [CLASSES[name]]
    for base in CLASSES[name].bases:
        called = ast.unparse(base).partition("[")[0]
        if called in CLASSES:
            found += bases(called)
    return found


def members(name: str) -> tuple[set[str], set[str]]:
    """The methods and the attributes of a class of columns."""
    nodes = [node for base in bases(name) for node in base.body]
    methods = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    attributes = {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    return {method for method in methods if not method.startswith("__")} - NOT_CONDITIONS, attributes - {
        "name"
    }


def kind(model: type[models.Model], name: str) -> Any:
    return FieldReader(Options(), AnnotationReader(lambda _: "", {})).value_type(model._meta.get_field(name))


def class_of(model: type[models.Model], name: str) -> str:
    return re.sub(r"\W|turbo_orm.typing", "", column_of(kind(model, name)).kind)


@pytest.mark.parametrize("name", ["id", *ALL])
def test_columns_have_the_methods_and_attributes_of_their_class(model: type[models.Model], name: str) -> None:
    column = getattr(Columns(model), name)
    methods, attributes = members(class_of(model, name))
    assert {"eq", "ne", "in_", "isnull"} <= methods
    for method in methods:
        values: tuple[Any, ...] = {"isnull": (), "in_": ([],), "range": (1, 2)}.get(method, (1,))
        assert isinstance(getattr(column, method)(*values), Q)
    for attribute in attributes:
        assert isinstance(getattr(column, attribute), Column)
    if any(
        getattr(node, "name", "") == "__getitem__"
        for base in bases(class_of(model, name))
        for node in base.body
    ):
        assert isinstance(column[0], Column)


@pytest.mark.parametrize("name", ["id", *ALL])
def test_the_class_of_a_column_says_its_values_type(model: type[models.Model], name: str) -> None:
    found = kind(model, name)
    described = column_of(found)
    if described.row:
        assert described.row == (found.row or found.read)
        return
    base = CLASSES[class_of(model, name)].bases[0]
    assert isinstance(base, ast.Subscript)
    assert isinstance(base.slice, ast.Tuple)
    value, accepted = (ast.unparse(part) for part in base.slice.elts[1:3])
    spelled = substitute(found.row or found.read, lambda module, qualname: qualname)
    assert [part for part in split_union(value) if part != "_Null"] == split_union(spelled)
    if "Value" in accepted:
        assert accepted == substitute(found.value, lambda module, qualname: qualname)


def test_all_classes_of_columns_are_seen(model: type[models.Model]) -> None:
    seen = {class_of(model, name) for name in ["id", *ALL]}
    columns = {name for name in CLASSES if name.endswith("Column")}
    assert columns - seen == {"OrderedColumn", "TextColumn"}  # of fields which are not Django's own
