"""Generates for real applications, checks code which uses them, and compares types with rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.postgres import Server, create_database, drop_database, server_from_environment
from devtools.types.bare import check_bare
from devtools.types.cases import Case, read_case
from devtools.types.checkers import CHECKERS, Report, check
from devtools.types.environments import Environment
from devtools.types.known import reason
from devtools.types.project import ROOT, environment

__all__ = ["APPLICATIONS", "main"]

_FOLDER = ROOT / "tests" / "typing" / "applications"
#: What stubtest and django-stubs are for there; the checkers themselves run in our environment.
_TOOLS = ("django-stubs", "mypy")
APPLICATIONS: Mapping[str, Environment] = {
    "wagtail": Environment("wagtail", (*_TOOLS, "wagtail==8.0.*")),
    "oscar": Environment("oscar", (*_TOOLS, "django-oscar==4.2.*")),
}
_LABELS = """
import django; django.setup()
from django.apps import apps
print(*(config.label for config in apps.get_app_configs() if config.models))
"""
#: Stubtest, but for giving up where a class method of an application calls its class ``self``: that one is
#: left out, as those with decorators are which stubtest does not know.
_STUBTEST = """
import sys, django; django.setup()
from mypy import stubtest
resolve = stubtest._resolve_funcitem_from_decorator
def resolve_or_pass(stub):
    try:
        return resolve(stub)
    except stubtest.StubtestFailure as failure:
        if "unexpected class parameter name" not in str(failure):
            raise
