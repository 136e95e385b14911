"""What the terminal shows: a line for each label, every difference with its traceback, the sums."""

from __future__ import annotations

from collections.abc import Mapping

from devtools.conformance.comparison import COLUMNS, Comparison, Difference, total
from devtools.conformance.ledger import Ledger

__all__ = ["HEADER", "difference_text", "label_line", "print_result"]

HEADER = f"{'mode':8}{'label':34}" + "".join(f"{column:>11}" for column in COLUMNS)


def label_line(comparison: Comparison) -> str:
    """Return a test package's line of the table."""
    return _line(comparison.mode, comparison.label, comparison.numbers)


def _line(mode: str, name: str, numbers: Mapping[str, int]) -> str:
    return f"{mode:8}{name:34}" + "".join(f"{numbers[column]:>11}" for column in COLUMNS)


def difference_text(mode: str, difference: Difference) -> str:
    """Return a difference as a paragraph, with what was said by the run that did not pass."""
    known = f" (known: {difference.known.reason})" if difference.known else ""
    failed = difference.plain if difference.ours.status == "passed" else difference.ours
    detail = "".join(f"\n    {line}" for line in failed.detail.strip().splitlines())
    return f"DIFFERENT [{mode}] {difference}{known}{detail}"


def print_result(ledger: Ledger) -> int:
    """Print the differences and the sums; return the number of reasons to fail."""
    for comparison in ledger.comparisons:
        for difference in comparison.differences:
            print(f"\n{difference_text(comparison.mode, difference)}")
    for mode, entry in ledger.stale():
        print(f"\nNO LONGER DIFFERENT [{mode}] {entry.test}: take it out of known.json")
    print(f"\n{HEADER}")
    failures = 0
    for mode in ledger.modes:
        numbers = total(comparison.numbers for comparison in ledger.comparisons if comparison.mode == mode)
        failures += numbers["unknown"]
        print(_line(mode, "all", numbers))
    for mode in ledger.modes:
        counts = ledger.runs[mode].counts
        print(f"{mode}: " + ", ".join(f"{counts[name]} {name}" for name in counts))
    for fault in ledger.faults():
        failures += 1
        print(f"FAULT {fault}")
    return failures
