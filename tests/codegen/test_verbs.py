"""Stubs of managers have all verbs there are at run time: stubtest compares no inherited methods."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db.models import Manager

import turbo_orm
from tests.codegen.support import PROJECTS
from turbo_orm import AsyncManager, AsyncQuerySet

STUBS = [PROJECTS / "golden/minimal/turbo.pyi", Path(turbo_orm.__file__).with_name("typing.pyi")]

CLASSES = {
    node.name: node
    for path in reversed(STUBS)
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef)
}


def said(name: str) -> Iterator[str]:
    """The names in a generated class and its bases, but in `AsyncManager`, which knows no model's types."""
    node = CLASSES.get(name)
    if node is None or name == "AsyncManager":
        return
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each.name
        elif isinstance(each, ast.AnnAssign):
            yield ast.unparse(each.target)
    for base in node.bases:
        yield from said(ast.unparse(base).partition("[")[0])


@pytest.mark.parametrize("stub", ["NoteManager", "NoteManyManager", "NoteRelatedManager"])
def test_managers_have_all_verbs(stub: str) -> None:
    verbs = {
        name for name in dir(AsyncManager) if inspect.iscoroutinefunction(getattr(AsyncQuerySet, name, None))
    }
    names = verbs | ({*dir(AsyncManager)} - {*dir(Manager)} - {"is_turbo_manager"})
    assert {"alist", "aget", "araw", "columns"} <= names
    assert {name for name in names if not name.startswith("_")} - {*said(stub)} == set()
