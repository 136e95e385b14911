"""Takes the contestants in turn, in short slices, so that whatever else the machine does hits all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from devtools.bench.operations import GROWING, OPERATIONS
from devtools.bench.process import Failed, Process
from devtools.bench.results import Results, Sample
from devtools.bench.schema import Sizes

__all__ = ["Cell", "Rounds"]

#: Operation, size, number of tasks.
Cell = tuple[str, "int | None", int]

_WRITES = {operation.name for operation in OPERATIONS if operation.writes} | {
    name for name, kind in GROWING.items() if kind.operation.writes
}
_MOST_CALLS = 20_000


class Rounds:
    """The open contestants, and where the results go."""

    def __init__(
        self,
        processes: Sequence[Process],
        results: Results,
        connection: psycopg.Connection[Any],
        *,
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._processes = processes
        self._results = results
        self._connection = connection
        self._seconds = seconds
        self._say = say
        self._calls: dict[tuple[str, Cell], int] = {}

    def check(self, operation: str, size: int | None = None) -> None:
        """Compare each contestant's answers with the right ones; who is wrong is not measured."""
        for process in self._processes:
            reply = process.ask("check", operation=operation, size=size)
            for kind in ("unsupported", "wrong", "remark"):
                if reply.get(kind):
                    noted = getattr(self._results, "remarks" if kind == "remark" else kind)
                    noted.setdefault(process.name, {})[operation] = reply[kind]
                    self._say(f"{process.name}, {operation}: {kind}: {reply[kind]}")
        self._tidy(operation)

    def measure(self, cell: Cell, number: int) -> None:
        """One slice of one cell for each contestant; who begins changes from round to round."""
        operation = cell[0]
        able = [process for process in self._processes if self._can(process, operation)]
        turn = number % len(able) if able else 0
        for process in able[turn:] + able[:turn]:
            try:
                if (process.name, cell) not in self._calls:
                    self._calls[process.name, cell] = self._calibrate(process, cell)
                self._run(process, cell, self._calls[process.name, cell], number)
            except Failed as problem:
                self._results.wrong.setdefault(process.name, {})[operation] = str(problem)
                self._say(f"{operation}: {problem}")

    def measure_uses(self, shapes: int, uses: Sequence[int], number: int) -> None:
        """Use so many query shapes of this round once, twice and so on."""
        able = [process for process in self._processes if self._can(process, "uses")]
        turn = number % len(able) if able else 0
        for use in range(1, max(uses) + 1):
            for process in able[turn:] + able[:turn]:
                sample = self._ask(process, ("uses", use, 1), shapes, number, first=number * shapes)
                if use in uses:
                    self._results.samples.append(sample)

    def _can(self, process: Process, operation: str) -> bool:
        results = self._results
        return not any(
            operation in kind.get(process.name, {}) for kind in (results.unsupported, results.wrong)
        )

    def _calibrate(self, process: Process, cell: Cell) -> int:
        """How many calls fill a slice."""
        operation, size, tasks = cell
        if operation == "models" and size is not None:  # the first uses of a model are another question
            self._ask(process, cell, size * 4, 0)
        calls = tasks
        while True:
            sample = self._ask(process, cell, calls, 0)
            seconds = calls * sample.cpu / 1e6  # on a busy machine, a clock would allow for few calls
            if seconds > self._seconds / 3 or calls >= _MOST_CALLS:
                break
            calls *= 2
        self._tidy(cell[0])
        return max(tasks, min(_MOST_CALLS, int(calls * self._seconds / seconds)))

    def _run(self, process: Process, cell: Cell, calls: int, number: int) -> None:
        if calls > cell[2]:  # some first: the process has just waited for the others, its caches are cold
            self._ask(process, cell, max(cell[2], calls // 5), number)
        self._results.samples.append(self._ask(process, cell, calls, number))
        self._tidy(cell[0])

    def _ask(self, process: Process, cell: Cell, calls: int, number: int, first: int | None = None) -> Sample:
        operation, size, tasks = cell
        reply = process.ask("run", operation=operation, size=size, tasks=tasks, calls=calls, first=first)
        return Sample(
            contestant=process.name,
            operation=operation,
            size=size,
            tasks=tasks,
            round=number,
            calls=reply["calls"],
            cpu=reply["cpu"] / reply["calls"] * 1e6,
            rate=reply["calls"] / reply["wall"],
            median=reply["median"] * 1e6,
            slowest=reply["slowest"] * 1e6,
        )

    def _tidy(self, operation: str) -> None:
        if operation in _WRITES:
            self._connection.execute("DELETE FROM wbook WHERE id > %s", (Sizes.written,))
            self._connection.execute("VACUUM wbook")
