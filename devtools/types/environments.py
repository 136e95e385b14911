"""The environments a project may be checked in: which stubs of Django are installed, and mypy's plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import django

from devtools.types.project import ROOT

__all__ = ["ENVIRONMENTS", "VERSIONS", "Environment"]

#: What the project imports, besides Django.
_RUNTIME = (
    "psycopg[binary,pool]",
    "greenlet",
    "jinja2",
    "typing_extensions",
    "tomli; python_version < '3.11'",
)
_THIS_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass(frozen=True)
class Environment:
    """A set of packages, and how mypy is configured in it."""

    name: str
    packages: tuple[str, ...]
    plugin: bool = False
    #: Whether mypy must be told that Django has no types.
    untyped: bool = False
    #: The version of Python, and the requirement of Django: those of the environment this runs in.
    version: str = _THIS_PYTHON
    django: str = f"django=={django.__version__}"

    def python(self) -> Path:
        """Return its interpreter, after making the environment where that is needed."""
        folder = ROOT / ".dev" / "types" / f"{self.version}-{self.name}"
        python = folder / "bin" / "python"
        if not (folder / "complete").exists():
            uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
            if uv is None:
                raise RuntimeError("uv is needed to make environments: run `python3 dev.py types`.")
            shutil.rmtree(folder, ignore_errors=True)
            interpreter = sys.executable if self.version == _THIS_PYTHON else self.version
            subprocess.run([uv, "venv", "-q", "-p", interpreter, str(folder)], check=True)
            packages = (self.django, *_RUNTIME, *self.packages)
            subprocess.run([uv, "pip", "install", "-q", "-p", str(python), *packages], check=True)
            (folder / "complete").touch()
        return python


ENVIRONMENTS = (
    Environment("django-stubs", ("django-stubs",)),
    Environment("django-stubs + plugin", ("django-stubs",), plugin=True),
    Environment("django-types", ("django-types",)),
    Environment("no stubs", (), untyped=True),
)


def _release(python: str, number: str, stubs: str) -> Environment:
    return Environment(
        f"Django {number}", (f"django-stubs=={stubs}.*",), version=python, django=f"django=={number}.*"
    )


#: The oldest and the newest Python with each Django that runs there, and django-stubs of its time.
VERSIONS = (
    _release("3.10", "4.2", "4.2"),
    _release("3.10", "5.2", "5.2"),
    _release("3.13", "4.2", "4.2"),
    _release("3.13", "5.2", "5.2"),
    _release("3.13", "6.1", "6.1"),
)
