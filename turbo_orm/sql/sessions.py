"""What needs a server session of one's own, and so no transaction pooler in between."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from django.db import NotSupportedError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from turbo_orm.bridge.databases import async_connect_params
from turbo_orm.bridge.greenlets import drive
from turbo_orm.bridge.scopes import Scope
from turbo_orm.bridge.wrapper import BridgedWrapper

__all__ = ["connect", "refuse_pooler"]


async def connect(alias: str) -> tuple[psycopg.AsyncConnection[Any], BaseDatabaseWrapper]:
    """Open a connection to *alias* outside of its pool, in autocommit mode.

    Also returns a wrapper, whose ``wrap_database_errors`` turns the driver's errors into
    Django's. Raises `UnsupportedDatabaseError` if *alias* is not PostgreSQL.
    """
    scope = Scope(asyncio.get_running_loop(), apart=True)
    wrapper, params = await drive(scope, _wrapper_and_params, [alias])
    with wrapper.wrap_database_errors:
        conn = await psycopg.AsyncConnection.connect(**{**async_connect_params(params), "autocommit": True})
    return conn, wrapper


def _wrapper_and_params(alias: str) -> tuple[BaseDatabaseWrapper, dict[str, Any]]:
    wrapper: Any = connections[alias]
    if not isinstance(wrapper, BridgedWrapper):
        wrapper.connect()  # says why it can't
    return wrapper, wrapper.get_connection_params()


def refuse_pooler(alias: str, what: str, claimed_pid: int, pid: int) -> None:
    """Raise `NotSupportedError` for *what* if the server process is not the one we connected to.

    Between a client and a server PgBouncer invents the process id it announces.
    """
    if claimed_pid != pid:
        raise NotSupportedError(
            f"{what} needs a server session of its own, and database {alias!r} is reached "
            "through a connection pooler such as PgBouncer, which may hand the session to "
            "somebody else between two statements. Use an alias that connects to the server "
            "directly."
        )
