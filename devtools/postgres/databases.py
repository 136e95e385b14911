"""Creating and dropping databases on a server of `devtools.postgres`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import psycopg
from psycopg import sql

from devtools.errors import SetupError

if TYPE_CHECKING:
    from psycopg.abc import Query

__all__ = ["create_database", "drop_database"]


class _Server(Protocol):
    def url(self, database: str | None = None) -> str: ...


def create_database(server: _Server, name: str) -> str:
    """Create an empty database and return its address."""
    try:
        _execute(
            server,
            sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name)),
        )
    except psycopg.errors.InsufficientPrivilege:
        raise SetupError(
            "The user in DATABASE_URL may not create databases: grant it CREATEDB, name another user, "
            "or unset DATABASE_URL to get a private server."
        ) from None
    return server.url(name)


def drop_database(server: _Server, name: str) -> None:
    """Drop a database, ending the sessions still in it; one that is not there is fine."""
    _execute(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server: _Server, statement: Query) -> None:
    with psycopg.connect(server.url(), autocommit=True, connect_timeout=5) as connection:
        connection.execute(statement)
