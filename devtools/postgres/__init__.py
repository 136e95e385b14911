"""The PostgreSQL which the demo and the tests run on: `DATABASE_URL`, else a private, throw-away server."""

from __future__ import annotations

import os

from devtools.postgres.binaries import Binaries, find_binaries
from devtools.postgres.databases import create_database, drop_database
from devtools.postgres.external import ExternalServer
from devtools.postgres.private import Postgres
from devtools.signals import end_cleanly_on_signals

__all__ = [
    "Binaries",
    "ExternalServer",
    "Postgres",
    "Server",
    "create_database",
    "drop_database",
    "find_binaries",
    "server_from_environment",
]

Server = ExternalServer | Postgres


def server_from_environment(**settings: str) -> Server:
    """Return a running server: the one `DATABASE_URL` names, else a private one with these settings.

    Both answer to `url(database)` and `stop()`, and are context managers. The private one also
    stops when this process ends, on SIGTERM, and when the process is killed.
    Raises `devtools.errors.SetupError`, one sentence, when there is none to be had.
    """
    url = os.environ.get("DATABASE_URL", "").strip()
    if url:
        return ExternalServer(url)
    end_cleanly_on_signals()
    _forget_libpq_settings()
    return Postgres(binaries=None, **settings).start()


def _forget_libpq_settings() -> None:
    """PGOPTIONS, PGSSLMODE and the like are meant for the user's servers; libpq would apply them to ours."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
