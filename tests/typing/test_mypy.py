"""Code which uses facades, on mypy: right lines are accepted, each wrong one is rejected."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from devtools.types.cases import Case, read_cases
from devtools.types.checkers import Report, check

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("mypy", "django_stubs_ext"))),
        reason="mypy or django-stubs is not installed in this environment",
    ),
]


@pytest.fixture(scope="module")
def report(bookshop: Path) -> Report:
    return check("mypy", bookshop, "cases")


@pytest.mark.parametrize("case", read_cases(), ids=lambda case: case.name)
def test_each_wrong_line_and_no_other_is_rejected(case: Case, report: Report) -> None:
    assert report.lines(f"cases/{case.name}") == case.wrong


def test_nothing_else_of_the_project_has_errors(report: Report) -> None:
    assert [error for error in report.errors if not error.file.startswith("cases/")] == []


def test_the_cases_hold_right_and_wrong_lines() -> None:
    cases = read_cases()
    assert len(cases) > 10
    assert sum(len(case.wrong) for case in cases) > 100
    assert all("assert_type" in "\n".join(case.lines) for case in cases)
