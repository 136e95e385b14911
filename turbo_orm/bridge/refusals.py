"""How often Django's guard has kept code in async code from the database.

Code of a project that runs while a statement is prepared (defaults, setters, `get_prep_value()`)
may query, and may survive the refusal with a value that is not the right one: then it has to run
again, in the bridge. So who runs it compares the count before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["attempted", "refusals"]

T = TypeVar("T")


class _Refusals:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


#: Of all threads: one too many costs a way that is longer.
refusals = _Refusals()


def attempted(make: Callable[[], T]) -> T | None:
    """Return what *make* does; None if it raises, or queries: that is for the bridge, where it runs again."""
    refused = refusals.count
    try:
        found = make()
    except Exception:
        return None
    return found if refusals.count == refused else None
