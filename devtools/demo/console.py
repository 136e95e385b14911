"""What the demo prints: numbered steps, each with its time and a few lines of result."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator

__all__ = ["Console"]


class Console:
    """Prints steps to standard output."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._width = shutil.get_terminal_size((120, 24)).columns

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Head a step, and close it with the time it took."""
        self._step += 1
        print(f"[{self._step}/{self._steps}] {title}", flush=True)
        started = time.monotonic()
        yield
        print(f"  done in {time.monotonic() - started:.1f} s", flush=True)

    def line(self, text: str) -> None:
        """Print a line of a step, cut to the width of the terminal."""
        text = " ".join(text.split())
        room = max(40, self._width - 3)
        print("  " + (text if len(text) <= room else text[: room - 1] + "…"), flush=True)

    def error(self, text: str) -> None:
        """Print a sentence about what went wrong."""
        sys.stdout.flush()
        print(f"demo: {text}", file=sys.stderr, flush=True)
