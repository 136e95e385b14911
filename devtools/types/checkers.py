"""The four type checkers: how each is configured and run, and what it reported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devtools.types.project import ROOT

__all__ = ["CHECKERS", "Report", "check"]


@dataclass(frozen=True)
class Error:
    """One error in one of the checked files."""

    file: str
    line: int
    code: str
    message: str


@dataclass(frozen=True)
class Report:
    """What a checker said of a project."""

    errors: tuple[Error, ...]
    seconds: float
    #: Of the processors, together: on a machine with other work, the better measure.
    cpu_seconds: float
    #: The most memory it held, in MB.
    memory: float

    def lines(self, file: str) -> dict[int, str]:
        """Return the code of the first error on each line of *file* (a path in the project)."""
        found: dict[int, str] = {}
        for error in self.errors:
            if error.file == file:
                found.setdefault(error.line, error.code)
        return found


def check(checker: str, project: Path, target: str, *, python: Path | None = None, **options: bool) -> Report:
    """Run *checker* over *target* in *project*, with the packages of *python*.

    Raises `RuntimeError` if it could not be run.
    """
    interpreter = python or Path(sys.executable)
    command = CHECKERS[checker](project, target, interpreter, options)
    used, output, complaint = _run(command, project)
    if used.returncode not in (0, 1):
        raise RuntimeError(f"{checker} could not check {target}:\n{output}{complaint}")
    return Report(tuple(_PARSERS[checker](output, project)), used.seconds, used.cpu_seconds, used.memory)


@dataclass(frozen=True)
class _Used:
    """How a process ended, and what it took with its children: seconds, and MB at the peak."""

    returncode: int
    seconds: float
    cpu_seconds: float
    memory: float


def _run(command: list[str], project: Path) -> tuple[_Used, str, str]:
    """Run *command* in *project*; return what it took, and what it wrote to its two outputs."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=project,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{project}"},
            stdout=output,
            stderr=complaint,
        )
        _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), tells of this child alone
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (output, complaint):
            file.seek(0)
            texts.append(file.read().decode())
    # Linux counts the peak in kB, macOS in bytes.
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    used = _Used(process.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)
    return used, texts[0], texts[1]


def _mypy(project: Path, target: str, python: Path, options: Mapping[str, bool]) -> list[str]:
    plugin = (
        "plugins = mypy_django_plugin.main\n[mypy.plugins.django-stubs]\ndjango_settings_module = settings\n"
        if options.get("plugin")
        else "[mypy-*.models]\ndisable_error_code = var-annotated\n"
    )
    # Models of packages without annotations: unless mypy may read those, everything from them is Any.
    followed = "follow_untyped_imports = True\nimplicit_reexport = True\n" if options.get("follow") else ""
    untyped = "[mypy-django.*]\nignore_missing_imports = True\n" if options.get("untyped") else ""
    config = f"[mypy]\nstrict = True\nmypy_path = {ROOT}\ncache_dir = .mypy_cache\n{followed}{plugin}"
    (project / "mypy.ini").write_text(config + untyped, encoding="utf-8")
    return [sys.executable, "-m", "mypy", "--python-executable", str(python), "--no-pretty", target]


def _pyright(project: Path, target: str, python: Path, options: Mapping[str, bool]) -> list[str]:
    config = {
        "include": [target],
        "extraPaths": [str(ROOT), "."],
        "typeCheckingMode": "standard",
        "reportAttributeAccessIssue": "error",
        "reportUnusedExpression": "none",
    }
    (project / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    return [sys.executable, "-m", "pyright", "--pythonpath", str(python), "--outputjson"]


def _pyrefly(project: Path, target: str, python: Path, options: Mapping[str, bool]) -> list[str]:
    config = (
        f'preset = "strict"\nproject-includes = ["{target}"]\n'
        f'search-path = ["{ROOT}", "."]\npython-interpreter-path = "{python}"\n'
    )
    (project / "pyrefly.toml").write_text(config, encoding="utf-8")
    return [str(_beside_python("pyrefly")), "check", "--output-format", "json", "--config", "pyrefly.toml"]


def _ty(project: Path, target: str, python: Path, options: Mapping[str, bool]) -> list[str]:
    return [
        str(_beside_python("ty")),
        "check",
        "--output-format=concise",
        f"--python={python.parent.parent}",
        f"--extra-search-path={ROOT}",
        target,
    ]


def _beside_python(tool: str) -> Path:
    return Path(sys.executable).with_name(tool)


CHECKERS: Mapping[str, Callable[[Path, str, Path, Mapping[str, bool]], list[str]]] = {
    "mypy": _mypy,
    "pyright": _pyright,
    "pyrefly": _pyrefly,
    "ty": _ty,
}


def _parse_mypy(output: str, project: Path) -> list[Error]:
    pattern = re.compile(
        r"^(?P<file>[^:\n]+):(?P<line>\d+): error: (?P<message>.*?)(?:  \[(?P<code>[\w-]+)\])?$", re.M
    )
    return [
        Error(match["file"], int(match["line"]), match["code"] or "", match["message"])
        for match in pattern.finditer(output)
    ]


def _parse_pyright(output: str, project: Path) -> list[Error]:
    return [
        Error(
            os.path.relpath(found["file"], project),
            found["range"]["start"]["line"] + 1,
            found.get("rule", ""),
            found["message"],
        )
        for found in json.loads(output)["generalDiagnostics"]
        if found["severity"] == "error"
    ]


def _parse_pyrefly(output: str, project: Path) -> list[Error]:
    return [
        Error(
            os.path.relpath(project / found["path"], project),
            found["line"],
            found["name"],
            found["description"],
        )
        for found in json.loads(output)["errors"]
        if found.get("severity", "error") == "error"
    ]


def _parse_ty(output: str, project: Path) -> list[Error]:
    pattern = re.compile(
        r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: error\[(?P<code>[\w-]+)\] (?P<message>.*)$", re.M
    )
    return [
        Error(match["file"], int(match["line"]), match["code"], match["message"])
        for match in pattern.finditer(output)
    ]


_PARSERS: Mapping[str, Callable[[str, Path], list[Error]]] = {
    "mypy": _parse_mypy,
    "pyright": _parse_pyright,
    "pyrefly": _parse_pyrefly,
    "ty": _parse_ty,
}
