"""Code that runs once, and keeps what it makes: the bodies of modules and classes.

A queryset of such code, as a view's ``queryset = Book.objects.filter(...)``, is used over and over, but
made once: its shape is never seen again.
"""

from __future__ import annotations

import sys
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_OPTIMIZED

__all__ = ["runs_in_body"]

#: How many callers are looked at.
_DEPTH = 25

_ASYNC = CO_COROUTINE | CO_ASYNC_GENERATOR


def runs_in_body() -> bool:
    """Whether the body of a module or a class calls this, by way of some functions."""
    frame = sys._getframe(1)
    for _ in range(_DEPTH):
        flags = frame.f_code.co_flags
        if not flags & CO_OPTIMIZED:
            return True
        if flags & _ASYNC or frame.f_back is None:
            return False
        frame = frame.f_back
    return False
