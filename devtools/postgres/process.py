"""The running `postgres` process: started so that it can't outlive us, stopped so that nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping

from devtools.children import end_with_parent, stop
from devtools.postgres.binaries import server_environment
from devtools.postgres.workspace import Workspace

__all__ = ["ServerProcess"]

_SECONDS_TO_STOP = 15
# SIGINT is PostgreSQL's "fast shutdown": end the sessions, then stop.
_FAST_SHUTDOWN = signal.SIGINT if os.name == "posix" else signal.SIGTERM


class ServerProcess:
    """A `postgres` started by `start`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, workspace: Workspace, port: int, settings: Mapping[str, str]) -> ServerProcess:
        """Start the server in a session of its own, where Ctrl-C does not reach it before us."""
        command = [str(workspace.binaries.postgres), "-D", str(workspace.data), "-p", str(port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with workspace.log_file.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=server_environment(),
                cwd=workspace.folder,
                start_new_session=True,
                preexec_fn=end_with_parent(_FAST_SHUTDOWN),
                **workspace.identity,
            )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Shut the server down, by force if it takes too long."""
        stop(self._process, _FAST_SHUTDOWN, _SECONDS_TO_STOP)
