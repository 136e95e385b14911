"""The running `postgres` process: started so that it can't outlive us, stopped so that nothing is lost."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from devtools.postgres.binaries import server_environment
from devtools.postgres.workspace import Workspace

__all__ = ["ServerProcess"]

_SECONDS_TO_STOP = 15
_PR_SET_PDEATHSIG = 1
# SIGINT is PostgreSQL's "fast shutdown": end the sessions, then stop.
_FAST_SHUTDOWN = signal.SIGINT if os.name == "posix" else signal.SIGTERM


class ServerProcess:
    """A `postgres` started by `start`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, workspace: Workspace, port: int, settings: Mapping[str, str]) -> ServerProcess:
        """Start the server of `workspace` in a session of its own, where Ctrl-C does not reach it before us."""
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
                preexec_fn=_end_with_parent(),
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
        if not self.running:
            return
        self._process.send_signal(_FAST_SHUTDOWN)
        try:
            self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end_with_parent() -> Callable[[], object] | None:
    """Have Linux shut the server down when we are killed.

    From the main thread only: the kernel sends the signal when the *thread* which started the process ends.
    subprocess calls this after it changed the user, as it must be: changing the user clears the setting.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, _FAST_SHUTDOWN)
