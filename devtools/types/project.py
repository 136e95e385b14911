"""A copy of the bookshop project with its facades and the type cases, ready for a checker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from devtools.types.cases import CASES

__all__ = ["BOOKSHOP", "ROOT", "environment", "generate", "prepare"]

ROOT = Path(__file__).resolve().parents[2]
BOOKSHOP = ROOT / "tests" / "codegen" / "projects" / "bookshop"
#: What the cases need besides, with settings of its own.
ADDITIONS = ROOT / "tests" / "typing" / "project"


def prepare(folder: Path, python: Path | None = None) -> Path:
    """Put the project, its additions, its facades and the cases into *folder* and return it.

    *python* makes the facades, or that which runs this: they depend on its Django.
    """
    for source in (BOOKSHOP, ADDITIONS):
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    generate(folder, python=python)
    shutil.copytree(CASES, folder / "cases")
    return folder


def environment(project: Path) -> dict[str, str]:
    """Return the environment variables in which *project* runs with this checkout's turbo_orm."""
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{project}",
        "DJANGO_SETTINGS_MODULE": "settings",
    }


def generate(project: Path, *arguments: str, python: Path | None = None) -> None:
    """Run `turbo_generate` in *project*, by *python* or by that which runs this.

    Raises `RuntimeError` with what it printed, if it fails.
    """
    finished = subprocess.run(
        [str(python or sys.executable), "-m", "django", "turbo_generate", *arguments],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"turbo_generate failed:\n{finished.stdout}{finished.stderr}")
