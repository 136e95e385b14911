"""uvicorn, serving the example project."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

from typing_extensions import Self

from devtools.children import end_with_parent, stop
from devtools.demo.project import Project
from devtools.errors import SetupError

__all__ = ["APPLICATION_NAME", "WebServer", "choose_port"]

APPLICATION_NAME = "bookshop"
_SECONDS_TO_SERVE = 30
_SECONDS_TO_STOP = 10


class WebServer:
    """uvicorn, serving the project on a port of this machine."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._port = port
        self._process = process

    @classmethod
    def start(cls, project: Project, port: int) -> WebServer:
        """Start the server and wait until it accepts connections."""
        process = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", "config.asgi:application",
                "--host", "127.0.0.1", "--port", str(port), "--lifespan", "on",
                "--log-level", "warning", "--timeout-graceful-shutdown", "5",
            ],
            cwd=project.folder,
            env={**project.environment, "PGAPPNAME": APPLICATION_NAME},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop it
            preexec_fn=end_with_parent(signal.SIGTERM),
        )  # fmt: skip
        server = cls(process, port)
        try:
            server._wait_until_it_answers()
        except BaseException:
            server.stop()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self) -> int:
        """Wait until the server ends by itself; return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """Let the server finish its requests, then end it."""
        stop(self._process, signal.SIGTERM, _SECONDS_TO_STOP)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_SERVE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SetupError(
                    f"The ASGI server ended at once (exit code {self._process.returncode}), see above."
                )
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        raise SetupError(f"The ASGI server did not answer within {_SECONDS_TO_SERVE} s.")


def choose_port(wanted: int | None, default: int) -> int:
    """Return the port to serve on: a free one when the default is 0."""
    port = default if wanted is None else wanted
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise SetupError(
                f"Port {port} can't be used ({getattr(error, 'strerror', None) or error}): "
                "name a free one with --port, or stop what uses it."
            ) from None
        chosen: int = probe.getsockname()[1]
        return chosen
