"""The table of cases, one module for each kind of object that has async verbs."""

from __future__ import annotations

from tests.runtime.parity.cases import chains, instances, managers, querysets, raw, relations
from tests.runtime.parity.outcome import Case

__all__ = ["CASES"]

CASES: list[Case] = [
    *querysets.CASES,
    *chains.CASES,
    *managers.CASES,
    *raw.CASES,
    *instances.CASES,
    *relations.CASES,
]
