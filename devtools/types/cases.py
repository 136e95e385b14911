"""The type cases: files of right lines, and wrong ones marked ``# E: code`` (mypy's code)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CASES", "Case", "read_case", "read_cases"]

CASES = Path(__file__).resolve().parents[2] / "tests" / "typing" / "cases"

_MARK = re.compile(r"# E: ([\w-]+)\s*$")


@dataclass(frozen=True)
class Case:
    """A file of lines about one operation."""

    name: str
    lines: tuple[str, ...]
    #: mypy's error code of each wrong line, by line number.
    wrong: dict[int, str]

    def missed(self, reported: Iterable[int]) -> list[int]:
        """Return the wrong lines which are not among the *reported* ones."""
        return sorted(set(self.wrong) - set(reported))

    def false_positives(self, reported: Iterable[int]) -> list[int]:
        """Return the reported lines which are right."""
        return sorted(set(reported) - set(self.wrong))


def read_cases() -> list[Case]:
    return [read_case(path) for path in sorted(CASES.glob("*.py"))]


def read_case(path: Path) -> Case:
    lines = path.read_text(encoding="utf-8").splitlines()
    marks = ((number, _MARK.search(line)) for number, line in enumerate(lines, 1))
    return Case(path.name, tuple(lines), {number: mark[1] for number, mark in marks if mark})
