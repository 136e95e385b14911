"""From the lines a run of Django's tests writes to the verdict."""

from __future__ import annotations

import json

import pytest

from devtools.conformance.batches import Batch, make_batches
from devtools.conformance.comparison import compare, total
from devtools.conformance.known import KnownDifference, stale
from devtools.conformance.ledger import Ledger
from devtools.conformance.outcomes import Outcome, Run, label_of, read_run
from devtools.conformance.report import print_result

PASSED, FAILED, SKIPPED = Outcome("passed"), Outcome("failed", "Traceback"), Outcome("skipped", "no")


def line(test: str, status: str, detail: str = "") -> str:
    return json.dumps({"test": test, "status": status, "detail": detail})


def run_of(outcomes: dict[str, Outcome], **counts: int) -> Run:
    run = Run(complete=True)
    run.outcomes.update(outcomes)
    run.counts.update({"executed": len(outcomes), **counts})
    return run


@pytest.mark.parametrize(
    ("test", "label"),
    [
        ("queries.tests.Queries1Tests.test_order", "queries"),
        ("setUpClass (queries.tests.Queries1Tests)", "queries"),
        ("unittest.loader._FailedTest.queries", "queries"),
        ("unittest.loader._FailedTest.queries.test_q", "queries"),
        ("process (queries)", "queries"),
    ],
)
def test_label_of_a_test(test: str, label: str):
    assert label_of(test) == label


def test_a_failure_is_not_undone_by_a_later_success():
    run = read_run([line("a.b", "started"), line("a.b", "failed", "subtest"), line("a.b", "passed")])
    assert run.outcomes == {"a.b": Outcome("failed", "subtest")}


def test_an_error_in_tear_down_fails_a_test_that_passed():
    run = read_run([line("a.b", "started"), line("a.b", "passed"), line("a.b", "failed", "tearDown")])
    assert run.outcomes == {"a.b": Outcome("failed", "tearDown")}


def test_a_run_that_ends_in_the_middle_of_a_line_is_not_complete():
    run = read_run([line("a.b", "passed"), line("a.c", "started"), '{"test": "a.c", "sta'])
    assert run.outcomes == {"a.b": PASSED, "a.c": Outcome("started")}
    assert not run.complete


def test_counts_of_several_summaries_add_up():
    summaries = [json.dumps({"summary": {"executed": 3}}), json.dumps({"summary": {"bridged": 7}})]
    run = read_run([*summaries, json.dumps({"blocking": "a stack"})])
    assert (run.complete, run.counts, run.blocking) == (True, {"executed": 3, "bridged": 7}, ["a stack"])


def test_differences():
    plain = {"a.same": PASSED, "a.worse": PASSED, "a.better": FAILED, "a.gone": PASSED, "a.failing": FAILED}
    ours = {"a.same": PASSED, "a.worse": FAILED, "a.better": PASSED, "a.new": SKIPPED, "a.failing": FAILED}
    comparison = compare("a", "bridge", plain, ours, [])
    assert [str(difference) for difference in comparison.differences] == [
        "a.better: failed -> passed",
        "a.gone: passed -> missing",
        "a.new: missing -> skipped",
        "a.worse: passed -> failed",
    ]
    assert comparison.numbers == {"passed": 2, "failed": 2, "skipped": 1, "different": 4, "unknown": 4}


def test_a_listed_difference_is_known():
    entry = KnownDifference("a.Pool*.test_*", ("bridge",), ("6.1",), "has no pool")
    plain = {"a.PoolTests.test_size": PASSED, "a.Other.test_size": PASSED}
    ours = {"a.PoolTests.test_size": FAILED, "a.Other.test_size": FAILED}
    comparison = compare("a", "bridge", plain, ours, [entry])
    assert [difference.known for difference in comparison.differences] == [None, entry]
    assert (comparison.numbers["different"], comparison.numbers["unknown"]) == (2, 1)


def test_an_entry_is_stale_if_its_test_ran_and_did_not_differ():
    gone = KnownDifference("a.*", ("bridge",), ("6.1",), "was so once")
    still = KnownDifference("b.*", ("bridge",), ("6.1",), "is so")
    not_run = KnownDifference("c.*", ("bridge",), ("6.1",), "may be so")
    flaky = KnownDifference("a.*", ("bridge",), ("6.1",), "is so on a busy machine", sometimes=True)
    assert stale([gone, still, not_run, flaky], ["a.x", "b.x", "b.y"], ["b.y"]) == [gone]


def test_totals_have_every_column():
    assert total([]) == {"passed": 0, "failed": 0, "skipped": 0, "different": 0, "unknown": 0}
    numbers = {"passed": 1, "failed": 2, "skipped": 3, "different": 4, "unknown": 0}
    assert total([numbers, numbers])["skipped"] == 6


def test_batches_run_every_label_in_every_mode_it_is_wanted_in():
    labels = {"plain": [f"label{n}" for n in range(25)], "verbs": ["label3", "label24"]}
    batches = make_batches(labels)
    assert {
        mode: [name for batch in batches if batch.mode == mode for name in batch.labels] for mode in labels
    } == labels
    # What is compared with each other runs close together.
    assert [batch.mode for batch in batches] == ["plain", "verbs", "plain", "plain", "verbs"]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger("6.1", ["bridge", "verbs"], {})


def test_a_label_is_compared_as_soon_as_both_runs_are_in(ledger: Ledger):
    ours, plain = run_of({"a.x": FAILED}, bridged=1), run_of({"a.x": PASSED})
    assert list(ledger.take(Batch("bridge", ("a",)), ours)) == []
    [comparison] = ledger.take(Batch("plain", ("a",)), plain)
    assert (comparison.mode, comparison.label, len(comparison.differences)) == ("bridge", "a", 1)
    [comparison] = ledger.take(Batch("verbs", ("a",)), run_of({"a.x": PASSED}, bridged=1, verbs=1))
    assert (comparison.mode, len(comparison.differences)) == ("verbs", 0)


def test_the_evidence_is_checked(ledger: Ledger, capsys: pytest.CaptureFixture[str]):
    list(ledger.take(Batch("bridge", ("a",)), run_of({"a.x": PASSED}, bridged=4, blocking=1)))
    list(ledger.take(Batch("verbs", ("a",)), run_of({"a.x": PASSED}, bridged=4)))
    assert [fault.partition("\n")[0] for fault in ledger.faults()] == [
        "bridge: 1 waits on a sync connection blocked the loop:",
        "verbs: no async verb was called.",
    ]
    assert print_result(ledger, seconds=1.5) == 2
    assert capsys.readouterr().out.endswith("\n=== 0 passed, 2 failed in 1.5s ===\n")


def test_a_run_outside_the_bridge_proves_nothing(ledger: Ledger):
    list(ledger.take(Batch("bridge", ("a",)), run_of({"a.x": PASSED})))
    assert list(ledger.faults()) == [
        "bridge: no test waited for the database through the bridge, so nothing was proved.",
        "verbs: no test was executed.",
    ]
