"""What ``async for`` goes through: the rows of a queryset at once, or in chunks from a server-side cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.query import RawQuerySet

from turbo_orm.bridge.held import Held
from turbo_orm.bridge.iterators import ChunkIterator
from turbo_orm.execution import fetch
from turbo_orm.loading import remember_peers

__all__ = ["Fetched", "Streamed"]


class Fetched(ChunkIterator[Any]):
    """The rows of a queryset, as ``for`` yields them: all are fetched first."""

    __slots__ = ("_queryset",)

    def __init__(self, queryset: QuerySet[Any, Any] | RawQuerySet[Any]) -> None:
        super().__init__()
        self._queryset = queryset

    async def fetch_chunk(self) -> tuple[list[Any], bool]:
        return await fetch(self._queryset), False

    async def close_early(self, exc: BaseException) -> None:
        """Nothing is left open."""


class Streamed(ChunkIterator[Any]):
    """The rows of a queryset in chunks from a server-side cursor.

    Outside a block this holds a connection of its own until it has the last chunk or is closed; inside
    one it uses the block's connection whenever it fetches.
    """

    __slots__ = ("_chunk_size", "_held", "_queryset", "_source")

    def __init__(self, queryset: QuerySet[Any, Any], chunk_size: int) -> None:
        super().__init__()
        self._queryset = queryset
        self._chunk_size = chunk_size
        self._held: Held | None = None
        #: Django's iterator; None before the first chunk and after the last one.
        self._source: Iterator[Any] | None = None

    async def fetch_chunk(self) -> tuple[list[Any], bool]:
        size = self._chunk_size
        held = self._held
        if held is None:
            held = self._held = Held("aiterator()")
        try:
            chunk = await held.run(self._take)
        except GeneratorExit:
            held.leave(self._last_step())
            raise
        except BaseException:
            await held.close(self._last_step())
            raise
        if len(chunk) == size:
            return chunk, True
        # These are the last ones, and nobody needs a connection for them.
        self._source = None
        await held.close()
        return chunk, False

    def _take(self) -> list[Any]:
        source, size = self._source, self._chunk_size
        if source is None:
            self._source = source = iter(self._queryset.iterator(chunk_size=size))
            assert self._held is not None
            self._held.keep(source)
        chunk = list(islice(source, size))
        if chunk and isinstance(chunk[0], Model) and not getattr(chunk[0]._state, "peers", ()):
            remember_peers(chunk)
        return chunk

    async def close_early(self, exc: BaseException) -> None:
        assert self._held is not None
        await self._held.close(self._last_step())

    def _last_step(self) -> Callable[[], None] | None:
        source, self._source = self._source, None
        return None if source is None else partial(_close, source)


def _close(rows: Iterator[Any]) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()
