"""Which pooled connections Django has set up already, so that statements may go straight to them."""

from __future__ import annotations

from typing import Any

from django.core.signals import setting_changed

from turbo_orm.db.connections import READY

__all__ = ["Epoch", "is_ready", "note_ready", "server_version", "server_versions"]


class Epoch:
    """Counts changes of what Django sets up on a connection."""

    current = 0


#: By alias (150004 is 15.4), of those that are known; how Django compiles depends on it.
server_versions: dict[str, int] = {}


def note_ready(alias: str, conn: Any) -> None:
    """Note that Django's `connect()` has just run on *conn*: time zone, role, autocommit.

    The mark is the `Epoch` it was in.
    """
    conn.__dict__[READY] = Epoch.current
    server_versions[alias] = conn.pgconn.server_version


def server_version(alias: str) -> int | None:
    """Return the version of the server behind *alias* (150004 is 15.4), None if not yet known."""
    return server_versions.get(alias)


def is_ready(conn: Any) -> bool:
    """Whether Django's `connect()` has run on *conn* and would do nothing new."""
    return bool(conn.__dict__.get(READY) == Epoch.current)


_WATCHED = {"USE_TZ", "TIME_ZONE", "DATABASES"}


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in _WATCHED:
        Epoch.current += 1


setting_changed.connect(_on_setting_changed, dispatch_uid="turbo_orm.bridge.readiness")
