"""For event loops that do not tell readers of broken sockets: look after them now and then.

uvloop closes its side of a socket in an error state (after a reset by the peer, say) without
calling the reader. psycopg is safe from it because it wakes up ten times a second for each
statement; here one timer serves all connections of a loop.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from turbo_orm.db.channel import Channel

__all__ = ["look_after"]

#: Seconds between two looks.
_INTERVAL = 0.2

_watched: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[Channel]] = WeakKeyDictionary()


def look_after(channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
    """Call *channel*'s reader also when its socket breaks and *loop* would not tell."""
    if isinstance(loop, asyncio.SelectorEventLoop) or not hasattr(select, "poll"):
        return
    channels = _watched.get(loop)
    if channels is None:
        channels = _watched[loop] = WeakSet()
    if not channels:
        loop.call_later(_INTERVAL, _look, loop)
    channels.add(channel)


def _look(loop: asyncio.AbstractEventLoop) -> None:
    channels = _watched[loop]
    poller = select.poll()
    by_socket: dict[int, Channel] = {}
    for channel in list(channels):
        if channel.socket < 0:
            if channel.conn.closed:
                channels.discard(channel)
        elif channel.listening:
            poller.register(channel.socket, select.POLLIN)
            by_socket[channel.socket] = channel
    if by_socket:
        for socket, events in poller.poll(0):
            if events & (select.POLLERR | select.POLLNVAL | select.POLLHUP):
                by_socket[socket].readable()
    if channels:
        loop.call_later(_INTERVAL, _look, loop)
