"""Django's source distribution, and an environment in which its tests run: made once per series."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.bootstrap.pythons import Python
from devtools.bootstrap.uv import get_uv, uv_environment
from devtools.conformance.series import choose_python, engine_requirements, stored_name
from devtools.errors import SetupError

__all__ = ["Installation", "install", "wanted_requirements"]

_STAMP = "installed.json"
#: Requirements of tests which need a server or a browser we do not start, or a compiler.
_UNWANTED = frozenset(
    {"black", "geoip2", "pylibmc", "pymemcache", "python-memcached", "pywatchman", "redis", "selenium"}
)


@dataclass(frozen=True)
class Installation:
    """Where Django's tests of one series are, and the Python that runs them."""

    #: The exact version, as 6.1.3.
    version: str
    python: Python
    #: The environment's own interpreter.
    interpreter: Path
    source: Path
    #: One of `series.ENGINES`.
    engine: str

    @property
    def tests(self) -> Path:
        return self.source / "tests"


def install(root: Path, series: str, engine: str) -> Installation:
    """Return the installation of *series* under ``.dev/conformance``, made if it is not there."""
    for_engine = engine_requirements(series, engine)
    everything = Path(os.environ.get("TURBO_DEV_FOLDER") or root / ".dev") / "conformance"
    folder = everything / stored_name(series, engine)
    folder.mkdir(parents=True, exist_ok=True)
    uv = get_uv(everything.parent / "uv")
    python = choose_python(series)
    environment = folder / "venv"
    interpreter = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if _stamp(folder).get("python") != os.path.realpath(python.path):
        shutil.rmtree(environment, ignore_errors=True)
        _run([uv, "venv", "--quiet", "--python", python.path, str(environment)], root)
        _run([uv, "pip", "install", "--quiet", "--python", str(interpreter), "pip"], root)
    sources = everything / series
    sources.mkdir(exist_ok=True)
    source = _source(sources) or _download(sources, interpreter, series)
    version = source.name.partition("-")[2]
    requirements = [f"Django=={version}", *wanted_requirements(source / "tests/requirements/py3.txt")]
    requirements += for_engine
    wanted = {
        "python": os.path.realpath(python.path),
        "root": str(root),
        "requirements": requirements,
        "pyproject": hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest(),
    }
    if _stamp(folder) != wanted:
        _run(
            [uv, "pip", "install", "--quiet", "--python", str(interpreter), "--editable", ".", *requirements],
            root,
        )
        (folder / _STAMP).write_text(json.dumps(wanted, indent=1))
    return Installation(version, python, interpreter, source, engine)


def wanted_requirements(path: Path) -> list[str]:
    """Return the requirements of Django's tests which we install."""
    return list(_wanted(path.read_text().splitlines()))


def _wanted(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        requirement = line.partition("#")[0].strip()
        name = re.match(r"[\w.-]*", requirement)
        if name and name[0] and name[0].lower() not in _UNWANTED:
            yield requirement


def _stamp(folder: Path) -> dict[str, object]:
    try:
        stamp = json.loads((folder / _STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _source(folder: Path) -> Path | None:
    return next((path.parents[1] for path in folder.glob("[dD]jango-*/tests/runtests.py")), None)


def _download(folder: Path, interpreter: Path, series: str) -> Path:
    """Fetch the source distribution with pip, from wherever the user's pip and uv fetch packages."""
    environment = uv_environment()
    if "UV_DEFAULT_INDEX" in environment:
        environment.setdefault("PIP_INDEX_URL", environment["UV_DEFAULT_INDEX"])
    command = [str(interpreter), "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-binary", "django", "--dest", str(folder), f"django=={series}.*"]
    _run([*command, *options], folder, environment)
    archive = next(folder.glob("[dD]jango-*.tar.gz"), None)
    if archive is None:
        raise SetupError(f"pip fetched no source distribution of Django {series}: run this again.")
    with tarfile.open(archive) as content:
        # Pythons before 3.10.12 and 3.11.4 have no filters.
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        content.extractall(folder, **safely)  # type: ignore[arg-type]
    archive.unlink()
    source = _source(folder)
    if source is None:
        raise SetupError(f"The source distribution of Django {series} contains no tests/runtests.py.")
    return source


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    process = subprocess.run(
        command,
        cwd=folder,
        env=environment or uv_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode:
        raise SetupError(
            f"Django's tests could not be installed, {' '.join(process.stdout.split())[-600:]}: "
            "check the network (or the package index) and run this again."
        )
