"""Every async verb does exactly what its sync twin does, alone and in an `atomic` block."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.runtime.parity.cases import CASES
from tests.runtime.parity.cases.relations import EXEMPLARY
from tests.runtime.parity.data import Snapshot
from tests.runtime.parity.outcome import Case, run_async, run_twin


def selection() -> Iterator[Any]:
    """All cases, twice; those that repeat what another shows, on other data, are slow ones."""
    shown: set[tuple[str, str]] = set()
    for case in CASES:
        exemplary = case.relation is None or case.relation in EXEMPLARY
        yield pytest.param(case, False, id=str(case), marks=[] if exemplary else [pytest.mark.slow])
        first = (case.kind, case.verb) not in shown
        shown.add((case.kind, case.verb))
        yield pytest.param(case, True, id=f"{case}, in a block", marks=[] if first else [pytest.mark.slow])


@pytest.mark.parametrize(("case", "in_block"), list(selection()))
def test_same_as_sync(case: Case, in_block: bool, snapshot: Snapshot, frozen_now: None) -> None:
    check(case, snapshot, in_block=in_block)


@pytest.mark.usefixtures("verified_plans")
@pytest.mark.parametrize(("case", "in_block"), list(selection()))
def test_same_as_sync_by_plan(case: Case, in_block: bool, snapshot: Snapshot, frozen_now: None) -> None:
    check(case, snapshot, in_block=in_block, watched=False)


def check(case: Case, snapshot: Snapshot, **how: bool) -> None:
    snapshot.restore()
    expected = run_twin(case, **how)
    expected.rows = snapshot.rows()

    snapshot.restore()
    outcome = asyncio.run(run_async(case, **how))
    outcome.rows = snapshot.rows()

    assert outcome.error == expected.error
    assert outcome.result == expected.result
    assert outcome.sql == expected.sql
    assert outcome.signals == expected.signals
    assert outcome.owner == expected.owner
    assert outcome.rows == expected.rows
