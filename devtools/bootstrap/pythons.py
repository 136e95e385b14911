"""Finding the Pythons of this machine which really run."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from devtools.errors import SetupError

__all__ = ["OLDEST", "Python", "choose_python", "find_pythons", "pyenv_folders"]

OLDEST = (3, 10)
# Best first: the newest in the test matrix, then newer, then those too old for django-async-backend.
PREFERENCE = ((3, 13), (3, 12), (3, 14), (3, 15), (3, 11), (3, 10))
# Also refuses a build without the modules we need; pyenv makes one where the system's headers are missing.
_PROBE = """
import ctypes, ssl, sys
version = sys.version_info
usual = sys.implementation.name == "cpython" and "t" not in getattr(sys, "abiflags", "")
print(version[0], version[1], usual and version[3] == "final")
"""


class Python(NamedTuple):
    """An interpreter that was seen running."""

    version: tuple[int, int]
    path: str

    def __str__(self) -> str:
        return f"Python {self.version[0]}.{self.version[1]} ({self.path})"


def choose_python() -> Python:
    """Return the Python for the development environment."""
    chosen = os.environ.get("TURBO_DEV_PYTHON")
    if chosen:
        python = _probe(shutil.which(chosen) or chosen)
        if python is None or python.version < OLDEST:
            raise SetupError(
                "TURBO_DEV_PYTHON={} is not a working CPython {}.{} or newer: correct or unset it.".format(
                    chosen, *OLDEST
                )
            )
        return python
    found = {python.version: python for python in reversed(list(find_pythons()))}
    for version in PREFERENCE:
        if version in found:
            return found[version]
    raise SetupError(
        "Python {}.{} or newer is needed and this machine has none "
        "(dev.py was started by {}.{}): install one with your system's package manager or pyenv.".format(
            *(OLDEST + sys.version_info[:2])
        )
    )


def find_pythons() -> Iterator[Python]:
    """Yield the Pythons of this machine; the one running now comes first, a version may come twice."""
    seen = set()
    for path in _candidates():
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            python = _probe(path)
            if python is not None:
                yield python


def pyenv_folders() -> Iterator[Path]:
    """Yield the `bin` folders of pyenv's Pythons: its commands on PATH fail unless a version is active."""
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv"), _home_of_record() + "/.pyenv"]
    path = os.environ.get("PATH", "").split(os.pathsep)
    roots += [str(Path(folder).parent) for folder in path if Path(folder).name == "shims"]
    for root in dict.fromkeys(root for root in roots if root):
        yield from (Path(folder) for folder in sorted(glob.glob(root + "/versions/3.1[0-9]*/bin")))


def _candidates() -> Iterator[str]:
    if sys.executable:
        yield sys.executable
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/local/bin" + os.pathsep + "/usr/bin"
    for folder in path.split(os.pathsep):
        if Path(folder).name == "shims" and Path(folder).with_name("versions").is_dir():
            continue  # pyenv's: slow to run, and at best one of the Pythons in pyenv's own folders
        for name in ["python3"] + ["python{}.{}".format(*version) for version in PREFERENCE]:
            found = shutil.which(name, path=folder)
            if found:
                yield found
    yield from (str(scripts / "python3") for scripts in pyenv_folders())
    yield from sorted(glob.glob(str(Path.home() / ".local/share/uv/python/cpython-3.*/bin/python3")))


def _probe(path: str) -> Python | None:
    """Run it: a pyenv shim exists and is executable, and yet answers 127."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")
    }
    try:
        answer = subprocess.run(
            [path, "-c", _PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.decode(errors="replace").split()
    if answer.returncode != 0 or len(words) != 3 or words[2] != "True":
        return None
    return Python((int(words[0]), int(words[1])), path)


def _home_of_record() -> str:
    """The home folder the system knows, for when HOME is set to another one."""
    if os.name != "posix":
        return str(Path.home())
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return str(Path.home())
