"""The environments a project may be checked in: which stubs of Django are installed, and mypy's plugin."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import django

from devtools.types.project import ROOT

__all__ = ["ENVIRONMENTS", "Environment"]

#: What the project imports, at the versions of the environment this runs in.
_RUNTIME = (
    f"django=={django.__version__}",
    "psycopg[binary,pool]",
    "greenlet",
    "jinja2",
    "typing_extensions",
)


@dataclass(frozen=True)
class Environment:
    """A set of packages, and how mypy is configured in it."""

    name: str
    packages: tuple[str, ...]
    plugin: bool = False
    #: Whether mypy must be told that Django has no types.
    untyped: bool = False

    def python(self) -> Path:
        """Return its interpreter, after making the environment where that is needed."""
        folder = ROOT / ".dev" / "types" / f"{sys.version_info[0]}.{sys.version_info[1]}-{self.name}"
        python = folder / "bin" / "python"
        if not (folder / "complete").exists():
            uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{_path()}")
            if uv is None:
                raise RuntimeError("uv is needed to make environments: run `python3 dev.py types`.")
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
            packages = (*_RUNTIME, *self.packages)
            subprocess.run([uv, "pip", "install", "-q", "-p", str(python), *packages], check=True)
            (folder / "complete").touch()
        return python


def _path() -> str:
    import os

    return os.environ.get("PATH", "")


ENVIRONMENTS = (
    Environment("django-stubs", ("django-stubs",)),
    Environment("django-stubs + plugin", ("django-stubs",), plugin=True),
    Environment("django-types", ("django-types",)),
    Environment("no stubs", (), untyped=True),
)
