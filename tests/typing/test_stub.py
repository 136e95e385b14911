"""The generated stub itself: type-checked without its header, and compared with the module at run time."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import django
import pytest

from devtools.types.checkers import check
from devtools.types.project import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("mypy", "django_stubs_ext"))),
        reason="mypy or django-stubs is not installed in this environment",
    ),
]

#: What laying exact types over Django's own classes must break: signatures narrower than the base's,
#: and two bases which disagree.
ALLOWED = {"misc", "override"}
#: django-stubs' ManyToManyField has its own idea of the manager, and a child's is not its parent's.
ALLOWED_FOR_MANAGERS = {"assignment"}


@pytest.mark.parametrize("app", ["accounts", "shop", "lending"])
def test_stub_without_its_header_has_only_the_errors_of_overlaying(
    app: str, bookshop: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(bookshop, project, ignore=shutil.ignore_patterns(".mypy_cache", "cases"))
    stub = project / app / "turbo.pyi"
    text = stub.read_text(encoding="utf-8")
    assert "# mypy: ignore-errors\n" in text
    stub.write_text(text.replace("# mypy: ignore-errors\n", ""), encoding="utf-8")
    errors = [error for error in check("mypy", project, app).errors if error.file == f"{app}/turbo.pyi"]
    lines = stub.read_text(encoding="utf-8").splitlines()
    for error in errors:
        manager = "ManyManager" in lines[error.line - 1] or "ClassVar[" in lines[error.line - 1]
        assert error.code in (ALLOWED | ALLOWED_FOR_MANAGERS if manager else ALLOWED), error


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
