"""Connections for statements that go straight to the wire, without Django's wrapper."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.utils import DatabaseErrorWrapper
from psycopg import AsyncConnection

from turbo_orm.bridge.async_backend.join import in_their_block
from turbo_orm.bridge.async_backend.setup import enabled
from turbo_orm.bridge.cursors import are_untouched
from turbo_orm.bridge.databases import known_pool, open_pool_of
from turbo_orm.bridge.handler import ambient_connection, has_ambient
from turbo_orm.bridge.querylog import recorders, recording
from turbo_orm.bridge.readiness import Epoch, is_ready
from turbo_orm.bridge.run import run_sync
from turbo_orm.db.leases import give_back, lease, take_idle, take_wire
from turbo_orm.db.pools import Pool
from turbo_orm.db.wire import Wire, wire_of

__all__ = [
    "django_errors",
    "goes_straight",
    "is_guarded",
    "is_watched",
    "take_later",
    "take_now",
    "take_ready",
]

#: Without the detours of a lazy object.
_attribute = object.__getattribute__

_modules = sys.modules
_recorders = recorders.get

#: Turns psycopg's exceptions into Django's.
django_errors = DatabaseErrorWrapper(SimpleNamespace(Database=psycopg, errors_occurred=False))

#: Django's own. Test cases and pytest-django put in its place what refuses tests a database.
_ensure_connection = BaseDatabaseWrapper.ensure_connection


def is_guarded() -> bool:
    """Whether somebody else than Django decides who may have a connection, and must be asked."""
    return BaseDatabaseWrapper.ensure_connection is not _ensure_connection


def take_now(loop: asyncio.AbstractEventLoop, alias: str) -> Wire | None:
    """Lease a connection as `take_later()` does if that is possible without waiting, else None."""
    pool = known_pool(loop, alias)
    if pool is None or (connection_created.receivers and not _plain_receivers()):
        return None
    if BaseDatabaseWrapper.ensure_connection is not _ensure_connection:  # is_guarded(), without a call
        return None
    return take_wire(pool, Epoch.current)


async def take_later(loop: asyncio.AbstractEventLoop, alias: str) -> Wire | None:
    """Lease a connection as `take_ready()` does; return its wire.

    None also if there is no wire for it. The connection knows the pool that wants it back.
    """
    taken = await take_ready(loop, alias)
    if taken is None:
        return None
    conn, pool = taken
    wire = wire_of(conn)
    if wire is None:
        await give_back(conn, pool)
    return wire


async def take_ready(loop: asyncio.AbstractEventLoop, alias: str) -> tuple[AsyncConnection[Any], Pool] | None:
    """Lease a connection to *alias* which Django has set up once already.

    None if there can't be one, because somebody wants to be told each time Django connects or executes.
    """
    if not _plain_receivers():
        return None
    pool = open_pool_of(loop, alias)
    if pool is None or is_guarded():
        pool = await _set_up(loop, alias)
        if pool is None or not _plain_receivers():
            return None
    if not pool.wired:
        return None
    conn = take_idle(pool)
    while conn is None or not is_ready(conn):
        if conn is None:
            with django_errors:
                conn = await lease(pool)
        else:
            await give_back(conn, pool)
            pool.taken -= 1
            await _set_up(loop, alias)
            conn = take_idle(pool)
    return conn, pool


async def _set_up(loop: asyncio.AbstractEventLoop, alias: str) -> Pool | None:
    """Have Django set up a connection to *alias*; return the pool which has it then."""
    await run_sync(_connect, alias)
    pool = open_pool_of(loop, alias)
    if pool is not None:
        pool.taken -= 1  # who asks for a connection has yet to take one
    return pool


def _connect(alias: str) -> None:
    connections[alias].ensure_connection()


#: Receivers which do the same to a connection whenever it is taken from the pool.
_KNOWN_RECEIVERS = frozenset({"django.contrib.postgres.signals"})


def _plain_receivers() -> bool:
    """Whether nobody wants to be told of each connection that is taken."""
    for receiver in connection_created.receivers or ():
        function = receiver[1]
        if callable(function) and getattr(function, "__module__", None) is None:
            function = function()
        if function is not None and getattr(function, "__module__", None) not in _KNOWN_RECEIVERS:
            return False
    return True


def goes_straight(alias: str) -> bool:
    """Whether statements of async code on *alias*, outside of our blocks, may bypass Django's wrapper.

    Not if somebody watches, and not in a block of django-async-backend.
    """
    if not are_untouched():
        return False
    if (has_ambient() or _recorders() or _attribute(settings, "_wrapped").DEBUG) and is_watched(alias):
        return False
    # Its engine imports it; enabled() alone would be asked for each statement.
    return "django_async_backend" not in _modules or not (
        enabled(connections.settings[alias]["ENGINE"]) and in_their_block(alias)
    )


def is_watched(alias: str) -> bool:
    """Whether somebody is to see the statements of async code on *alias* as Django's cursors show them."""
    if _recorders() and recording(alias):
        return True
    if has_ambient() and (wrapper := ambient_connection(alias)) is not None:
        return bool(wrapper.execute_wrappers or wrapper.queries_logged)
    return bool(_attribute(settings, "_wrapped").DEBUG)
