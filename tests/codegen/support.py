"""Runs `turbo_generate` in copies of small projects, as a user would: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PROJECTS", "ROOT", "Project"]

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = Path(__file__).with_name("projects")


class Project:
    """A project in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a management command and return how it ended."""
        return self.python("-m", "django", *arguments, **environment)

    def generate(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.manage("turbo_generate", *arguments, **environment)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a management command which runs until it is interrupted."""
        return subprocess.Popen(
            [sys.executable, "-m", "django", *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            text=True,
        )

    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment(**environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def _environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}",
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def write_apps(self, settings: str, models: Mapping[str, str]) -> None:
        """Write a project: its settings, and the models of each app."""
        self.write("settings.py", settings)
        for app, text in models.items():
            self.write(f"{app}/__init__.py", "")
            self.write(f"{app}/models.py", text)

    def class_lines(self, app: str, class_name: str) -> list[str]:
        """The lines in the body of a class of the app's stub."""
        _, _, rest = self.read(f"{app}/turbo.pyi").partition(f"\nclass {class_name}(")
        body = rest.split("\n")[1:]
        end = next(index for index, line in enumerate(body) if not line.startswith("    "))
        return [line.strip() for line in body[:end]]

    def read(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        """Edit a file; the test is wrong if it does not hold ``old``."""
        text = self.read(path)
        assert old in text
        self.write(path, text.replace(old, new))

    def facades(self) -> dict[str, bytes]:
        """Return the contents of all generated files, by path."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("turbo.py*"))
        }