stubtest._resolve_funcitem_from_decorator = resolve_or_pass
sys.exit(stubtest.main())
"""


@dataclass(frozen=True)
class _Project:
    """An application, set up in a folder with an environment of its own."""

    name: str
    folder: Path
    python: Path

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env={**environment(self.folder), **more},
            capture_output=True,
            text=True,
            check=False,
        )

    def output(self, *arguments: str, **more: str) -> str:
        """Return what it printed. Raises `RuntimeError` with all of it, if it failed."""
        finished = self.run(*arguments, **more)
        if finished.returncode:
            raise RuntimeError(f"{self.name}: {arguments[:3]}:\n{finished.stdout}{finished.stderr}")
        return finished.stdout

    @property
    def stubs(self) -> list[Path]:
        return sorted((self.folder / "facades").glob("*.pyi"))


def _set_up(name: str, folder: Path) -> _Project:
    shutil.copytree(_FOLDER / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_FOLDER / "database.py", folder)
    (folder / "facades").mkdir()
    (folder / "facades" / "__init__.py").touch()
    return _Project(name, folder, APPLICATIONS[name].python())


def _generate(project: _Project) -> str:
    """Generate for every app with models; return the figures, as a row of the table."""
    labels = project.output("-c", _LABELS).split()
    started = time.monotonic()
    told = project.output("-m", "django", "turbo_generate", "--json", "--package", "facades", *labels)
    seconds = time.monotonic() - started
    facts = json.loads(told)
    size = sum(stub.stat().st_size for stub in project.stubs) / 1e6
    unknown = ", ".join(sorted({found["class"] for found in facts["unknown"]})) or "none"
    return (
        f"| {project.name} | {len(labels)} | {facts['models']} | {facts['fields']} "
        f"| {facts['seconds']:.1f} of {seconds:.1f} | {size:.1f} | {unknown} |"
    )


def _check_queries(project: _Project, checker: str, case: Case) -> tuple[str, list[str]]:
    """Return the row of the table, and the lines behind what is not perfect."""
    report: Report = check(checker, project.folder, case.name, python=project.python, follow=True)
    reported = report.lines(case.name)
    missed, false_positives = case.missed(reported), case.false_positives(reported)
    told = []
    for kind, numbers in (("missed", missed), ("false positive", false_positives)):
        for number in numbers:
            line = case.lines[number - 1].strip()
            why = reason(checker, project.name, line)
            told.append(f"{checker}, {project.name}: {kind}: {line}" + (f"  ({why})" if why else ""))
    row = (
        f"| {project.name} | {checker} | {len(case.wrong) - len(missed)} of {len(case.wrong)} "
        f"| {len(false_positives)} | {report.cpu_seconds:.1f} | {report.memory:.0f} |"
    )
    return row, told


def _check_stubs(project: _Project) -> list[str]:
    """Return the errors of mypy in the stubs themselves, but for those of laying them over other classes."""
    bare = project.folder.with_name(f"{project.name}-bare")
    shutil.copytree(project.folder, bare, ignore=shutil.ignore_patterns(".mypy_cache"))
    return [
        f"{error.file}:{error.line}: {error.message} [{error.code}]"
        for error in check_bare(bare, "facades", python=project.python, follow=True)
    ]


def _stubtest(project: _Project) -> list[str]:
    """Return what stubtest says, beyond the allowlists, of the stubs and the modules beside them."""
    (project.folder / "stubtest.ini").write_text("[mypy]\nfollow_untyped_imports = True\n", encoding="utf-8")
    name = "stubtest_allowlist.txt"
    # The names of facades are others here than in the bookshop, for which the first list is.
    common = (_FOLDER.parent / name).read_text(encoding="utf-8").replace(r"\.turbo\.", r"facades\.\w+\.")
    (project.folder / "common.txt").write_text(common, encoding="utf-8")
    allowlists = (project.folder / "common.txt", _FOLDER / project.name / name)
    options = [option for path in allowlists for option in ("--allowlist", str(path))]
    modules = {f"facades.{stub.stem}" for stub in project.stubs}
    arguments = ["--mypy-config-file", "stubtest.ini", "--concise", "--ignore-unused-allowlist", *options]
    finished = project.run("-c", _STUBTEST, *sorted(modules), *arguments)
    return (finished.stdout + finished.stderr).splitlines() if finished.returncode else []


def _compare_rows(project: _Project, server: Server) -> tuple[str, list[str]]:
    """Return a sentence on the comparison of declared types with rows, and the differences."""
    database = f"turbo_types_{project.name}"
    url = create_database(server, database)
    try:
        found = json.loads(
            project.output("-m", "devtools.types.rows", DATABASE_URL=url).strip().splitlines()[-1]
        )
    finally:
        drop_database(server, database)
    told = f"{project.name}: rows of {found['models']} models, {found['compared']} values compared, "
    without = f"; no row of {'; '.join(found['without'])}" if found["without"] else ""
    return f"{told}{len(found['wrong'])} of another type than declared{without}.", found["wrong"]


def main(names: Sequence[str] = ()) -> int:
    """Print the tables of the applications called *names*, of all by default; 1 if something is wrong."""
    unknown = sorted(set(names) - set(APPLICATIONS))
    if unknown:
        print(f"There is no application {unknown[0]!r}. Known are: {', '.join(APPLICATIONS)}.")
        return 2
    with tempfile.TemporaryDirectory(prefix="turbo-applications-") as folder:
        root = Path(folder).resolve()
        projects = [_set_up(name, root / name) for name in names or APPLICATIONS]
        return 1 if _report(projects) else 0


def _report(projects: Sequence[_Project]) -> list[str]:
    """Print the tables; return what is wrong and not known."""
    print("| application | apps | models | fields | generate s | stubs MB | fields without a type |")
    print("|---" * 7 + "|")
    for project in projects:
        print(_generate(project), flush=True)
    print("\n| application | checker | wrong lines caught | false positives | CPU s | MB |")
    print("|---" * 6 + "|")
    told: list[str] = []
    for project in projects:
        case = read_case(project.folder / "queries.py")
        for checker in CHECKERS:
            row, lines = _check_queries(project, checker, case)
            print(row, flush=True)
            told += lines
    print(*told, sep="\n")
    wrong = [line for line in told if "  (" not in line]
    with server_from_environment() as server:
        for project in projects:
            sentence, differences = _compare_rows(project, server)
            print(sentence, *differences, sep="\n", flush=True)
            wrong += differences
    for project in projects:
        for what, errors in (("stubtest", _stubtest(project)), ("the stubs by mypy", _check_stubs(project))):
            print(f"{project.name}: {what}: {len(errors)} errors", *errors, sep="\n", flush=True)
            wrong += errors
    return wrong
