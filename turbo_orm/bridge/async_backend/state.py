"""The transaction state of a connection, kept in one place for the wrappers of both libraries."""

from __future__ import annotations

from typing import Any

__all__ = ["SHARED", "SharedState", "share_state"]

#: Django and django-async-backend give these the same names and meanings.
SHARED = (
    "atomic_blocks",
    "autocommit",
    "close_at",
    "closed_in_transaction",
    "commit_on_exit",
    "errors_occurred",
    "health_check_done",
    "health_check_enabled",
    "in_atomic_block",
    "isolation_level",
    "needs_rollback",
    "rollback_exc",
    "run_commit_hooks_on_set_autocommit_on",
    "run_on_commit",
    "savepoint_ids",
    "savepoint_state",
    "_named_cursor_idx",
)


class SharedState:
    """A data descriptor: the attribute lives on the wrapper called *owner* of the instance.

    Before there is an owner, in ``__init__()``, what is set is dropped.
    """

    def __init__(self, name: str, owner: str) -> None:
        self._name = name
        self._owner = owner

    def __get__(self, wrapper: Any, cls: type | None = None) -> Any:
        return self if wrapper is None else getattr(getattr(wrapper, self._owner), self._name)

    def __set__(self, wrapper: Any, value: Any) -> None:
        owner = getattr(wrapper, self._owner)
        if owner is not None:
            setattr(owner, self._name, value)


def share_state(cls: type, owner: str) -> None:
    """Have instances of *cls* keep their transaction state on the wrapper in attribute *owner*."""
    for name in SHARED:
        setattr(cls, name, SharedState(name, owner))
