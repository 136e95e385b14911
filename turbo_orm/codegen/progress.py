"""A progress line on a terminal, for projects of many models."""

from __future__ import annotations

from typing import Any

__all__ = ["Progress"]

#: Fewer models than this are described before a line could be read.
_WORTH_SHOWING = 50


class Progress:
    """Counts models on one line of a terminal; says nothing to a file or pipe."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._count = 0

    def step(self, label: str) -> None:
        self._count += 1
        if self._stream is not None and self._count >= _WORTH_SHOWING:
            self._stream.write(f"\r\x1b[K{self._count} models: {label}", ending="")
            self._stream.flush()

    def close(self) -> None:
        if self._stream is not None and self._count >= _WORTH_SHOWING:
            self._stream.write("\r\x1b[K", ending="")
            self._stream.flush()
