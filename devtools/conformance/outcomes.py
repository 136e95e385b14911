"""How each test of a run ended, read from the lines the run wrote."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Outcome", "Run", "label_of", "read_run"]

#: A later line about a test replaces an earlier one only if it ranks higher: a failed subtest, or an
#: error in tear-down, makes the test a failed one.
_RANK = {"started": 0, "passed": 1, "skipped": 2, "failed": 3}
_FIXTURE = re.compile(r"^\w+ \(([\w.]+)\)$")
_NOT_LOADED = "unittest.loader._FailedTest."


@dataclass(frozen=True)
class Outcome:
    """How one test ended: ``passed``, ``failed``, ``skipped``, or ``started`` if the process died in it."""

    status: str
    #: A traceback or a reason.
    detail: str = ""


@dataclass
class Run:
    """The outcomes of one or more processes."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    #: Sums of what the processes counted: ``executed``, ``bridged``, ``blocking``...
    counts: Counter[str] = field(default_factory=Counter)
    #: Where the event loop was blocked, as stacks.
    blocking: list[str] = field(default_factory=list)
    #: Whether the process came to its end.
    complete: bool = False
    #: The last words of a process that did not.
    crash: str = ""

    def add(self, other: Run) -> None:
        """Take in the outcomes and counts of *other*."""
        self.outcomes.update(other.outcomes)
        self.counts.update(other.counts)
        self.blocking += other.blocking

    def by_label(self) -> dict[str, dict[str, Outcome]]:
        """Return the outcomes of each test package."""
        found: dict[str, dict[str, Outcome]] = {}
        for test, outcome in self.outcomes.items():
            found.setdefault(label_of(test), {})[test] = outcome
        return found


def read_run(lines: Iterable[str]) -> Run:
    """Read what `inside.recording` wrote; a line cut short by a crash is left out."""
    run = Run()
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if "summary" in event:
            run.counts.update(event["summary"])
            run.complete = True
            continue
        if "counts" in event:
            run.counts.update(event["counts"])
            continue
        if "blocking" in event:
            run.blocking.append(event["blocking"])
            continue
        outcome = Outcome(event["status"], event["detail"])
        known = run.outcomes.get(event["test"])
        if known is None or _RANK[outcome.status] > _RANK[known.status]:
            run.outcomes[event["test"]] = outcome
    return run


def label_of(test: str) -> str:
    """Return the test package a test's id belongs to, also for ``setUpClass (queries.tests.Q)``."""
    fixture = _FIXTURE.match(test)
    name = fixture[1] if fixture else test.removeprefix(_NOT_LOADED)
    return name.partition(".")[0]
