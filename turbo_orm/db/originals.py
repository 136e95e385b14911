"""Django's own functions, in whose place there may be others: of other packages, or ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["original", "replace_once"]


def original(owner: type[Any], name: str) -> Any:
    """Return Django's own method *name* of its class *owner*; None if it has been replaced already."""
    method = vars(owner)[name]
    # Not by its name and module: a decorator copies these.
    is_own = type(method) is FunctionType and method.__globals__ is vars(sys.modules[owner.__module__])
    return method if is_own else None


def replace_once(owner: Any, name: str, around: Callable[[Callable[..., Any]], Any], by: str) -> None:
    """Put what *around* makes of it in the place of the function *name* of *owner*, a class or a module.

    Once for each *by*, who does it, however often that is called: where not all modules were imported at
    first, it is again.
    """
    before = getattr(owner, name)
    mark = f"_turbo_{by}"  # functools.wraps() hands it on
    if not hasattr(before, mark):
        instead = around(before)
        setattr(instead, mark, True)
        setattr(owner, name, instead)
