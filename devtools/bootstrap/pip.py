"""Every way to a pip on a machine which seems to have none."""

from __future__ import annotations

import contextlib
import glob
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from devtools.bootstrap import debian, index
from devtools.bootstrap.pythons import Python

__all__ = ["Pip", "debian_pip", "installed_pips"]

_BUNDLED = (
    "import ensurepip, glob, os; "
    "print(*glob.glob(os.path.dirname(ensurepip.__file__) + '/_bundled/pip-*.whl'))"
)
_DEBIAN_WHEELS = "/usr/share/python-wheels/pip-*.whl"
_DEBIAN_PACKAGES = ("python3-pip-whl", "ca-certificates")
# Debian's pip reads the system's certificates while it is imported, and fails where there are none.
_RUN_WITH_CERTIFICATES = """
import runpy, sys
import pip._vendor.certifi as certifi
authorities = sys.argv.pop(1)
certifi.where = lambda: authorities
runpy.run_module("pip", run_name="__main__")
"""


class Pip(NamedTuple):
    """A Python, the wheel it imports pip from if it has none, and certificates if the system has none."""

    python: str
    wheel: str | None = None
    certificates: str | None = None

    def install(self, requirement: str, target: Path) -> str | None:
        """Install into a folder; return the reason if that failed."""
        command = [self.python, "-m", "pip"]
        if self.certificates:
            command = [self.python, "-c", _RUN_WITH_CERTIFICATES, self.certificates]
        command += [
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--target",
            str(target),
        ]
        command.append(requirement)
        # --target passes PEP 668 ("externally managed"), but not these two settings of the user's.
        environment = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
        authorities = index.certificates()
        if authorities:
            environment.setdefault("PIP_CERT", authorities)
        environment.pop("PYTHONHOME", None)
        environment.pop("PYTHONPATH", None)
        if self.wheel:
            environment["PYTHONPATH"] = self.wheel
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
        if result.returncode == 0:
            return None
        lines = result.stdout.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "pip failed and said nothing"


def installed_pips(pythons: list[Python]) -> Iterator[Pip]:
    """Yield the pips which are there: installed, inside ensurepip, or beside Debian's python3-venv."""
    for python in pythons:
        if _output([python.path, "-m", "pip", "--version"]):
            yield Pip(python.path)
    for python in pythons:
        for wheel in (_output([python.path, "-c", _BUNDLED]) or "").split():
            yield Pip(python.path, wheel)
    for wheel in sorted(glob.glob(_DEBIAN_WHEELS), reverse=True):
        yield Pip(pythons[0].path, wheel)


@contextlib.contextmanager
def debian_pip(python: Python) -> Iterator[Pip | None]:
    """Fetch pip as a Debian package, without installing it and without being root."""
    if not debian.has_apt():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="turbo-apt-") as folder:
        debian.unpack(_DEBIAN_PACKAGES, Path(folder))
        wheels = sorted(glob.glob(folder + _DEBIAN_WHEELS), reverse=True)
        yield Pip(python.path, wheels[0], _bundle(Path(folder))) if wheels else None


def _bundle(folder: Path) -> str | None:
    """Write the certificates of Debian's package as one file, for a system which has none."""
    if index.certificates():
        return None
    parts = sorted((folder / "usr/share/ca-certificates").glob("**/*.crt"))
    bundle = folder / "certificates.pem"
    bundle.write_text("\n".join(part.read_text() for part in parts))
    return str(bundle) if parts else None


def _output(command: list[str]) -> str | None:
    """Run a command; its standard output, or None if it failed."""
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.decode(errors="replace") if result.returncode == 0 else None
