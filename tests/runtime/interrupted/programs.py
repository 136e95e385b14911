"""What a program is made of, and random programs: all choices are made here, by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeAlias

__all__ = [
    "Batch",
    "Below",
    "Block",
    "Cancellation",
    "Caught",
    "CloseKept",
    "Fail",
    "Gather",
    "Hook",
    "InSync",
    "Pause",
    "Program",
    "Read",
    "Sleep",
    "Step",
    "Stream",
    "Terminate",
    "TerminateAsleep",
    "Timeout",
    "Write",
    "program_of",
]


@dataclass(frozen=True)
class Write:
    """A row that only this step writes."""

    tag: str
    by: str


@dataclass(frozen=True)
class Read:
    by: str


@dataclass(frozen=True)
class Fail:
    """Violates a unique constraint."""

    by: str


@dataclass(frozen=True)
class Stream:
    """A loop over `aiterator()`, which is left after some rows."""

    taken: int
    left: str


@dataclass(frozen=True)
class CloseKept:
    """Closes the streams that were kept."""


@dataclass(frozen=True)
class Batch:
    tags: tuple[str, ...]
    fails: bool


@dataclass(frozen=True)
class Hook:
    """Given to `on_commit()`."""

    name: str
    awaits: bool


@dataclass(frozen=True)
class Sleep:
    """Waits in the server, for longer than anybody waits for it."""


@dataclass(frozen=True)
class Pause:
    """Waits for something else than the server, for ever."""


@dataclass(frozen=True)
class Terminate:
    """Another connection ends the session of the block; or that of all there are."""

    everything: bool
    noticed: bool


@dataclass(frozen=True)
class TerminateAsleep:
    """The session is ended while the server is at a statement."""


@dataclass(frozen=True)
class Caught:
    """Goes on after an error of the step."""

    step: Step


@dataclass(frozen=True)
class Gather:
    """Tasks of the block, and reads of tasks that are in none."""

    steps: tuple[Step, ...]
    outside: int


@dataclass(frozen=True)
class Timeout:
    seconds: float
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class InSync:
    """Sync code in the bridge."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Below:
    """Async code that sync code waits for."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Block:
    """Left with an error of its own if it is to be *undone*."""

    steps: tuple[Step, ...]
    savepoint: bool = True
    durable: bool = False
    serializable: bool = False
    undone: bool = False


Step: TypeAlias = (
    "Write | Read | Fail | Stream | CloseKept | Batch | Hook | Sleep | Pause | Terminate | TerminateAsleep"
    " | Caught | Gather | Timeout | InSync | Below | Block"
)


@dataclass(frozen=True)
class Cancellation:
    """The task is cancelled as it, or one it has started, waits the *at*-th time, and *again* so much later.

    Or *together* with the end of what it waits for.
    """

    at: int
    together: bool
    again: int | None


@dataclass(frozen=True)
class Program:
    seed: int
    steps: tuple[Step, ...]
    cancellation: Cancellation | None
    #: The server refuses so many-th of the transactions it is asked to begin.
    refused: int | None = None

    def __str__(self) -> str:
        return "\n".join(
            [
                f"program {self.seed}, {self.cancellation or 'not cancelled'}, refused: {self.refused}",
                *_lines(self.steps, "    "),
            ]
        )


def _lines(steps: Sequence[Step], indent: str) -> Iterator[str]:
    for step in steps:
        inner: tuple[Step, ...] | None = getattr(step, "steps", None)
        if isinstance(step, Caught):
            inner = (step.step,)
        if inner is None:
            yield f"{indent}{step}"
            continue
        about = {key: value for key, value in vars(step).items() if key not in ("steps", "step")}
        told = ", ".join(f"{key}={value}" for key, value in about.items() if value is not False)
        yield f"{indent}{type(step).__name__}({told}):"
        yield from _lines(inner, indent + "    ")


@dataclass(frozen=True)
class _Place:
    """Where a step is to be."""

    depth: int = 0
    in_block: bool = False
    in_sync: bool = False
    #: Of several tasks.
    in_gather: bool = False
    #: Of what is ended by the clock.
    timed: bool = False

    def below(self, **changes: bool) -> _Place:
        return replace(self, depth=self.depth + 1, **changes)


def program_of(seed: int, *, refuses: bool = False) -> Program:
    """Return the program of a seed; if the server *refuses* some transactions, with one that it does."""
    chance = random.Random(seed)
    steps = _Maker(chance, seed).steps(_Place(), 2, 4)
    cancellation = None
    if chance.random() < 0.65:
        again = chance.randint(1, 4) if chance.random() < 0.2 else None
        cancellation = Cancellation(int(2 ** chance.uniform(0, 5.5)), chance.random() < 0.4, again)
    return Program(seed, steps, cancellation, chance.randint(1, 3) if refuses else None)


class _Maker:
    """Makes random steps."""

    def __init__(self, chance: random.Random, seed: int) -> None:
        self._chance = chance
        self._prefix = f"p{seed}"
        self._numbers = count(1)
        self._kept = 0

    def steps(self, place: _Place, least: int, most: int) -> tuple[Step, ...]:
        return tuple(self._step(place) for _ in range(self._chance.randint(least, most)))

    def _step(self, place: _Place) -> Step:
        known = [each for each in _KINDS if each.fits(place)]
        kind = self._chance.choices(known, [each.weight for each in known])[0]
        step = kind.make(self, place)
        return Caught(step) if kind.fails and self._chance.random() < 0.7 else step

    def _name(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"

    def _maybe(self, probability: float) -> bool:
        return self._chance.random() < probability

    def write(self, place: _Place) -> Step:
        ways = ["create", "bulk_create"] if place.in_sync else ["acreate", "acreate", "abulk_create", "asave"]
        return Write(self._name(), self._chance.choice([*ways, "cursor"]))

    def read(self, place: _Place) -> Step:
        if place.in_gather:
            return Read("count")
        return Read(self._chance.choice(["count", "tags", "tags"]))

    def fail(self, place: _Place) -> Step:
        return Fail("create" if place.in_sync else self._chance.choice(["acreate", "abulk_create"]))

    def stream(self, place: _Place) -> Step:
        ways = ["dropped"] if place.in_sync else ["dropped", "dropped", "closed"]
        if not place.in_gather and not place.in_sync and self._kept < 2:
            ways += ["kept", "kept"]
        left = self._chance.choice(ways)
        self._kept += left == "kept"
        return Stream(self._chance.randint(1, 5), left)

    def close_kept(self, place: _Place) -> Step:
        self._kept = 0
        return CloseKept()

    def batch(self, place: _Place) -> Step:
        tags = tuple(self._name() for _ in range(self._chance.randint(1, 3)))
        # Of several tasks, another one may know first that the transaction has failed.
        return Batch(tags, self._maybe(0.15) and not place.in_gather)

    def hook(self, place: _Place) -> Step:
        return Hook(self._name(), not place.in_sync and self._maybe(0.5))

    def terminate(self, place: _Place) -> Step:
        # Where nobody lets the event loop notice, the next to use an idle connection is told.
        everything = not place.in_sync and self._maybe(0.3)
        return Terminate(everything, everything or (not place.in_sync and self._maybe(0.5)))

    def terminate_asleep(self, place: _Place) -> Step:
        return TerminateAsleep()

    def gather(self, place: _Place) -> Step:
        outside = self._chance.randint(0, 2) if place.in_block else 0
        return Gather(self.steps(place.below(in_gather=True), 2, 4), outside)

    def timeout(self, place: _Place) -> Step:
        inner = place.below(timed=True)
        before = self.steps(inner, 0, 1)
        if self._maybe(0.4):
            return Timeout(self._seconds(), (*before, *self.steps(inner, 0, 1), self._endless(inner)))
        inner = inner.below(in_block=True, in_sync=self._maybe(0.3))
        ends: tuple[Step, ...] = (self._endless(inner),)
        if not inner.in_sync and self._maybe(0.3):
            ends = (Terminate(everything=False, noticed=self._maybe(0.5)), Pause())
        steps = (*self.steps(inner, 0, 2), *ends)
        block = Block(steps, savepoint=not place.in_block or self._maybe(0.7))
        return Timeout(self._seconds(), (*before, InSync((block,)) if inner.in_sync else block))

    def lost_in_time(self, place: _Place) -> Step:
        """A block that only its end may tell of what was lost with a nested one."""
        inner = place.below(in_block=True, timed=True)
        lost = (*self.steps(inner, 0, 1), Terminate(everything=False, noticed=self._maybe(0.5)), Pause())
        timeout = Timeout(self._seconds(), (Block((self.write(inner), *lost)),))
        return Block((self.write(inner), Caught(timeout)))

    def _endless(self, place: _Place) -> Step:
        return Pause() if not place.in_sync and self._maybe(0.4) else Sleep()

    def _seconds(self) -> float:
        return self._chance.choice([0.005, 0.015, 0.03])

    def in_sync(self, place: _Place) -> Step:
        return InSync(self.steps(place.below(in_sync=True), 1, 3))

    def below(self, place: _Place) -> Step:
        return Below(self.steps(place.below(in_sync=False), 1, 2))

    def block(self, place: _Place) -> Step:
        inner = place.below(in_block=True)
        steps = self.steps(inner, 1, 3)
        if self._maybe(0.2):  # what is left open at the end has its own way out
            steps = (*steps, self.stream(inner))
        return Block(
            steps,
            savepoint=not place.in_block or self._maybe(0.75),
            durable=not place.in_block and self._maybe(0.2),
            serializable=not place.in_block and not place.in_sync and self._maybe(0.1),
            undone=self._maybe(0.25),
        )


@dataclass(frozen=True)
class _Kind:
    make: Callable[[_Maker, _Place], Step]
    weight: float
    #: It may fail, and often something goes on then.
    fails: bool = False
    fits: Callable[[_Place], bool] = lambda place: True


def _may_nest(place: _Place) -> bool:
    return place.depth < 4


def _is_alone(place: _Place) -> bool:
    return not place.in_gather


def _is_async(place: _Place) -> bool:
    return not place.in_sync


def _is_outside(place: _Place) -> bool:
    return not place.in_block and not place.timed


def _all(*conditions: Callable[[_Place], bool]) -> Callable[[_Place], bool]:
    return lambda place: all(each(place) for each in conditions)


_KINDS = [
    _Kind(_Maker.write, 5),
    _Kind(_Maker.read, 2),
    _Kind(_Maker.fail, 1, fails=True),
    _Kind(_Maker.stream, 2),
    _Kind(_Maker.close_kept, 0.7, fits=_all(_is_async, _is_alone)),
    _Kind(_Maker.batch, 2, fails=True, fits=_is_async),
    _Kind(_Maker.hook, 2, fits=_is_alone),
    _Kind(_Maker.terminate, 1, fits=_all(_is_alone, lambda place: place.in_block)),
    _Kind(_Maker.terminate_asleep, 0.3, True, _all(_is_async, _is_alone, lambda place: place.in_block)),
    _Kind(_Maker.gather, 1.5, True, _all(_is_async, _is_alone, _may_nest)),
    _Kind(_Maker.timeout, 2, True, _all(_is_async, _is_alone, _may_nest, lambda place: not place.timed)),
    _Kind(_Maker.lost_in_time, 1, True, _all(_is_async, _is_alone, _may_nest, _is_outside)),
    _Kind(_Maker.in_sync, 1.5, True, _all(_is_async, _may_nest)),
    _Kind(_Maker.below, 1, True, _all(lambda place: place.in_sync, _may_nest)),
    _Kind(_Maker.block, 5, True, _may_nest),
]
