"""Checks the type cases with every checker in every environment, and counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.types.cases import Case, read_cases
from devtools.types.checkers import CHECKERS, Report, check
from devtools.types.environments import ENVIRONMENTS, VERSIONS, Environment
from devtools.types.known import reason
from devtools.types.project import prepare

__all__ = ["Row", "measure", "print_table"]


@dataclass(frozen=True)
class Row:
    """How one checker did in one environment."""

    checker: str
    environment: str
    wrong: int
    #: Lines as ``file:number: text``, with the reason where it is known.
    missed: tuple[str, ...]
    false_positives: tuple[str, ...]
    seconds: float

    @property
    def caught(self) -> int:
        return self.wrong - len(self.missed)


def measure(checkers: Sequence[str], environments: Sequence[Environment]) -> Iterator[Row]:
    """Yield a row for each checker and environment."""
    cases = read_cases()
    with tempfile.TemporaryDirectory(prefix="turbo-types-") as folder:
        for number, environment in enumerate(environments):
            python = environment.python()
            project = prepare(Path(folder).resolve() / str(number), python)
            for checker in checkers:
                if environment.plugin and checker != "mypy":
                    continue
                options = {"plugin": environment.plugin, "untyped": environment.untyped}
                report = check(checker, project, "cases", python=python, **options)
                yield _row(checker, _called(environment), cases, report)


def _called(environment: Environment) -> str:
    other = environment in VERSIONS
    return f"Python {environment.version}, {environment.name}" if other else environment.name


def _row(checker: str, environment: str, cases: Sequence[Case], report: Report) -> Row:
    missed: list[str] = []
    false_positives: list[str] = []
    for case in cases:
        reported = report.lines(f"cases/{case.name}")
        for found, numbers in (
            (missed, case.missed(reported)),
            (false_positives, case.false_positives(reported)),
        ):
            found += [_shown(checker, environment, case, number) for number in numbers]
    return Row(
        checker,
        environment,
        sum(len(case.wrong) for case in cases),
        tuple(missed),
        tuple(false_positives),
        report.seconds,
    )


def _shown(checker: str, environment: str, case: Case, number: int) -> str:
    line = case.lines[number - 1].strip()
    why = reason(checker, environment, line)
    return f"{case.name}:{number}: {line}" + (f"  ({why})" if why else "")


def print_table(rows: Sequence[Row]) -> None:
    """Print the table in Markdown, and the lines behind every number that is not perfect."""
    print("| checker | environment | wrong lines caught | false positives | seconds |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.checker} | {row.environment} | {row.caught} of {row.wrong} "
            f"| {len(row.false_positives)} | {row.seconds:.1f} |"
        )
    for row in rows:
        for kind, lines in (("missed", row.missed), ("false positive", row.false_positives)):
            for line in lines:
                print(f"{row.checker}, {row.environment}: {kind}: {line}")


def main(arguments: Sequence[str], environments: Sequence[Environment] = ENVIRONMENTS) -> int:
    """Print the table for the checkers named in *arguments*, or for all."""
    unknown = sorted(set(arguments) - set(CHECKERS))
    if unknown:
        print(f"There is no checker {unknown[0]!r}. Known are: {', '.join(CHECKERS)}.")
        return 2
    rows = list(measure(list(arguments) or list(CHECKERS), environments))
    print_table(rows)
    perfect = {"django-stubs", *map(_called, VERSIONS)}
    with_stubs = [row for row in rows if row.environment in perfect]
    unexplained = [
        line for row in with_stubs for line in (*row.missed, *row.false_positives) if "  (" not in line
    ]
    return 1 if unexplained else 0
