"""LISTEN and NOTIFY."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import Notify, sql
from psycopg.generators import notifies

from turbo_orm.bridge.iterators import ChunkIterator
from turbo_orm.bridge.run import run_sync
from turbo_orm.sql.sessions import connect, refuse_pooler

__all__ = ["Listener", "listen", "notify"]

#: The bytes PostgreSQL keeps of a name; it cuts off the rest silently.
_LONGEST_NAME = 63


class Listener:
    """Notifications as they arrive, each a `psycopg.Notify`: ``channel``, ``payload``, ``pid``.

    As ``async for`` it listens until the loop is left. As ``async with listen(...) as
    notifications`` the server is listening when the body begins, until it ends.
    """

    def __init__(self, channels: tuple[str, ...], alias: str) -> None:
        self._channels = channels
        self._alias = alias

    def __repr__(self) -> str:
        return f"<Listener to {', '.join(self._channels)} on {self._alias!r}>"

    async def __aenter__(self) -> AsyncIterator[Notify]:
        self._listening = await _start(self._alias, self._channels)
        return self._listening

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._listening.close()

    def __aiter__(self) -> ChunkIterator[Notify]:
        return _Notifications(self._alias, self._channels)


class _Listening:
    """The iterator of one connection; a cancelled wait loses nothing."""

    def __init__(self, conn: psycopg.AsyncConnection[Any], wrapper: Any) -> None:
        self._conn = conn
        self._errors = wrapper.wrap_database_errors
        self._arrived: deque[Notify] = deque()
        conn.add_notify_handler(self._arrived.append)

    async def start(self, alias: str, channels: tuple[str, ...]) -> None:
        with self._errors:
            cursor = await self._conn.execute("SELECT pg_backend_pid()")
            row = await cursor.fetchone()
            assert row is not None
            refuse_pooler(alias, "listen()", self._conn.info.backend_pid, row[0])
            for channel in channels:
                await self._conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    async def close(self) -> None:
        await self._conn.close()  # does not suspend: it works while a coroutine is destroyed

    def __aiter__(self) -> AsyncIterator[Notify]:
        return self

    async def __anext__(self) -> Notify:
        conn, arrived = self._conn, self._arrived
        with self._errors:
            while not arrived:
                # Not conn.notifies(), which is a generator: see `turbo_orm.bridge.iterators`.
                async with conn.lock:
                    if not arrived:
                        await conn.wait(notifies(conn.pgconn))
        return arrived.popleft()


async def _start(alias: str, channels: tuple[str, ...]) -> _Listening:
    """Open a connection, and have the server listen."""
    listening = _Listening(*await connect(alias))
    try:
        await listening.start(alias, channels)
    except BaseException:
        await listening.close()
        raise
    return listening


class _Notifications(ChunkIterator[Notify]):
    """Listens from its first step until it is closed."""

    __slots__ = ("_alias", "_channels", "_listening")

    def __init__(self, alias: str, channels: tuple[str, ...]) -> None:
        super().__init__()
        self._alias = alias
        self._channels = channels
        self._listening: _Listening | None = None

    async def fetch_chunk(self) -> tuple[list[Notify], bool]:
        listening = self._listening
        if listening is None:
            listening = self._listening = await _start(self._alias, self._channels)
        try:
            return [await listening.__anext__()], True
        except BaseException:
            await listening.close()
            raise

    async def close_early(self, exc: BaseException) -> None:
        assert self._listening is not None
        await self._listening.close()


def listen(*channels: str, using: str | None = None) -> Listener:
    """Listen to *channels* of the database *using*, on a connection that is not the pool's.

    It is opened and closed by the ``async for`` or ``async with`` that uses the result, also
    in an `atomic()` block. When it is lost `django.db.OperationalError` is raised: listen again.

    Raises `ValueError` without a channel or with a name PostgreSQL can't hold, and
    `NotSupportedError` behind a connection pooler.
    """
    if not channels:
        raise ValueError("listen() needs the name of at least one channel.")
    for channel in channels:
        _check(channel)
    return Listener(channels, using or DEFAULT_DB_ALIAS)


async def notify(channel: str, payload: str = "", using: str | None = None) -> None:
    """Send *payload*, of less than 8000 bytes, to everyone who listens to *channel*.

    Inside `atomic()` it is sent when the transaction commits, and never if it is rolled back.
    """
    _check(channel)
    await run_sync(_notify, channel, payload, using or DEFAULT_DB_ALIAS)


def _notify(channel: str, payload: str, alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


def _check(channel: str) -> None:
    if not 0 < len(channel.encode()) <= _LONGEST_NAME:
        raise ValueError(
            f"A channel's name has 1 to {_LONGEST_NAME} bytes in PostgreSQL, unlike {channel!r}."
        )
