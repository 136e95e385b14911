"""The generated stub itself: type-checked without its header, and compared with the module at run time."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import django
import pytest

from devtools.types.bare import check_bare
from devtools.types.project import environment, generate
from devtools.types.scale import megabytes, synthesize

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("mypy", "django_stubs_ext"))),
        reason="mypy or django-stubs is not installed in this environment",
    ),
]


@pytest.mark.parametrize("app", ["accounts", "shop", "lending"])
def test_stub_without_its_header_has_only_the_errors_of_overlaying(
    app: str, bookshop: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(bookshop, project, ignore=shutil.ignore_patterns(".mypy_cache", "cases"))
    assert check_bare(project, app) == []


def test_stub_without_its_header_is_really_checked(bookshop: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(bookshop, project, ignore=shutil.ignore_patterns(".mypy_cache", "cases"))
    stub = project / "shop" / "turbo.pyi"
    stub.write_text(stub.read_text(encoding="utf-8") + "x: NoSuchName\n", encoding="utf-8")
    assert [error.code for error in check_bare(project, "shop")] == ["name-defined"]


@pytest.mark.parametrize(("depth", "most"), [(0, 2.8), (1, 5.0), (2, 13.0)])
def test_stubs_of_100_models_stay_small(depth: int, most: float, tmp_path: Path) -> None:
    synthesize(tmp_path, 100)
    generate(tmp_path, "--depth", str(depth))
    assert megabytes(tmp_path) <= most


def test_stub_and_module_agree(bookshop: Path, tmp_path: Path) -> None:
    here = Path(__file__).parent
    allowlists = [here / "stubtest_allowlist.txt"]
    if django.VERSION < (6, 0):
        allowlists.append(here / "stubtest_allowlist_before_django_6.txt")
    if django.VERSION < (5, 1):
        allowlists.append(here / "stubtest_allowlist_before_django_5_1.txt")
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\n", encoding="utf-8")
    # stubtest imports the module, which needs the app registry.
    program = "import sys, django; django.setup(); from mypy.stubtest import main; sys.exit(main())"
    options = ["--mypy-config-file", str(config), "--concise"]
    options += [option for path in allowlists for option in ("--allowlist", str(path))]
    finished = subprocess.run(
        [sys.executable, "-c", program, "shop.turbo", "accounts.turbo", "lending.turbo", *options],
        cwd=bookshop,
        env=environment(bookshop),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
