"""The process of one contestant: answers the coordinator's requests, one JSON object a line.

Its event loop stands still between two requests, so that only one contestant works at a time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from devtools.bench.answers import wrong
from devtools.bench.contestants import Contestant, Missing, load
from devtools.bench.measuring import measure, measure_local
from devtools.bench.operations import GROWING, OPERATIONS, Operation

__all__ = ["main"]

#: Opening a connection costs as much as fifty gets: none must still be on its way when slices begin.
_SECONDS_TO_CONNECT = 0.5
_OPERATIONS = {operation.name: operation for operation in OPERATIONS}


class Worker:
    """A contestant that is open, and how far its numbered calls have come."""

    def __init__(self, contestant: Contestant, url: str) -> None:
        self._contestant = contestant
        self._url = url
        self._calls: dict[str, int] = {}

    async def warm(self, connections: int) -> None:
        """Use all connections at once, and give the pool the time to open those it still lacks."""
        await self.run("get", calls=connections * 4, tasks=connections * 2)
        await asyncio.sleep(_SECONDS_TO_CONNECT)

    async def check(self, operation: str, size: int | None = None) -> dict[str, Any]:
        """Call an operation twice and compare the answers with the right ones."""
        found = _find(operation)
        reason = self._contestant.unsupported.get(found.name)
        if reason is None and not hasattr(self._contestant, found.name):
            reason = "they are Django's"
        if reason:
            return {"unsupported": reason}
        with psycopg.connect(self._url, autocommit=True) as connection:
            for number in (11, 12):
                # In a task, as where it is measured: context variables that it sets stay there.
                problem = await asyncio.create_task(
                    self._problem(connection, found, _arguments(found, number, size))
                )
                if problem:
                    return {"wrong": problem}
        return {"remark": self._contestant.remarks.get(found.name)}

    async def _problem(
        self, connection: psycopg.Connection[Any], found: Operation, arguments: tuple[Any, ...]
    ) -> str | None:
        function = self._contestant.operation(found.name, 1)
        try:
            if found.local:  # its query has been used before: what is measured is making it again
                for price in (1, 2, 3):
                    await self._contestant.objects(Decimal(price))
            answer = function(*arguments) if found.local else await function(*arguments)
            await self._contestant.end_task()
            return wrong(connection, self._contestant, found, arguments, answer)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    async def run(
        self, operation: str, calls: int, tasks: int, size: int | None = None, first: int | None = None
    ) -> dict[str, Any]:
        """Measure calls of an operation. They go on counting where the last ones ended, or from *first*."""
        found = _find(operation)
        number = self._calls.get(operation, 100) if first is None else first
        self._calls[operation] = number + calls
        arguments = [_arguments(found, each, size) for each in range(number, number + calls)]
        function = self._contestant.operation(found.name, tasks)
        measured = measure_local if found.local else measure
        done = await measured(function, arguments, tasks, self._contestant.end_task)
        return done._asdict()

    async def memory(self, connections: int) -> dict[str, Any]:
        """Bytes of memory this process has to itself while so many connections are in use."""
        ready = asyncio.Semaphore(0)
        done = asyncio.Event()

        async def use() -> None:
            async with self._contestant.held():
                ready.release()
                await done.wait()
            await self._contestant.end_task()

        tasks = [asyncio.create_task(use()) for _ in range(connections)]
        try:
            for _ in range(connections):
                await asyncio.wait_for(ready.acquire(), 30)
            gc.collect()
            return {"bytes": _own_memory()}
        finally:
            done.set()
            await asyncio.gather(*tasks)


def _find(operation: str) -> Operation:
    return GROWING[operation].operation if operation in GROWING else _OPERATIONS[operation]


def _arguments(operation: Operation, number: int, size: int | None) -> tuple[Any, ...]:
    return operation.arguments(number) if size is None else operation.arguments(number, size)


def _own_memory() -> int:
    """Bytes of memory that are this process's alone (on Linux; elsewhere raises `FileNotFoundError`)."""
    private = 0
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            private += int(line.split()[1]) * 1024
    return private


async def _serve(name: str, options: dict[str, Any], reply: Callable[[dict[str, Any]], None]) -> None:
    try:
        kind = load(name)
        versions = kind.describe()
        contestant = kind()
        await contestant.open(options["url"], options["connections"], options["small"])
    except Missing as missing:
        return reply({"missing": str(missing)})
    except Exception as error:
        return reply({"error": f"{type(error).__name__}: {error}"})
    worker = Worker(contestant, options["url"])
    await worker.warm(options["connections"])
    reply({"versions": versions})
    try:
        while line := sys.stdin.readline():
            request = json.loads(line)
            verb = request.pop("do")
            try:
                reply(await getattr(worker, verb)(**request))
            except Exception as error:
                reply({"error": f"{type(error).__name__}: {error}"})
    finally:
        await contestant.close()
    return None


def main(arguments: list[str]) -> None:
    """Serve the contestant named until standard input ends; its first line is a JSON object of options."""
    (name,) = arguments
    options = json.loads(sys.stdin.readline())  # not an argument: it has a password
    # What a library prints must not come between the replies.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def reply(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=replies, flush=True)

    if options["loop"] == "uvloop":
        import uvloop

        uvloop.run(_serve(name, options, reply))
    else:
        asyncio.run(_serve(name, options, reply))


if __name__ == "__main__":
    main(sys.argv[1:])
