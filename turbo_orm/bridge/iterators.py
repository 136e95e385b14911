"""Async iterators over what arrives in chunks, which do what async generators do."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["ChunkIterator"]

T = TypeVar("T")


class ChunkIterator(AsyncGenerator[T, None]):
    """Yields what `fetch_chunk()` returns, one by one.

    Not a generator. Before Python 3.13 one that waits is not told that the coroutine in which it does is
    destroyed: none of its ``finally`` clauses run, and it counts as running for ever. (And since Python
    3.12 this is faster.)
    """

    __slots__ = ("__weakref__", "_ended", "_finalizer", "_rows", "_running")

    def __init__(self) -> None:
        #: What is in hand.
        self._rows: Iterator[T] = iter(())
        self._running = False
        #: There is nothing more to fetch, nor to close.
        self._ended = False
        #: The event loop's, which closes what was left; set while there is something to close.
        self._finalizer: Callable[[AsyncGenerator[Any, Any]], object] | None = None

    @abstractmethod
    async def fetch_chunk(self) -> tuple[Iterable[T], bool]:
        """Return the next rows, and whether there is more to fetch or to close.

        Nothing may be left to close when this raises, be it the GeneratorExit of a coroutine that is
        destroyed.
        """

    @abstractmethod
    async def close_early(self, exc: BaseException) -> None:
        """Close what `fetch_chunk()` has left open, because of *exc*, as `athrow()` got it."""

    async def __anext__(self) -> T:
        for row in self._rows:
            return row
        return await self._next_chunk()

    async def _next_chunk(self) -> T:
        while not self._ended:
            self._begin("anext")
            more = False
            try:
                rows, more = await self.fetch_chunk()
            finally:
                self._running = False
                self._ended = not more
            if more and self._finalizer is None:
                self._register()
            self._rows = iter(rows)
            for row in self._rows:
                return row
        raise StopAsyncIteration

    async def asend(self, value: None, /) -> T:
        """Return the next row, see Python: there is no use for *value*."""
        return await self.__anext__()

    async def athrow(self, typ: Any, val: Any = None, tb: TracebackType | None = None, /) -> T:
        """Close this, and raise the exception given, see Python."""
        exc: BaseException = typ if isinstance(typ, BaseException) else typ() if val is None else typ(val)
        await self._close(exc, "athrow")
        raise exc.with_traceback(tb)

    async def aclose(self) -> None:
        """Close this, see Python: there are no more rows, and what they need is given back."""
        await self._close(GeneratorExit(), "aclose")

    async def _close(self, exc: BaseException, name: str) -> None:
        self._begin(name)
        self._rows = iter(())
        unfinished, self._ended = self._finalizer is not None and not self._ended, True
        try:
            if unfinished:
                await self.close_early(exc)
        finally:
            self._running = False

    def _begin(self, name: str) -> None:
        if self._running:
            raise RuntimeError(f"{name}(): asynchronous generator is already running")
        self._running = True

    def _register(self) -> None:
        # What Python does for generators. The loop closes them at its end, and when they are dropped.
        hooks = sys.get_asyncgen_hooks()
        self._finalizer = hooks.finalizer or _nobody
        if hooks.firstiter is not None:
            hooks.firstiter(self)

    def __del__(self) -> None:
        if self._finalizer is not None and not self._ended:
            self._finalizer(self)


def _nobody(_: object) -> None:
    """There is no event loop that would close it."""
