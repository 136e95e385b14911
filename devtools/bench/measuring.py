"""One slice of work: so many calls of one operation by so many tasks, and what they cost this process."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

__all__ = ["Slice", "measure", "measure_local"]


class Slice(NamedTuple):
    """What a number of calls cost. Times are seconds."""

    calls: int
    #: User and system time of the whole process, all its threads.
    cpu: float
    wall: float
    #: How long half of the calls took at most, and 99 of 100.
    median: float
    slowest: float


async def measure(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], tasks: int, end: Callable[[], Any]
) -> Slice:
    """Have *tasks* tasks call an async function until the *arguments* are used up."""
    times: list[float] = []
    left = iter(arguments)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    calling = [asyncio.create_task(_call(function, left, times, end)) for _ in range(tasks)]
    try:
        await asyncio.gather(*calling)
    finally:  # after an error: nothing of this slice goes on in the next
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
    return _slice(times, time.process_time() - cpu, time.perf_counter() - wall)


async def _call(
    function: Callable[..., Any], left: Iterator[tuple[Any, ...]], times: list[float], end: Callable[[], Any]
) -> None:
    now = time.perf_counter
    try:
        for arguments in left:
            started = now()
            await function(*arguments)
            times.append(now() - started)
    finally:
        await end()


async def measure_local(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], tasks: int, end: Callable[[], Any]
) -> Slice:
    """Have one task call a plain function with each of the *arguments*."""

    async def call_all() -> Slice:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        for each in arguments:
            function(*each)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        await end()
        return Slice(len(arguments), cpu, wall, wall / len(arguments), wall / len(arguments))

    return await asyncio.create_task(call_all())


def _slice(times: list[float], cpu: float, wall: float) -> Slice:
    times.sort()
    count = len(times)
    return Slice(count, cpu, wall, times[count // 2], times[min(count - 1, count * 99 // 100)])
