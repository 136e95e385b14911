"""One at a time, first come first served: the children of a scope take turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["NoMoreTurns", "Turns"]

#: Seconds between two looks at whether a waiting child can still hope for its turn.
RECHECK_AFTER = 1.0


class NoMoreTurns(Exception):
    """The scope ended while a child was waiting: look for another scope."""


class Turns:
    """A fair lock whose waiters can be told that their turn will never come."""

    __slots__ = ("_loop", "_taken", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._taken = False
        #: Made when somebody waits, which is seldom.
        self._waiting: deque[asyncio.Future[None]] | None = None

    @property
    def taken(self) -> bool:
        return self._taken

    def take(self) -> bool:
        """Take the turn if it is free; return whether it was."""
        if self._taken:
            return False
        self._taken = True
        return True

    async def acquire(self, hopeless: Callable[[], BaseException | None] | None = None) -> None:
        """Wait for the turn.

        *hopeless* is asked at once, then every `RECHECK_AFTER` seconds, and may return an
        exception to raise instead of waiting on.
        """
        if self.take():
            return
        if hopeless is not None and (reason := hopeless()) is not None:
            raise reason
        turn = self._loop.create_future()
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(turn)
        watch = None if hopeless is None else self._watch(turn, hopeless)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the turn came together with the cancellation
            raise
        finally:
            if watch is not None:
                watch()

    def release(self) -> None:
        """End the turn; the longest waiting child has the next."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False

    def end(self) -> None:
        """Send everyone who still waits away with `NoMoreTurns`."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(NoMoreTurns())

    def _watch(
        self, turn: asyncio.Future[None], hopeless: Callable[[], BaseException | None]
    ) -> Callable[[], None]:
        timers: list[asyncio.TimerHandle] = []

        def look() -> None:
            if turn.done():
                return
            if (reason := hopeless()) is not None:
                turn.set_exception(reason)
            else:
                timers[:] = [self._loop.call_later(RECHECK_AFTER, look)]

        timers.append(self._loop.call_later(RECHECK_AFTER, look))
        return lambda: timers[0].cancel()  # noqa: PLW0108 - the timer is replaced
