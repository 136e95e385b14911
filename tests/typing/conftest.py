"""A project with facades, made once for all type checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.types.project import prepare


@pytest.fixture(scope="session")
def bookshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("typing") / "bookshop")
