"""Tasks that nobody awaits."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["keep_until_done"]

_kept: set[asyncio.Task[Any]] = set()


def keep_until_done(task: asyncio.Task[Any]) -> None:
    """Keep *task* from being collected: an event loop refers to its tasks weakly."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)
