"""One run: a database, the contestants in their processes, rounds over everything that was asked for."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from typing import Any

import psycopg
from psycopg import sql

from devtools.bench.contestants import CONTESTANTS, Missing
from devtools.bench.machine import about
from devtools.bench.operations import GROWING, OPERATIONS
from devtools.bench.options import Options
from devtools.bench.process import Failed, Process
from devtools.bench.results import Results
from devtools.bench.rounds import Cell, Rounds
from devtools.bench.schema import MODELS, statements
from devtools.errors import SetupError
from devtools.postgres import ExternalServer, create_database, drop_database, server_from_environment

__all__ = ["Say", "run"]

Say = Callable[[str], None]

_TASKS = 16
_LOCAL = {operation.name for operation in OPERATIONS if operation.local}
#: Connections in use between which memory is compared, and how often. Fewer would find room in what
#: a process has free after it has started, and seem to need nothing.
_FEWER, _MORE, _TIMES = 60, 160, 3
_SHAPES_EACH_ROUND = 60


def run(options: Options, results: Results, say: Say) -> None:
    """Measure what *options* ask for into *results*, on a database that is dropped afterwards."""
    with server_from_environment(max_connections="600") as server:
        say(f"{server.description}; making the tables")
        name = f"turbo_bench_{secrets.token_hex(4)}"
        url = create_database(server, name)
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                _set_timezone(connection, name, options.timezone)
                for statement in statements(MODELS if "models" in options.growing else 0):
                    connection.execute(statement.encode())
                results.about = {
                    "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                    **about(connection),
                    "event loop": options.loop,
                    "time zone": options.timezone,
                    "pools": f"{options.connections} connections each",
                    "rounds": f"{options.rounds} slices of {options.seconds:g} s of CPU, in turn",
                }
                _measure(options, url, connection, results, say)
        finally:
            if isinstance(server, ExternalServer):
                drop_database(server, name)


def _set_timezone(connection: psycopg.Connection[Any], database: str, zone: str) -> None:
    """Have sessions of *database* begin in *zone*."""
    text = "ALTER DATABASE {} SET TimeZone TO {}"
    try:
        connection.execute(sql.SQL(text).format(sql.Identifier(database), sql.Literal(zone)))
    except psycopg.errors.InvalidParameterValue:
        raise SetupError(f"--timezone: PostgreSQL knows no time zone {zone!r}.") from None


def _measure(
    options: Options, url: str, connection: psycopg.Connection[Any], results: Results, say: Say
) -> None:
    if options.operations:
        with _open(options, url, results, say) as processes:
            rounds = Rounds(processes, results, connection, seconds=options.seconds, say=say)
            for operation in options.operations:
                rounds.check(operation)
            _rounds(rounds, _cells(options), say)
    if options.growing:
        small = MODELS if "models" in options.growing else 0
        with _open(options, url, results, say, small) as processes:
            rounds = Rounds(processes, results, connection, seconds=options.seconds / 2, say=say)
            _growing(options, rounds, say)
    if options.memory:
        _memory(options, url, results, say)


@contextmanager
def _open(options: Options, url: str, results: Results, say: Say, small: int = 0) -> Iterator[list[Process]]:
    """Start the contestants; those that can't take part are noted."""
    with ExitStack() as stack:
        processes: list[Process] = []
        for name in options.only:
            if name in results.missing:
                continue
            try:
                process = _start(name, options, url, options.connections, small)
            except (Missing, Failed) as problem:
                results.missing[name] = str(problem)
                say(f"missing: {CONTESTANTS[name].title}: {problem}")
                continue
            processes.append(stack.enter_context(process))
            results.versions[name] = process.versions
        yield processes


def _start(name: str, options: Options, url: str, connections: int, small: int = 0) -> Process:
    return Process(name, url=url, connections=connections, small=small, loop=options.loop)


def _cells(options: Options) -> list[tuple[int, Cell]]:
    """The cells of the operations, each with the number of its rounds."""
    fewer = max(1, options.rounds // 3)
    cells: list[tuple[int, Cell]] = []
    for name in options.operations:
        if name in _LOCAL:
            cells.append((options.rounds, (name, None, 1)))
        else:
            cells.append((options.rounds, (name, None, _TASKS)))
            times = 1 if name == "bulk" else fewer  # a hundred thousand rows each time
            cells += [(times, (name, None, tasks)) for tasks in options.tasks if tasks != _TASKS]
    return cells


def _rounds(rounds: Rounds, cells: Sequence[tuple[int, Cell]], say: Say) -> None:
    for number in range(max((times for times, _ in cells), default=0)):
        started = time.monotonic()
        for times, cell in cells:
            if number < times:
                rounds.measure(cell, number)
        say(f"round {number + 1}: {time.monotonic() - started:.0f} s")


def _growing(options: Options, rounds: Rounds, say: Say) -> None:
    times = max(1, options.rounds // 3)
    cells: list[tuple[int, Cell]] = []
    for name in options.growing:
        kind = GROWING[name]
        for size in kind.sizes if kind.labels else kind.sizes[1:2]:
            rounds.check(name, size)
        if name != "uses":
            cells += [(times, (name, size, kind.tasks or size)) for size in kind.sizes]
    _rounds(rounds, cells, say)
    if "uses" in options.growing:
        for number in range(options.rounds):
            rounds.measure_uses(_SHAPES_EACH_ROUND, GROWING["uses"].sizes, number)


def _memory(options: Options, url: str, results: Results, say: Say) -> None:
    for _ in range(_TIMES):
        for name in options.only:
            if name in results.missing:
                continue
            try:
                fewer, more = (_memory_of(name, options, url, number) for number in (_FEWER, _MORE))
            except (Missing, Failed) as problem:
                say(f"memory: {name}: {problem}")
            else:
                results.memory.setdefault(name, []).append((more - fewer) / (_MORE - _FEWER) / 1024)


def _memory_of(name: str, options: Options, url: str, connections: int) -> float:
    """Bytes of a process of its own with so many connections in use, and room for one more."""
    with _start(name, options, url, connections + 1) as process:
        return float(process.ask("memory", connections=connections)["bytes"])
