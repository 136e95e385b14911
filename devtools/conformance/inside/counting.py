"""Evidence that the tests ran on the async connection: waits are counted, by kind."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from turbo_orm.bridge.connection import BridgedConnection

__all__ = ["Waits", "counted"]

_FRAMES = 25


@dataclass
class Waits:
    """How often the database was waited for since counting began."""

    #: On an async connection, through the bridge.
    bridged: int = 0
    #: On a sync connection in the event loop's thread, blocking it: never to be.
    blocking: int = 0
    #: On a sync connection in another thread, where tests start some.
    threads: int = 0


@contextmanager
def counted(on_blocking: Callable[[str], None]) -> Iterator[Waits]:
    """Count from now on; the thread that enters is the event loop's.

    *on_blocking* is given the stack of each wait that blocks it.
    """
    waits = Waits()
    loop_thread = threading.get_ident()
    bridged_wait, sync_wait = BridgedConnection.wait, psycopg.Connection.wait
    connect = psycopg.Connection.__dict__["connect"]

    def count_bridged(self: BridgedConnection, *args: Any, **kwargs: Any) -> Any:
        waits.bridged += 1
        return bridged_wait(self, *args, **kwargs)

    def count() -> None:
        if threading.get_ident() == loop_thread:
            waits.blocking += 1
            on_blocking("".join(traceback.format_stack(limit=_FRAMES)))
        else:
            waits.threads += 1

    def count_sync(self: psycopg.Connection[Any], *args: Any, **kwargs: Any) -> Any:
        count()
        return sync_wait(self, *args, **kwargs)

    def count_connect(cls: type[psycopg.Connection[Any]], *args: Any, **kwargs: Any) -> Any:
        count()
        return connect.__func__(cls, *args, **kwargs)

    BridgedConnection.wait = count_bridged  # type: ignore[method-assign]
    psycopg.Connection.wait = count_sync  # type: ignore[method-assign]
    psycopg.Connection.connect = classmethod(count_connect)  # type: ignore[assignment]
    try:
        yield waits
    finally:
        BridgedConnection.wait = bridged_wait  # type: ignore[method-assign]
        psycopg.Connection.wait = sync_wait  # type: ignore[method-assign]
        psycopg.Connection.connect = connect  # type: ignore[method-assign]
