"""What yields rows does what an async generator does, on every Python."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from tests.project.library.models import Tag
from turbo_orm.bridge.iterators import ChunkIterator

LABELS = ["a", "b", "c", "d", "e"]


class Letters(ChunkIterator[str]):
    """Five letters, two at a time."""

    def __init__(self, log: list[str], failing: bool = False) -> None:
        super().__init__()
        self._log = log
        self._left = list(LABELS)
        self._failing = failing

    async def fetch_chunk(self) -> tuple[list[str], bool]:
        await asyncio.sleep(0)
        if self._failing and len(self._left) < len(LABELS):
            self._log.append("failed")
            raise LookupError("failed")
        chunk, self._left = self._left[:2], self._left[2:]
        return chunk, bool(self._left)

    async def close_early(self, exc: BaseException) -> None:
        await asyncio.sleep(0)
        self._log.append(f"closed: {exc!r}")


async def letters(log: list[str], failing: bool = False) -> AsyncGenerator[str, None]:
    """The same as a generator."""
    left = list(LABELS)
    try:
        while left:
            await asyncio.sleep(0)
            if failing and len(left) < len(LABELS):
                raise LookupError("failed")
            chunk, left = left[:2], left[2:]
            for letter in chunk:
                yield letter
    except LookupError as exc:
        log.append("failed" if failing else f"closed: {exc!r}")
        raise
    except GeneratorExit as exc:
        await asyncio.sleep(0)
        log.append(f"closed: {exc!r}")
        raise


Make = Callable[..., AsyncGenerator[str, None]]


async def _to_the_end(rows: AsyncGenerator[str, None]) -> Any:
    found = [row async for row in rows]
    return found, [row async for row in rows], await rows.aclose()


async def _step_by_step(rows: AsyncGenerator[str, None]) -> Any:
    return [await rows.__anext__(), await rows.asend(None), await rows.asend(None)], rows.__aiter__() is rows


async def _closed(rows: AsyncGenerator[str, None]) -> Any:
    async with aclosing(rows):
        async for row in rows:
            if row == "b":
                break
    return [row async for row in rows]


async def _closed_before_it_begins(rows: AsyncGenerator[str, None]) -> Any:
    await rows.aclose()
    return [row async for row in rows]


async def _thrown_into(rows: AsyncGenerator[str, None]) -> Any:
    await rows.__anext__()
    with pytest.raises(LookupError, match="thrown"):
        await rows.athrow(LookupError("thrown"))
    return [row async for row in rows]


async def _an_error_class_thrown_into(rows: AsyncGenerator[str, None]) -> Any:
    await rows.__anext__()
    with pytest.raises(LookupError):
        await rows.athrow(LookupError)
    return [row async for row in rows]


async def _dropped(rows: AsyncGenerator[str, None]) -> Any:
    first = await rows.__anext__()
    del rows
    return first


async def _used_twice_at_once(rows: AsyncGenerator[str, None]) -> Any:
    steps = [rows.__anext__(), rows.__anext__()]
    done: Any = await asyncio.gather(*steps, return_exceptions=True)
    return [each if isinstance(each, str) else type(each) for each in done], [row async for row in rows]


@pytest.mark.parametrize(
    "use",
    [
        _to_the_end,
        _step_by_step,
        _closed,
        _closed_before_it_begins,
        _thrown_into,
        _an_error_class_thrown_into,
        _dropped,
        _used_twice_at_once,
    ],
)
async def test_as_a_generator(use: Callable[[Any], Any]):
    outcomes = []
    for make in (letters, Letters):
        log: list[str] = []
        found = await use(make(log))
        gc.collect()
        for _ in range(4):
            await asyncio.sleep(0)
        outcomes.append((found, log))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("make", [letters, Letters])
async def test_it_ends_with_an_error(make: Make):
    log: list[str] = []
    rows = make(log, failing=True)
    assert [await rows.__anext__(), await rows.__anext__()] == ["a", "b"]
    with pytest.raises(LookupError, match="failed"):
        await rows.__anext__()
    assert [row async for row in rows] == []
    await rows.aclose()
    assert log == ["failed"]


@pytest.mark.parametrize("make", [letters, Letters])
def test_the_loop_ends_half_way(make: Make):
    log: list[str] = []
    kept = make(log)

    async def begin() -> None:
        await kept.__anext__()

    asyncio.run(begin())
    assert log == ["closed: GeneratorExit()"]


async def test_querysets_yield_such():
    for rows in (Tag.objects.aiterator(), Tag.objects.all().__aiter__()):
        assert isinstance(rows, AsyncGenerator)
        assert [row async for row in rows] == []
