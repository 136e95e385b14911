"""What a plan says when it can't be exactly what Django does."""

from __future__ import annotations

__all__ = ["Unsupported"]


class Unsupported(Exception):
    """There is no plan for this; the message says why. The caller takes Django's own path."""
