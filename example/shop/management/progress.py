"""A progress bar for a terminal; for a log, one line at the end."""

from __future__ import annotations

import time
from typing import TextIO

__all__ = ["Progress"]

_WIDTH = 30
_SECONDS_BETWEEN_DRAWINGS = 0.05


class Progress:
    """Counts rows towards a total that is not known in advance: the share is of `steps`."""

    def __init__(self, steps: int, stream: TextIO) -> None:
        self._steps = steps
        self._stream = stream
        self._started = time.monotonic()
        self._drawn = 0.0
        self.rows = 0

    def update(self, step: int, label: str, rows: int) -> None:
        """Report that `rows` more rows of `label` are in, during step number `step`."""
        self.rows += rows
        now = time.monotonic()
        if self._stream.isatty() and (now - self._drawn > _SECONDS_BETWEEN_DRAWINGS or step == self._steps):
            self._drawn = now
            filled = _WIDTH * step // self._steps
            bar = "█" * filled + "░" * (_WIDTH - filled)
            self._stream.write(f"\r  {bar} {self.rows:>7,} rows  {label:<27}")
            self._stream.flush()

    def finish(self) -> None:
        """Clear the bar and write the total."""
        if self._stream.isatty():
            self._stream.write("\r" + " " * (_WIDTH + 50) + "\r")
        self._stream.write(f"  {self.rows:,} rows in {time.monotonic() - self._started:.1f} s\n")
        self._stream.flush()
