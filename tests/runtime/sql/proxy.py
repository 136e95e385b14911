"""A proxy that announces an invented process id, as PgBouncer does."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from django.db import connections

from turbo_orm import close_pools


@asynccontextmanager
async def pooler(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Have the default database reached through such a proxy."""
    settings = connections.settings["default"]
    upstream = (settings["HOST"], int(settings["PORT"]))
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        server_reader, server_writer = await asyncio.open_connection(*upstream)
        try:
            await asyncio.gather(_copy(reader, server_writer), _messages(server_reader, writer))
        finally:
            server_writer.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with reached_by(monkeypatch, server.sockets[0].getsockname()[1]):
            yield
    finally:
        server.close()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def reached_by(monkeypatch: pytest.MonkeyPatch, port: int) -> AsyncIterator[None]:
    """Have the default database reached by another *port* of this machine, with a pool of its own."""
    settings = connections.settings["default"]
    await close_pools()
    with monkeypatch.context() as patch:
        patch.setitem(settings, "HOST", "127.0.0.1")
        patch.setitem(settings, "PORT", str(port))
        patch.setitem(
            settings, "OPTIONS", {**settings["OPTIONS"], "sslmode": "disable", "gssencmode": "disable"}
        )
        try:
            yield
        finally:
            await close_pools()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def _messages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = await reader.readexactly(5)
        except asyncio.IncompleteReadError:
            return
        kind, length = head[:1], struct.unpack("!i", head[1:])[0]
        body = await reader.readexactly(length - 4)
        if kind == b"K":  # BackendKeyData
            body = struct.pack("!i", struct.unpack("!i", body[:4])[0] + 1) + body[4:]
        writer.write(head + body)
