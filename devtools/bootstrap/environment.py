"""The environment under `.dev/`: made once, brought up to date when pyproject.toml or the Python changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from devtools.bootstrap.pythons import Python, choose_python
from devtools.bootstrap.uv import get_uv, uv_environment
from devtools.errors import SetupError

__all__ = ["Environment", "prepare"]

_STAMP = "turbo-installed.json"
_MEGABYTES_NEEDED = 700
# The engine of the README; its marker leaves it out where it can't be installed.
_EXTRAS = "[async-backend]"


class Environment:
    """A virtual environment, and the record of what was installed into it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.uv: str | None = None

    @property
    def scripts(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> str:
        return str(self.scripts / ("python.exe" if os.name == "nt" else "python"))

    def installed(self) -> dict[str, Any]:
        """What is recorded as installed; empty when nothing is, or an installation was interrupted."""
        try:
            record = json.loads((self.folder / _STAMP).read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) and os.path.exists(self.python) else {}

    def install(self, uv: str, python: Python, groups: Sequence[str], record: dict[str, Any]) -> None:
        """Install the project (editable) and the groups; leave nothing half-made behind."""
        fresh = not self.installed()
        with contextlib.suppress(OSError):
            (self.folder / _STAMP).unlink()
        try:
            if fresh:
                shutil.rmtree(str(self.folder), ignore_errors=True)
                _run_uv(uv, ["venv", "--python", python.path, str(self.folder)], self.root)
            command = ["pip", "install", "--python", self.python, "--editable", "." + _EXTRAS]
            for group in groups:
                command += ["--group", group]
            _run_uv(uv, command, self.root)
            (self.folder / _STAMP).write_text(json.dumps(record, indent=1))
        except BaseException:
            shutil.rmtree(str(self.folder), ignore_errors=True)
            raise


def prepare(root: Path, groups: Sequence[str]) -> Environment:
    """Return an environment in which the groups are installed."""
    home = Path(os.environ.get("TURBO_DEV_FOLDER") or root / ".dev")
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(home / "lock"):
            return _prepare(root, home, groups)
    except PermissionError as error:
        raise SetupError(
            f"{error.filename or home} can't be written ({error.strerror}): run as the user who owns it, "
            "or set TURBO_DEV_FOLDER to a folder of yours."
        ) from None


def _prepare(root: Path, home: Path, groups: Sequence[str]) -> Environment:
    python = choose_python()
    environment = Environment(root, home / "venv-{}.{}".format(*python.version))
    before = environment.installed()
    wanted = {
        "python": os.path.realpath(python.path),
        "root": str(root),
        "pyproject": hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest(),
    }
    same = {name: before.get(name) for name in wanted} == wanted
    have = list(before.get("groups", []))
    if same and set(groups) <= set(have):
        environment.uv = before.get("uv")
        return environment
    if before.get("python") != wanted["python"] or before.get("root") != wanted["root"]:
        shutil.rmtree(str(environment.folder), ignore_errors=True)
    everything = sorted({*have, *groups})
    _check_space(home)
    uv = get_uv(home / "uv")
    print(f"dev.py: installing into {environment.folder} with {python} (once)", file=sys.stderr, flush=True)
    environment.install(uv, python, everything, {**wanted, "groups": everything, "uv": uv})
    environment.uv = uv
    return environment


def _run_uv(uv: str, command: list[str], root: Path) -> None:
    """Run uv; show its progress to a person, and its reason to everyone."""
    watched = sys.stderr.isatty()
    process = subprocess.run(
        [uv, *command] if watched else [uv, "--quiet", *command],
        cwd=str(root),
        env=uv_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if watched else subprocess.PIPE,
        check=False,
    )
    if process.returncode == 0:
        return
    said = (process.stderr or b"").decode(errors="replace")
    if "No space left on device" in said:
        raise SetupError("No disk space is left for the packages: free about 1 GB and run this again.")
    reason = " ".join(said.split()) or "see its message above"
    raise SetupError(
        f"uv could not install the packages, {reason[:600]}: "
        "check the network (or the package index) and run this again."
    )


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(str(folder)).free // 2**20
    if free < _MEGABYTES_NEEDED:
        raise SetupError(
            f"No disk space: {folder} has {free} MB free and the packages need {_MEGABYTES_NEEDED} MB; "
            "free some, or set TURBO_DEV_FOLDER to a folder elsewhere."
        )


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Let a second dev.py wait until the first has installed."""
    if os.name != "posix":
        yield
        return
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
