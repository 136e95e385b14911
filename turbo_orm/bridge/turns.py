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

    __slots__ = ("_error", "_loop", "_taken", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._taken = False
        #: Makes what is raised for those who come to nothing, once there are no more turns.
        self._error: Callable[[], Exception] | None = None
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
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = deque()
        waiting.append(turn)
        watch = None if hopeless is None else _Watch(self._loop, turn, hopeless)
        try:
            await turn
        except BaseException:
            if not turn.done():
                waiting.remove(turn)  # the coroutine is destroyed, and the event loop maybe closed
            elif not turn.cancelled() and turn.exception() is None:
                self.release()  # the turn came together with the interruption
            raise
        finally:
            if watch is not None:
                watch.cancel()
        if self._error is not None:
            raise self._error()  # the end came together with the turn

    def release(self) -> None:
        """End the turn; the longest waiting child has the next."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False

    def end(self, error: Callable[[], Exception] = NoMoreTurns) -> None:
        """Send everyone who still waits away with an *error*."""
        self._error = self._error or error
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(self._error())


class _Watch:
    """Looks now and then whether the turn that is waited for can still come.

    (A function that calls itself later refers to itself: only the garbage collector would end it, and
    the task it asks about.)
    """

    __slots__ = ("_hopeless", "_loop", "_timer", "_turn")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: asyncio.Future[None],
        hopeless: Callable[[], BaseException | None],
    ) -> None:
        self._loop = loop
        self._turn = turn
        self._hopeless = hopeless
        self._timer = loop.call_later(RECHECK_AFTER, self._look)

    def cancel(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._turn.done():
            return
        if (reason := self._hopeless()) is not None:
            self._turn.set_exception(reason)
        else:
            self._timer = self._loop.call_later(RECHECK_AFTER, self._look)
