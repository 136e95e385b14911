"""Names shared by the generated stubs; they mean something to type checkers only (see typing.pyi)."""

from __future__ import annotations

from typing import Any

from turbo_orm import AsyncManager, AsyncQuerySet, Column

__all__ = ["AsyncManager", "AsyncQuerySet", "Column"]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return Any
