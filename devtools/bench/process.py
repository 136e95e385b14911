"""The coordinator's end of a contestant's process."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from types import TracebackType
from typing import Any

from typing_extensions import Self

from devtools.bench.contestants import Missing
from devtools.children import end_with_parent, stop

__all__ = ["Failed", "Process"]

_SECONDS_TO_ANSWER = 300


class Failed(RuntimeError):
    """A contestant raised, or its process ended."""


class Process:
    """A contestant with its pool open, in a process of its own. Raises `Missing` when it can't take part."""

    def __init__(
        self, name: str, *, url: str, connections: int, small: int = 0, loop: str = "asyncio"
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devtools.bench.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )
        try:
            options = {"url": url, "connections": connections, "small": small, "loop": loop}
            #: Names and versions of its packages, in one line.
            self.versions: str = self._exchange(options)["versions"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, verb: str, **details: Any) -> dict[str, Any]:
        """Have the worker do something, and return its reply. Raises `Failed`."""
        return self._exchange({"do": verb, **details})

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            stop(self._process, signal.SIGKILL, 10)
        self._process.stdout.close()

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self.name}: its process ended") from None
        readable, _, _ = select.select([self._process.stdout], [], [], _SECONDS_TO_ANSWER)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            what = "its process ended" if readable else f"no answer after {_SECONDS_TO_ANSWER} s"
            raise Failed(f"{self.name}: {what}")
        reply: dict[str, Any] = json.loads(line)
        if "missing" in reply:
            raise Missing(reply["missing"])
        if "error" in reply:
            raise Failed(f"{self.name}: {reply['error']}")
        return reply
