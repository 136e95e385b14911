"""What is installed is complete: the wheel in an empty environment, and the checkout in an editable one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = os.environ.get("UV") or shutil.which("uv")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(UV is None, reason="uv builds the wheel; dev.py brings it along"),
]

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["turbo_orm", "library"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "nowhere"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
MODELS = """
from django.db import models
from turbo_orm import AsyncManager

class Book(models.Model):
    title = models.CharField(max_length=100)
    objects = AsyncManager()
"""

QUERY = """
import asyncio
import os

from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

server = conninfo_to_dict(os.environ["DATABASE_URL"])
names = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
database = {key: server.get(name, "") for key, name in names.items()}
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}})

from turbo_orm import cursor

async def main():
    async with cursor() as c:
        await c.execute("SELECT 6 * 7")
        print(await c.fetchone())

asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command outside the test's own environment; return what it printed."""
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    outside.update(environment, UV_PYTHON_DOWNLOADS="never")
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=outside, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files git knows, as a clone has them."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("turbo_orm", "templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built out of the source distribution, as a package index would get both."""
    folder = tmp_path_factory.mktemp("dist")
    run(str(UV), "build", "--quiet", "--out-dir", folder, cwd=checkout)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Django project of one app with one model."""
    app = tmp_path / "project" / "library"
    app.mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "models.py").write_text(MODELS)
    (app.parent / "settings.py").write_text(SETTINGS)
    return app.parent


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., Path]:
    """Make an empty environment with this Python and Django, install into it, return its Python."""
    import django

    this_django = f"Django=={django.get_version()}"

    def install(*requirement: str | Path, pinned: Sequence[str] = (this_django,)) -> Path:
        environment = tmp_path / "environment"
        run(str(UV), "venv", "--quiet", "--clear", "--python", sys.executable, environment, cwd=tmp_path)
        python = environment / "bin" / "python"
        run(str(UV), "pip", "install", "--quiet", "--python", python, *pinned, *requirement, cwd=tmp_path)
        return python

    return install


def generate(python: Path, project: Path) -> dict[str, str]:
    """Run turbo_generate twice, the second time as CI would; return what it wrote."""
    command = [python, "-m", "django", "turbo_generate", "--settings", "settings", "--pythonpath", "."]
    run(*command, cwd=project)
    run(*command, "--check", cwd=project)
    return {path.name: path.read_text() for path in (project / "library").glob("turbo.py*")}


def test_the_wheel_holds_what_belongs_into_it_and_nothing_else(wheel: Path, checkout: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path for path in (checkout / "turbo_orm").rglob("*") if path.is_file()}
    package = {str(path.relative_to(checkout)) for path in files if path.suffix != ".pyc"}
    templates = {f"turbo_orm/templates/{path.name}" for path in (checkout / "templates").glob("*.j2")}
    assert templates
    assert names == package | templates
    assert "turbo_orm/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_the_wheel_in_an_empty_environment_generates(
    wheel: Path, installed: Callable[..., Path], project: Path
) -> None:
    python = installed(wheel)
    written = generate(python, project)
    assert set(written) == {"turbo.py", "turbo.pyi"}
    assert "class BookManager" in written["turbo.pyi"]
    imported = (
        "import django; django.setup(); import library.turbo as t; print(t.Book.__module__, t.__file__)"
    )
    said = run(python, "-c", imported, cwd=project, DJANGO_SETTINGS_MODULE="settings")
    assert said.split() == ["library.models", str(project / "library/turbo.py")]


def test_an_editable_installation_generates_the_same(
    wheel: Path, checkout: Path, installed: Callable[..., Path], project: Path
) -> None:
    written = generate(installed("--editable", checkout), project)
    for path in (project / "library").glob("turbo.py*"):
        path.unlink()
    assert generate(installed(wheel), project) == written


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the oldest greenlet has no wheel for it")
def test_the_oldest_of_what_the_wheel_asks_for_is_new_enough(
    wheel: Path, installed: Callable[..., Path], project: Path
) -> None:
    python = installed("--resolution", "lowest-direct", wheel, pinned=())
    assert "class BookManager" in generate(python, project)["turbo.pyi"]
    assert run(python, "-c", QUERY, cwd=project) == "(42,)\n"
