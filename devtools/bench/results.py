"""What was measured, and how figures come out of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

__all__ = ["Figure", "Results", "Sample", "figure"]


@dataclass(frozen=True)
class Sample:
    """One slice: times are microseconds, ``cpu`` a call's share of user and system time."""

    contestant: str
    operation: str
    #: The size of growing work, else None.
    size: int | None
    tasks: int
    round: int
    calls: int
    cpu: float
    #: Calls a second.
    rate: float
    median: float
    slowest: float


@dataclass(frozen=True)
class Figure:
    """The median over rounds, with the quartiles."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


def figure(values: Iterable[float]) -> Figure | None:
    """Median and quartiles of *values*; None when there are none."""
    known = list(values)
    if len(known) < 2:
        return Figure(known[0], known[0], known[0]) if known else None
    low, _, high = quantiles(known, n=4, method="inclusive")
    return Figure(median(known), low, high)


@dataclass
class Results:
    """One run of the benchmark."""

    #: What it ran on and how, by name, to be printed.
    about: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    #: Contestants that could not take part, and why.
    missing: dict[str, str] = field(default_factory=dict)
    #: By contestant and operation: why it has none, what was wrong, or a remark.
    unsupported: dict[str, dict[str, str]] = field(default_factory=dict)
    wrong: dict[str, dict[str, str]] = field(default_factory=dict)
    remarks: dict[str, dict[str, str]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    #: KiB for each connection in use, a figure for each time it was measured.
    memory: dict[str, list[float]] = field(default_factory=dict)

    def cpu(
        self, contestant: str, operation: str, *, tasks: int | None = 16, size: int | None = None
    ) -> Figure | None:
        """Microseconds of CPU for one call."""
        return figure(sample.cpu for sample in self.of(contestant, operation, tasks, size))

    def ratio(
        self, contestant: str, other: str, operation: str, *, tasks: int = 16, size: int | None = None
    ) -> Figure | None:
        """CPU for one call, as a multiple of *other*'s in the same round."""
        theirs = {sample.round: sample.cpu for sample in self.of(other, operation, tasks, size)}
        return figure(
            sample.cpu / theirs[sample.round]
            for sample in self.of(contestant, operation, tasks, size)
            if theirs.get(sample.round)
        )

    def rates(self, contestant: str, other: str, operation: str, *, tasks: int) -> Figure | None:
        """Calls a second, as a multiple of *other*'s in the same round."""
        theirs = {sample.round: sample.rate for sample in self.of(other, operation, tasks)}
        return figure(
            sample.rate / theirs[sample.round]
            for sample in self.of(contestant, operation, tasks)
            if sample.round in theirs
        )

    def of(self, contestant: str, operation: str, tasks: int | None, size: int | None = None) -> list[Sample]:
        """The samples of one cell; of any number of tasks for None."""
        return [
            sample
            for sample in self.samples
            if (sample.contestant, sample.operation, sample.size) == (contestant, operation, size)
            and tasks in (None, sample.tasks)
        ]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))

    def add(self, other: Results) -> None:
        """Take in another run of the same benchmark: its rounds count as further rounds."""
        after = 1 + max((sample.round for sample in self.samples), default=-1)
        self.samples += [replace(sample, round=sample.round + after) for sample in other.samples]
        runs = {
            name: "; then ".join(
                dict.fromkeys(each[name] for each in (self.about, other.about) if name in each)
            )
            for name in ("date", "rounds")
            if name in self.about | other.about
        }
        self.about = other.about | self.about | runs
        self.versions = other.versions | self.versions
        self.missing = {name: why for name, why in other.missing.items() if name not in self.versions} | {
            name: why for name, why in self.missing.items() if name not in other.versions
        }
        for name in ("unsupported", "wrong", "remarks"):
            mine = getattr(self, name)
            for contestant, noted in getattr(other, name).items():
                mine.setdefault(contestant, {}).update(noted)
        for contestant, kib in other.memory.items():
            self.memory.setdefault(contestant, []).extend(kib)

    @classmethod
    def load(cls, path: Path) -> Results:
        content = json.loads(path.read_text())
        content["samples"] = [Sample(**sample) for sample in content["samples"]]
        return cls(**content)
