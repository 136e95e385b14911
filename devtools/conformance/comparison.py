"""Compare a run with the ordinary one, test by test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from devtools.conformance.known import KnownDifference
from devtools.conformance.outcomes import Outcome

__all__ = ["COLUMNS", "Comparison", "Difference", "compare", "total"]

#: The numbers of a table; ``unknown`` are the differences nobody has listed.
COLUMNS = ("passed", "failed", "skipped", "different", "unknown")
_MISSING = Outcome("missing", "did not run")


@dataclass(frozen=True)
class Difference:
    """A test that ended in another way than it does ordinarily."""

    test: str
    plain: Outcome
    ours: Outcome
    known: KnownDifference | None = None

    def __str__(self) -> str:
        return f"{self.test}: {self.plain.status} -> {self.ours.status}"


@dataclass(frozen=True)
class Comparison:
    """One test package in one mode: how its tests ended, and which ended otherwise than ordinarily."""

    label: str
    mode: str
    #: By `COLUMNS`.
    numbers: Mapping[str, int]
    differences: tuple[Difference, ...]


def compare(
    label: str,
    mode: str,
    plain: Mapping[str, Outcome],
    ours: Mapping[str, Outcome],
    known: Iterable[KnownDifference],
) -> Comparison:
    """Return the comparison of one label's tests; *known* are the differences of this mode and version."""
    known = list(known)
    differences = []
    for test in sorted({*plain, *ours}):
        before, after = plain.get(test, _MISSING), ours.get(test, _MISSING)
        if before.status != after.status:
            listed = next((entry for entry in known if entry.matches(test)), None)
            differences.append(Difference(test, before, after, listed))
    statuses = Counter(outcome.status for outcome in ours.values())
    numbers = {
        "passed": statuses["passed"],
        "failed": statuses["failed"] + statuses["started"],
        "skipped": statuses["skipped"],
        "different": len(differences),
        "unknown": sum(difference.known is None for difference in differences),
    }
    return Comparison(label, mode, numbers, tuple(differences))


def total(numbers: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up the numbers of many labels."""
    added: Counter[str] = Counter(dict.fromkeys(COLUMNS, 0))
    for each in numbers:
        added.update(each)
    return dict(added)
