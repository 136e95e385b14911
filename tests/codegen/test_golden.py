"""The facades kept beside the models of the golden project are what is generated today."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from tests.codegen.support import PROJECTS, Project

pytestmark = pytest.mark.slow


def test_golden_facades_are_current(tmp_path: Path) -> None:
    shutil.copytree(PROJECTS / "golden", tmp_path / "golden", ignore=shutil.ignore_patterns("__pycache__"))
    finished = Project(tmp_path / "golden").generate("--check")
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_what_stays_any_is_told(tmp_path: Path) -> None:
    shutil.copytree(PROJECTS / "golden", tmp_path / "golden", ignore=shutil.ignore_patterns("__pycache__"))
    finished = Project(tmp_path / "golden").generate("typed")
    assert "note: typed.fields.OpaqueField is Any (typed.Everything.opaque)" in finished.stdout
    assert finished.stdout.count("note:") == 1


def test_golden_facades_are_python() -> None:
    files = list((PROJECTS / "golden").glob("*/turbo.py*"))
    assert len(files) >= 12
    for path in files:
        ast.parse(path.read_text(), str(path))


def test_no_golden_facade_is_too_long_to_review() -> None:
    stubs = list((PROJECTS / "golden").glob("*/turbo.pyi"))
    assert len(stubs) >= 6
    assert all(len(stub.read_text().splitlines()) < 700 for stub in stubs)
