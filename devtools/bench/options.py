"""What `dev.py bench` is told on its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.bench.contestants import ALIASES, CONTESTANTS
from devtools.bench.operations import GROWING, OPERATIONS

__all__ = ["Options", "parse"]

_OPERATIONS = tuple(operation.name for operation in OPERATIONS)


@dataclass(frozen=True)
class Options:
    """How much is measured, and where it goes."""

    only: tuple[str, ...]
    operations: tuple[str, ...]
    growing: tuple[str, ...]
    memory: bool
    #: Rounds at 16 tasks; a third of them at other numbers of tasks and for growing work.
    rounds: int
    #: Numbers of tasks besides 16.
    tasks: tuple[int, ...]
    #: CPU time that a slice should take.
    seconds: float
    connections: int
    loop: str
    #: What sessions have as TimeZone that do not set it.
    timezone: str
    results: Path
    #: Results to print instead of measuring.
    read: tuple[Path, ...]
    write_docs: bool


def parse(arguments: Sequence[str] | None, results: Path) -> Options:
    """Read the command line; *results* is where results go by default."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Measure turbo_orm and its peers on one PostgreSQL, in turn, with checked answers.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few and short slices at 16 tasks only: to see that it works"
    )
    parser.add_argument(
        "--only",
        type=_Names((*CONTESTANTS, *ALIASES)),
        help=f"contestants: {', '.join((*CONTESTANTS, *ALIASES))}",
    )
    parser.add_argument(
        "--operations", type=_Names(_OPERATIONS), help=f"some of: {', '.join(_OPERATIONS)}; or none"
    )
    parser.add_argument(
        "--growing", type=_Names(tuple(GROWING)), help=f"some of: {', '.join(GROWING)}; or none"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave memory out")
    parser.add_argument("--rounds", type=int, help="slices of each cell (default: 9)")
    parser.add_argument(
        "--tasks", type=_numbers, help="numbers of tasks besides 16 (default: 1,100); or none"
    )
    parser.add_argument("--seconds", type=float, help="CPU time of a slice (default: 0.25)")
    parser.add_argument("--connections", type=int, default=20, help="size of the pools (default: 20)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument(
        "--timezone",
        default="UTC",
        help="TimeZone of sessions that do not set it, as Django's do (default: UTC)",
    )
    parser.add_argument("--results", type=Path, default=results, help="the file results are saved in")
    parser.add_argument(
        "--from",
        dest="read",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="print saved results instead; those of several files as one",
    )
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="write docs/benchmarks.md, the charts and the README's section",
    )
    given = parser.parse_args(arguments)
    quick = given.quick
    only = given.only or tuple(CONTESTANTS)
    return Options(
        only=tuple(dict.fromkeys(name for each in only for name in ALIASES.get(each, (each,)))),
        operations=_OPERATIONS if given.operations is None else given.operations,
        growing=given.growing if given.growing is not None else () if quick else tuple(GROWING),
        memory=not (quick or given.no_memory),
        rounds=given.rounds or (2 if quick else 9),
        tasks=given.tasks if given.tasks is not None else () if quick else (1, 100),
        seconds=given.seconds or (0.05 if quick else 0.25),
        connections=given.connections,
        loop=given.loop,
        timezone=given.timezone,
        results=given.results,
        read=tuple(given.read),
        write_docs=given.write_docs,
    )


class _Names:
    """Names with commas between them, of those that are known; ``none`` is none of them."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        if text == "none":
            return ()
        names = tuple(name.strip() for name in text.split(","))
        for name in names:
            if name not in self._known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(self._known)}")
        return names


def _numbers(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(int(number) for number in text.split(","))
