"""A proxy whose server refuses to begin a transaction, as one does that is told to stop in that moment."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from django.db import connections

from tests.runtime.sql.proxy import reached_by

__all__ = ["Refusing"]

_BEGIN = b"BEGIN"


class Refusing:
    """Refuses one transaction after `refuse()`."""

    def __init__(self) -> None:
        self._left = 0
        self._serving: set[asyncio.Task[None]] = set()

    def refuse(self, which: int | None) -> None:
        """Refuse the transaction that is the *which*-th from now on; or none."""
        self._left = which or 0

    def count(self) -> int:
        """Return how many connections there are."""
        return len(self._serving)

    @asynccontextmanager
    async def between(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """Have the default database reached through it."""
        settings = connections.settings["default"]
        self._upstream = (settings["HOST"], int(settings["PORT"]))
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            async with reached_by(monkeypatch, server.sockets[0].getsockname()[1]):
                yield
        finally:
            server.close()
            for task in self._serving:
                task.cancel()  # of a test that has failed a connection may be left
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        server_reader, server_writer = await asyncio.open_connection(*self._upstream)
        try:
            await asyncio.gather(self._ask(reader, server_writer), _answer(server_reader, writer))
        finally:
            server_writer.close()
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What the other side does when one is gone is up to it.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readexactly(4)  # of what a connection begins with, which has no type
            writer.write(head + await reader.readexactly(struct.unpack("!i", head)[0] - 4))
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
                writer.write(head + self._changed(head[:1], body))
        writer.close()

    def _changed(self, kind: bytes, body: bytes) -> bytes:
        if kind in b"PQ" and body.startswith((_BEGIN, b"\0" + _BEGIN)):
            self._left -= 1
            if self._left == 0:
                return body.replace(_BEGIN, b"BEGAN", 1)
        return body


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()
