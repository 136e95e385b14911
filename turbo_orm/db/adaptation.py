"""How the wire turns values into parameters and columns into values: as the connection does."""

from __future__ import annotations

from datetime import timezone
from typing import Any

from psycopg import AsyncConnection
from psycopg.abc import Dumper, Loader
from psycopg.adapt import AdaptersMap, PyFormat
from psycopg.postgres import types
from psycopg.pq import Format
from psycopg.pq.abc import PGconn

from turbo_orm.db.arrays import array_dumper

__all__ = ["WireContext", "session_settings"]

_TIMESTAMPTZ = types["timestamptz"].oid


def session_settings(pgconn: PGconn) -> tuple[bytes | None, ...]:
    """Return the settings of the session that adapters read once, when they are created."""
    status = pgconn.parameter_status
    return status(b"TimeZone"), status(b"DateStyle"), status(b"IntervalStyle"), status(b"client_encoding")


class WireContext:
    """What a `Transformer` adapts by: a connection and its adapters, but for one loader.

    Django's loader of ``timestamptz`` calls psycopg's and replaces the time zone of what it
    returns, in Python. Where it would replace UTC by UTC, psycopg's own does the same in C.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self.connection = connection

    @property
    def adapters(self) -> WireContext:
        """Itself: it answers for the connection's adapters."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection.adapters, name)

    def get_dumper(self, cls: type, format: PyFormat) -> type[Dumper]:  # noqa: A002  psycopg's name
        """Return the class of dumper for a Python class, see psycopg; arrays are encoded already."""
        return array_dumper(cls) or self.connection.adapters.get_dumper(cls, format)

    def get_loader(self, oid: int, format: Format) -> type[Loader] | None:  # noqa: A002  psycopg's name
        """Return the class of loader for a PostgreSQL type, see psycopg."""
        adapters: AdaptersMap = self.connection.adapters
        found: Any = adapters.get_loader(oid, format)
        if (
            oid == _TIMESTAMPTZ
            and getattr(found, "timezone", None) is timezone.utc
            and found.__module__ == "django.db.backends.postgresql.psycopg_any"
            and self.connection.pgconn.parameter_status(b"TimeZone") == b"UTC"
        ):
            # Before Django 6.0 its loader is a subclass of psycopg's instead.
            original = getattr(found(oid, self), "orig_loader", None)
            return found if original is None else type(original)
        return found  # type: ignore[no-any-return]
