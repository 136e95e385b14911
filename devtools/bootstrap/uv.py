"""Getting uv: one that is there, else one of our own in the development folder."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from devtools.bootstrap import index
from devtools.bootstrap.pip import debian_pip, installed_pips
from devtools.bootstrap.pythons import Python, find_pythons
from devtools.errors import SetupError

__all__ = ["MINIMUM", "get_uv", "uv_environment"]

MINIMUM = (0, 9)  # the first with every option used here
_REQUIREMENT = "uv>=0.9"
_EXE = ".exe" if os.name == "nt" else ""


def get_uv(folder: Path) -> str:
    """Return a uv that runs, fetching it into *folder* when this machine has none."""
    own = folder / "bin" / ("uv" + _EXE)
    places = [os.environ.get("UV"), shutil.which("uv"), str(Path.home() / ".local/bin/uv"), str(own)]
    for place in places:
        if place and _works(place):
            return place
    print("dev.py: fetching uv, the installer (once)", file=sys.stderr, flush=True)
    reasons = []
    for reason in _ways(folder):
        if reason is None and _works(str(own)):
            return str(own)
        shutil.rmtree(str(folder), ignore_errors=True)
        reasons.append(reason or "what was fetched does not run here")
    detail = " (last reason: {})".format(" ".join(reasons[-1].split())) if reasons else ""
    raise SetupError(
        f"uv, the installer, could not be fetched by pip, from the configured index or by apt{detail}: "
        "check the network, or install pip or uv, and run this again."
    )


def uv_environment() -> dict[str, str]:
    """Return the environment for uv: pip's settings where uv has none, and no surprises."""
    environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never")
    for name in (
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PYTHONHOME",
        "PYTHONPATH",
        "UV_PYTHON",
        "UV_PROJECT_ENVIRONMENT",
    ):
        environment.pop(name, None)
    address = index.configured()
    if address:
        environment.setdefault("UV_DEFAULT_INDEX", address)
    authorities = index.certificates()
    if authorities:
        environment.setdefault("SSL_CERT_FILE", authorities)
    return environment


def _ways(folder: Path) -> Iterator[str | None]:
    """Try one way after the other; yield None for success, else the reason."""
    pythons = list(find_pythons()) or [Python(sys.version_info[:2], sys.executable)]
    for pip in installed_pips(pythons):
        yield pip.install(_REQUIREMENT, folder)
    address = index.configured()
    if address:
        yield _from_index(address, folder)
    with debian_pip(pythons[0]) as fetched:
        if fetched is not None:
            yield fetched.install(_REQUIREMENT, folder)


def _from_index(address: str, folder: Path) -> str | None:
    try:
        archive = zipfile.ZipFile(io.BytesIO(index.download_wheel(address, "uv")))
    except (OSError, ValueError, KeyError, SetupError) as error:
        return str(error)
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for name in archive.namelist():
        if name.endswith("/scripts/uv" + _EXE):
            program = folder / "bin" / ("uv" + _EXE)
            program.write_bytes(archive.read(name))
            program.chmod(0o755)
    return None


def _works(program: str) -> bool:
    """A uv that answers with a version new enough."""
    try:
        answer = subprocess.run(
            [program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False
        )
        version = answer.stdout.decode(errors="replace").split()[1]
        return answer.returncode == 0 and tuple(int(part) for part in version.split(".")[:2]) >= MINIMUM
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
        return False
