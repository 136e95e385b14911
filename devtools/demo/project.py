"""The example project as a set of commands: `manage.py` and mypy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.errors import SetupError

__all__ = ["Project", "TypeCheck"]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "example"
_MISSPELT = """\
from shop.turbo import Book


async def misspelt() -> None:
    await Book.objects.filter(titel__icontains="lighthouse").alist()
"""


@dataclass(frozen=True)
class TypeCheck:
    """What mypy said about the views, and about a view with a misspelt lookup."""

    files: int
    errors: Sequence[str]
    rejection: str | None


class Project:
    """A copy of the book shop in *folder*, on the database at *url*.

    A copy, because what `turbo_generate` writes depends on the Django installed, and ours is committed.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder / "example"
        unwanted = shutil.ignore_patterns("__pycache__", ".*_cache")
        shutil.copytree(EXAMPLE, self.folder, ignore=unwanted)
        self.environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def manage(self, *arguments: str) -> None:
        """Run `manage.py`; its output is shown, its failure becomes one sentence."""
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if result.returncode == 0:
            sys.stderr.write(result.stderr)
            return
        if "No space left on device" in result.stderr:
            raise SetupError("The database's disk is full: free some space and run the demo again.")
        reason = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise SetupError(f"manage.py {' '.join(arguments)} failed: {reason[0]}")

    def check_types(self) -> TypeCheck:
        """Run mypy over the views, and over one more in which a lookup is misspelt."""
        views = sorted(path.relative_to(self.folder) for path in self.folder.glob("shop/views/*.py"))
        misspelt = self.folder / "misspelt.py"
        misspelt.write_text(_MISSPELT)
        result = subprocess.run(
            [
                sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "--no-pretty",
                "--cache-dir", str(Path(sys.prefix, "mypy-cache")), *map(str, views), str(misspelt),
            ],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        misspelt.unlink()
        if result.returncode not in (0, 1):
            raise SetupError(f"mypy did not run: {' '.join((result.stderr or result.stdout).split())[:300]}")
        lines = [line for line in result.stdout.splitlines() if ": error:" in line]
        rejections = [line.partition(" error: ")[2] for line in lines if "misspelt.py" in line]
        errors = [line for line in lines if "misspelt.py" not in line]
        return TypeCheck(len(views), errors, rejections[0] if rejections else None)
