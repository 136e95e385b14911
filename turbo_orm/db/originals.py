"""Django's own methods, where others may have replaced them."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

__all__ = ["original"]


def original(owner: type[Any], name: str) -> Any:
    """Return Django's own method *name* of its class *owner*; None if it has been replaced already."""
    method = vars(owner)[name]
    # Not by its name and module: a decorator copies these.
    is_own = type(method) is FunctionType and method.__globals__ is vars(sys.modules[owner.__module__])
    return method if is_own else None
