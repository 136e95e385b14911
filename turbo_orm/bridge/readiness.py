"""Which pooled connections Django has set up already, so that statements may go straight to them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.signals import setting_changed
from django.db.backends.postgresql.psycopg_any import register_tzloader
from psycopg.postgres import types
from psycopg.pq import Format

from turbo_orm.db.connections import READY

__all__ = ["Epoch", "is_ready", "load_datetimes_in", "note_ready", "server_versions"]


_TIMESTAMPTZ = types["timestamptz"].oid

#: The attribute of a connection that is the time zone of its session, when it was set up.
_TIME_ZONE = "_turbo_time_zone"


class Epoch:
    """Counts changes of what Django sets up on a connection."""

    current = 0


#: By alias (150004 is 15.4), of those that are known; how Django compiles depends on it.
server_versions: dict[str, int] = {}


def note_ready(alias: str, conn: Any, zone: dt.tzinfo | None) -> None:
    """Note that Django's `connect()` has just run on *conn*: time zone, role, autocommit.

    It is marked with the `Epoch` of now. Datetimes are loaded in *zone*, as `load_datetimes_in()` says.
    (Django sees to that with each cursor: the settings may be others than when the connection was opened.)
    """
    load_datetimes_in(zone, conn)
    conn.__dict__[READY] = Epoch.current
    conn.__dict__[_TIME_ZONE] = conn.pgconn.parameter_status(b"TimeZone")
    server_versions[alias] = conn.pgconn.server_version


def load_datetimes_in(zone: dt.tzinfo | None, conn: Any) -> None:
    """Have *conn* load datetimes in *zone* from now on, None for naive ones."""
    loader = conn.adapters.get_loader(_TIMESTAMPTZ, Format.TEXT)
    if getattr(loader, "timezone", zone) != zone:
        register_tzloader(zone, conn)


def is_ready(conn: Any) -> bool:
    """Whether Django's `connect()` has run on *conn* and would do nothing new.

    To be asked where others than the wire may have used it: they may have set another time zone,
    and datetimes would be read as those of the old one.
    """
    state = conn.__dict__
    if state.get(READY) != Epoch.current:
        return False
    return bool(state[_TIME_ZONE] == conn.pgconn.parameter_status(b"TimeZone"))


_WATCHED = {"USE_TZ", "TIME_ZONE", "DATABASES"}


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in _WATCHED:
        Epoch.current += 1


setting_changed.connect(_on_setting_changed, dispatch_uid="turbo_orm.bridge.readiness")
