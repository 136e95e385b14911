"""What the terminal shows: a line for each label, every difference with its traceback, the sums."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from devtools.conformance.comparison import COLUMNS, Comparison, Difference, total
from devtools.conformance.ledger import Ledger

__all__ = ["HEADER", "difference_text", "plan_sentence", "print_comparison", "print_result"]

HEADER = f"{'mode':8}{'label':34}" + "".join(f"{column:>11}" for column in COLUMNS)


def _line(mode: str, name: str, numbers: Mapping[str, int]) -> str:
    return f"{mode:8}{name:34}" + "".join(f"{numbers[column]:>11}" for column in COLUMNS)


def difference_text(difference: Difference) -> str:
    """Return an unknown difference with what the run that did not pass said, a known one with its reason."""
    if difference.known is not None:
        return f"    known: {difference} ({difference.known.reason})"
    failed = difference.plain if difference.ours.status == "passed" else difference.ours
    detail = "".join(f"\n        {line}" for line in failed.detail.strip().splitlines())
    return f"    {difference}{detail}"


def plan_sentence(counts: Mapping[str, int]) -> str:
    """Return how many terminals had a plan, and how many statements were compared."""
    called, planned = counts["terminals"], counts["terminals_planned"]
    return (
        f"{planned:,} of {called:,} terminals had a plan ({planned / called:.0%}); {counts['planned']:,} "
        f"planned statements were compared with Django's, {counts['mismatches']} were different."
    )


def print_comparison(comparison: Comparison) -> None:
    """Print a test package's line, and its differences."""
    print(_line(comparison.mode, comparison.label, comparison.numbers))
    for difference in comparison.differences:
        print(difference_text(difference))
    sys.stdout.flush()


def print_result(ledger: Ledger, seconds: float) -> int:
    """Print the differences again, by name, and the sums; return the number of reasons to fail."""
    print()
    for comparison in ledger.comparisons:
        for difference in comparison.differences:
            print(f"{'KNOWN' if difference.known else 'DIFFERENT'} [{comparison.mode}] {difference}")
    for mode, entry in ledger.stale():
        print(f"NO LONGER DIFFERENT [{mode}] {entry.test}: take it out of known.json")
    print(HEADER)
    failures = 0
    for mode in ledger.modes:
        numbers = total(comparison.numbers for comparison in ledger.comparisons if comparison.mode == mode)
        failures += numbers["unknown"]
        print(_line(mode, "all", numbers))
    for mode in ledger.modes:
        counts = ledger.runs[mode].counts
        print(f"{mode}: " + ", ".join(f"{counts[name]} {name}" for name in counts))
        if counts["terminals"]:
            print(f"{mode}: {plan_sentence(counts)}")
    for fault in ledger.faults():
        failures += 1
        print(f"FAULT {fault}")
    passed = sum(comparison.numbers["passed"] for comparison in ledger.comparisons)
    print(f"\n=== {passed} passed, {failures} failed in {seconds:.1f}s ===")  # as pytest's, for `.ci/run`
    return failures
