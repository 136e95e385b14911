"""Statements of psycopg's cursors on a connection that has a wire: its socket stays registered."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

from turbo_orm.db.channel import Channel, _Future

__all__ = ["serve"]

T = TypeVar("T")

_TO_READ = int(Wait.R)
_READABLE = Ready.R


async def serve(channel: Channel, gen: PQGen[T]) -> T:
    """Drive a cursor's *gen*, which begins a statement, as `AsyncConnection.wait()` does.

    The socket is not registered with the event loop for it: it is registered already. Once *gen* waits for
    anything but an answer, psycopg's own `wait()` takes over.
    """
    channel.attached = False  # it may change settings of the session
    try:
        state = next(gen)
        while state == _TO_READ:
            if not channel.listening:
                channel._register()
            waiter: asyncio.Future[None] = _Future(loop=channel.loop)
            channel._cursor_waiter = waiter
            try:
                await waiter
            except BaseException as exc:
                channel._cursor_waiter = None
                if not isinstance(exc, asyncio.CancelledError | KeyboardInterrupt):
                    raise
                return await channel.conn.wait(_begun(gen, state, exc))
            state = gen.send(_READABLE)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    return await channel.conn.wait(_begun(gen, state))


def _begun(gen: PQGen[T], state: Wait, exc: BaseException | None = None) -> PQGen[T]:
    """Return what `AsyncConnection.wait()` goes on with, as if it had begun *gen*."""
    begun: Any = _Begun(gen, state, exc)
    return begun  # type: ignore[no-any-return]


class _Begun:
    """A generator of psycopg's that waits, with what interrupted it if something did."""

    __slots__ = ("_exc", "_state", "send")

    def __init__(self, gen: PQGen[Any], state: Wait, exc: BaseException | None) -> None:
        self._state: Wait | None = state
        self._exc = exc
        self.send = gen.send

    def __next__(self) -> Wait:
        exc, self._exc = self._exc, None
        if exc is not None:
            raise exc
        state, self._state = self._state, None
        return self.send(None) if state is None else state  # type: ignore[arg-type]
