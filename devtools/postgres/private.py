"""A private PostgreSQL in a temporary folder, started by us and gone when we are gone."""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import subprocess
import sys
import time
from types import TracebackType
from urllib.parse import quote

from typing_extensions import Self

from devtools.errors import SetupError
from devtools.postgres.binaries import Binaries, find_binaries, server_environment
from devtools.postgres.process import ServerProcess
from devtools.postgres.scram import cheap_verifier
from devtools.postgres.workspace import Workspace
from devtools.signals import uninterrupted

__all__ = ["Postgres"]

_SECONDS_TO_START = 60
_PORT_TRIES = 5
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
}


class Postgres:
    """A server of our own: `with Postgres() as server: connect(server.url("name"))`.

    `settings` are added to the server's configuration. The server stops with the context, with
    `stop()`, when this process exits, and (on Linux) when this process is killed.
    """

    def __init__(self, *, binaries: Binaries | None = None, **settings: str) -> None:
        self._binaries = binaries
        self._settings = _SETTINGS | settings
        self._password = secrets.token_urlsafe(16)
        self._workspace: Workspace | None = None
        self._process: ServerProcess | None = None
        self._port = 0
        self._owner = os.getpid()

    def __repr__(self) -> str:
        return f"<Postgres {f'on port {self._port}' if self._process else 'stopped'}>"

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def description(self) -> str:
        """What runs, for a person to read."""
        found = self._found()
        return f"a private PostgreSQL {found.major} ({found.source} binaries) on port {self._port}"

    @property
    def process_id(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError("This PostgreSQL is not running: call start() first.")
        return self._process.pid

    def url(self, database: str | None = None) -> str:
        """Return the address of *database* on this server."""
        return (
            f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{quote(database or 'postgres')}"
        )

    def start(self) -> Postgres:
        """Start the server and wait until it accepts connections."""
        if self._process is not None:
            raise RuntimeError("This PostgreSQL is already running: call stop() first, or make another one.")
        atexit.register(self.stop)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and remove its folder. Doing it twice is fine."""
        if os.getpid() != self._owner:
            return  # a forked child leaves the server to its parent
        with uninterrupted():
            process, self._process = self._process, None
            workspace, self._workspace = self._workspace, None
            if process is not None:
                process.stop()
            if workspace is not None:
                workspace.remove()
        atexit.unregister(self.stop)

    def _found(self) -> Binaries:
        if self._binaries is None:
            self._binaries = find_binaries()
        return self._binaries

    def _start(self) -> None:
        found = self._found()
        self._workspace = workspace = Workspace.create(found)
        self._initialise(workspace)
        for _ in range(_PORT_TRIES):
            self._port = _free_port()
            self._process = ServerProcess.start(workspace, self._port, self._settings)
            if self._wait_until_ready(workspace, self._process):
                _check_loopback(self._port)
                return
            if "could not bind" not in workspace.log():
                break
        raise SetupError(
            f"The private PostgreSQL did not start: {_last_lines(workspace.log())} "
            "Set DATABASE_URL to use a server of your own."
        )

    def _initialise(self, workspace: Workspace) -> None:
        password_file = workspace.write_private("password", cheap_verifier(self._password) + "\n")
        command = [
            str(workspace.binaries.initdb),
            "--pgdata", str(workspace.data), "--username", "postgres", "--encoding", "UTF8",
            "--auth", "scram-sha-256", "--pwfile", str(password_file),
            "--no-sync", "--no-instructions", *_version_options(workspace.binaries.major),
        ]  # fmt: skip
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=server_environment(),
            cwd=workspace.folder,
            **workspace.identity,
        )
        password_file.unlink()
        if result.returncode != 0:
            workspace.check_space()
            raise SetupError(
                f"initdb could not make the private PostgreSQL: {_last_lines(result.stderr)} "
                "Set DATABASE_URL to use a server of your own."
            )

    @staticmethod
    def _wait_until_ready(workspace: Workspace, process: ServerProcess) -> bool:
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            if not process.running:
                return False
            if workspace.server_is_ready():
                return True
            time.sleep(0.01)
        return False


def _version_options(major: int) -> list[str]:
    """Options of `initdb` which not every version has."""
    # The builtin C.UTF-8 is the same everywhere; before it, only glibc's upper-cases letters beyond ASCII.
    if major >= 17:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _check_loopback(port: int) -> None:
    """A container without any network can bind to 127.0.0.1 and yet not connect to it."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        raise SetupError(
            f"127.0.0.1 can't be reached ({error.strerror or error}): bring the loopback interface up."
        ) from None


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it said nothing."
