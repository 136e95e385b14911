"""A real PgBouncer for the tests: found on this machine, or fetched by `python3 dev.py pgbouncer`."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import unquote, urlsplit

from typing_extensions import Self

from devtools.bootstrap.debian import has_apt, unpack
from devtools.children import end_with_parent, stop
from devtools.errors import SetupError

__all__ = ["MISSING", "PgBouncer", "find_pgbouncer", "main"]

ROOT = Path(__file__).resolve().parents[1]
#: What a test that needs it says when it is skipped.
MISSING = "there is no PgBouncer on this machine: install it, or run `python3 dev.py pgbouncer`"

_SECONDS_TO_START = 20
_CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} password='{password}'

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {servers}
"""


def main() -> int:
    """Say where PgBouncer is; fetch it as a Debian package if it is nowhere."""
    argparse.ArgumentParser(prog="dev.py pgbouncer", description=main.__doc__).parse_args()
    found = find_pgbouncer() or _fetch(_folder())
    print(found if found is not None else f"dev.py: {MISSING}")
    return 0 if found is not None else 1


def find_pgbouncer() -> Path | None:
    """Return the program: `TURBO_PGBOUNCER`, the system's, or the one that was fetched."""
    own = _folder() / "usr/sbin/pgbouncer"
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    candidates = [os.environ.get("TURBO_PGBOUNCER"), shutil.which("pgbouncer", path=path), str(own)]
    return next((Path(found) for found in candidates if found and _works(Path(found))), None)


def _folder() -> Path:
    return Path(os.environ.get("TURBO_DEV_FOLDER") or ROOT / ".dev") / "pgbouncer"


def _fetch(folder: Path) -> Path | None:
    if not has_apt():
        return None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not unpack(["pgbouncer"], folder, with_missing_libraries=True):
        shutil.rmtree(folder, ignore_errors=True)
    return find_pgbouncer()


def _works(program: Path) -> bool:
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, env=_environment(program), timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _environment(program: Path) -> dict[str, str]:
    """Return the environment in which the program finds the libraries that were fetched with it."""
    libraries = [str(path) for path in program.parents[1].glob("lib/*-linux-*")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


class PgBouncer:
    """A running PgBouncer in front of a server: ``with PgBouncer(url, "transaction") as pooler``."""

    def __init__(self, url: str, mode: Literal["session", "transaction"], *, servers: int = 3) -> None:
        self.port = 0
        self._url = urlsplit(url)
        self._mode = mode
        self._servers = servers
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = find_pgbouncer()
        if program is None:
            raise SetupError(MISSING)
        self._folder = tempfile.TemporaryDirectory(prefix="turbo-pgbouncer-")
        try:
            self._start(program, Path(self._folder.name))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self, program: Path, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        configuration = folder / "pgbouncer.ini"
        configuration.touch(0o600)
        configuration.write_text(
            _CONFIGURATION.format(
                host=self._url.hostname,
                port=self._url.port or 5432,
                user=unquote(self._url.username or ""),
                password=unquote(self._url.password or "").replace("'", "''"),
                listen=self.port,
                mode=self._mode,
                servers=self._servers,
            )
        )
        command = [str(program), str(configuration)]
        if os.name == "posix" and os.geteuid() == 0:  # it refuses to run as root
            import pwd

            command[1:1] = ["-u", "nobody"]
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
            os.chown(configuration, pwd.getpwnam("nobody").pw_uid, -1)
        log = folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(program),
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGTERM),
            )
        deadline = time.monotonic() + _SECONDS_TO_START
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise SetupError(f"PgBouncer did not start: {log.read_text(errors='replace').strip()[-600:]}")

    def _end(self) -> None:
        if self._process is not None:
            stop(self._process, signal.SIGTERM, 5)
        if self._folder is not None:
            self._folder.cleanup()


if __name__ == "__main__":
    sys.exit(main())
