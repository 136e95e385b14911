"""Debian packages without installing them and without being root.

apt gets folders of its own, and uses the package sources and keys of the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["has_apt", "unpack"]

_SYSTEM_STATUS = "/var/lib/dpkg/status"


def has_apt() -> bool:
    """Whether this machine has the tools."""
    return all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))


def unpack(packages: Sequence[str], folder: Path, *, with_missing_libraries: bool = False) -> bool:
    """Download Debian packages and unpack them into *folder*; tell whether that worked.

    *with_missing_libraries*: and what they depend on, where the system does not have it installed.
    """
    work = folder / ".apt"
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (work / name).mkdir(parents=True)
    try:
        return _unpack(packages, folder, work, with_missing_libraries)
    finally:
        shutil.rmtree(str(work), ignore_errors=True)


def _unpack(packages: Sequence[str], folder: Path, work: Path, with_missing_libraries: bool) -> bool:
    if not with_missing_libraries:
        (work / "state/status").touch()
    options = {
        "Dir::State": str(work / "state"),
        "Dir::State::lists": str(work / "state/lists"),
        "Dir::State::status": _SYSTEM_STATUS if with_missing_libraries else str(work / "state/status"),
        "Dir::Cache": str(work / "cache"),
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",  # as root, apt would drop to a user who may not enter our folder
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    apt = ["apt-get", "--quiet"]
    for name, value in options.items():
        apt += ["-o", f"{name}={value}"]
    if not _run([*apt, "update"]):
        return False
    if with_missing_libraries:
        fetch = ["install", "--download-only", "--no-install-recommends", "--yes", *packages]
        archives = work / "cache/archives"
    else:
        fetch = ["download", *packages]
        archives = work / "packages"
    if not _run([*apt, *fetch], work / "packages"):
        return False
    found = sorted(archives.glob("*.deb"))
    return bool(found) and all(_run(["dpkg-deb", "-x", str(package), str(folder)]) for package in found)


def _run(command: list[str], folder: Path | None = None) -> bool:
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            cwd=None if folder is None else str(folder),
            env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"),
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
