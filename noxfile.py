"""The test suite over Pythons, Djangos and engines: `python3 dev.py matrix`.

`python3 dev.py matrix --list` shows the cells, `--session NAME` runs one. A cell whose Python this machine
lacks is skipped; none is ever downloaded.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import nox

from devtools.bootstrap.pythons import pyenv_folders

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

# nox and uv look on PATH, where pyenv has only commands which fail for a version that is not active.
os.environ["PATH"] = os.pathsep.join([*map(str, pyenv_folders()), os.environ.get("PATH", os.defpath)])
os.environ["UV_PYTHON_DOWNLOADS"] = "never"


class Cell(NamedTuple):
    """One combination, and the django-async-backend whose engine it uses, if any."""

    python: str
    django: str
    async_backend: str | None = None

    @property
    def name(self) -> str:
        return f"py{self.python}-dj{self.django}"

    @property
    def requirements(self) -> list[str]:
        pinned = [f"Django=={self.django}.*"]
        if self.async_backend is not None:
            pinned.append(f"django-async-backend=={self.async_backend}.*")
        return pinned


CELLS = (
    Cell("3.10", "4.2"),
    Cell("3.10", "5.2"),
    Cell("3.11", "4.2"),
    Cell("3.11", "5.2"),
    Cell("3.12", "4.2"),
    Cell("3.12", "5.2"),
    Cell("3.12", "6.0", async_backend="6.0"),
    Cell("3.12", "6.1", async_backend="6.1"),
    Cell("3.13", "4.2"),
    Cell("3.13", "5.2"),
    Cell("3.13", "6.0", async_backend="6.0"),
    Cell("3.13", "6.1", async_backend="6.1"),
    Cell("3.14", "5.2"),
    Cell("3.14", "6.0", async_backend="6.0"),
    Cell("3.14", "6.1", async_backend="6.1"),
    Cell("3.15", "6.1", async_backend="6.1"),
)


def _run(session: nox.Session, cell: Cell) -> None:
    session.install("--editable", ".", "--group", "test", *cell.requirements)
    engine = "django" if cell.async_backend is None else "async_backend"
    # The set-up is the same in every cell: `python3 dev.py test` tests it.
    arguments = ["--ignore", "tests/setup", *session.posargs]
    session.run("python", "-m", "pytest", *arguments, env={"TURBO_TEST_ENGINE": engine})


for _cell in CELLS:

    @nox.session(name=_cell.name, python=_cell.python)
    def _(session: nox.Session, cell: Cell = _cell) -> None:
        _run(session, cell)
