"""A test result which writes down how each test ended, line by line, so that a crash loses nothing."""

from __future__ import annotations

import json
import os
import unittest
from typing import Any

from django.test.runner import DiscoverRunner

__all__ = ["PlainRunner", "RecordingResult", "write_blocking", "write_counts", "write_summary"]


def _write(line: dict[str, Any]) -> None:
    with open(os.environ["CONFORMANCE_OUTPUT"], "a", encoding="utf-8") as output:
        output.write(json.dumps(line) + "\n")


def write_summary(**counts: int) -> None:
    """Write the last line, without which a run counts as crashed."""
    _write({"summary": counts})


def write_counts(**counts: int) -> None:
    """Write a line of counts which does not end the run."""
    _write({"counts": counts})


def write_blocking(stack: str) -> None:
    """Write where the event loop was blocked."""
    _write({"blocking": stack})


class RecordingResult(unittest.TextTestResult):
    """Writes one line of JSON for each event: the test's id, its status, and the reason or traceback."""

    def _record(self, test: unittest.TestCase, status: str, detail: Any = "") -> None:
        if not isinstance(detail, str):
            detail = self._exc_info_to_string(detail, test)  # type: ignore[attr-defined]
        # A subtest's id contains its parameters, and with them addresses of this run.
        case = getattr(test, "test_case", test)
        _write({"test": case.id(), "status": status, "detail": detail})

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._record(test, "started")

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._record(test, "passed")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._record(test, "failed", err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._record(test, "failed", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._record(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._record(test, "passed", "expected failure")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._record(test, "failed", "unexpected success")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._record(test, "failed", err)


class PlainRunner(DiscoverRunner):
    """Runs the tests the ordinary way."""

    def get_resultclass(self) -> type[RecordingResult]:
        return RecordingResult

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        result = super().run_suite(suite, **kwargs)
        write_summary(executed=result.testsRun)
        return result
