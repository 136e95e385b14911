"""The one error of the set-up: a sentence for the person at the terminal, never a traceback."""

from __future__ import annotations

__all__ = ["SetupError"]


class SetupError(RuntimeError):
    """The set-up can't go on. The message is one sentence: what, why, what to do."""
