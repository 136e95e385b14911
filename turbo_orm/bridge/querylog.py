"""Who is told of the statements an operation executes, besides ``connection.queries``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["QueryLog", "Recorder", "recorders", "recording", "show_like"]


class Recorder:
    """Collects the statements on one alias, as the dictionaries of ``connection.queries``."""

    __slots__ = ("active", "alias", "queries")

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.active = True
        self.queries: list[dict[str, str]] = []


#: The recorders of this context. A context variable follows the code into its child tasks and
#: into the bridge, and nowhere else.
recorders: ContextVar[tuple[Recorder, ...]] = ContextVar("turbo_orm_recorders", default=())


def recording(alias: str) -> list[Recorder]:
    """Return the active recorders of the running code for *alias*."""
    found = recorders.get()
    return [each for each in found if each.active and each.alias == alias] if found else []


def show_like(wrapper: Any, other: Any) -> None:
    """Have *wrapper* show its statements to whom *other*, of the same alias, shows them."""
    wrapper.queries_log = other.queries_log
    wrapper.execute_wrappers = other.execute_wrappers
    wrapper.force_debug_cursor = other.force_debug_cursor


class QueryLog:
    """Looks like the ``queries_log`` of Django's wrappers; also tells the recorders."""

    __slots__ = ("_recorders", "djangos", "kept")

    def __init__(self, log: deque[dict[str, str]], to: list[Recorder], *, kept: bool) -> None:
        #: Its own: what asks for queries, or clears them as each request does, means these.
        self.djangos = log
        #: Whether its own is to have them too.
        self.kept = kept
        self._recorders = to

    def append(self, query: dict[str, str]) -> None:
        if self.kept:
            self.djangos.append(query)
        for recorder in self._recorders:
            recorder.queries.append(query)

    def __len__(self) -> int:
        return len(self.djangos)

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(self.djangos)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.djangos, name)
