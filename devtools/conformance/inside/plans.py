"""The async verbs with plans made at once, and every planned statement compared with Django's own."""

from __future__ import annotations

import unittest
from typing import Any

from devtools.conformance.inside.recording import write_counts
from devtools.conformance.inside.verbs.runner import VerbsRunner
from turbo_orm.plans import mode, shapes
from turbo_orm.plans.verify import Verified

__all__ = ["PlansRunner"]


class PlansRunner(VerbsRunner):
    """`VerbsRunner`; counts terminals with and without a plan too."""

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        shapes.build_at_once()
        terminals = 0
        bound = mode.PlannedQuerySet._bound

        def counting(queryset: Any, terminal: str) -> Any:
            nonlocal terminals
            terminals += 1
            return bound(queryset, terminal)

        mode.PlannedQuerySet._bound = counting  # type: ignore[method-assign, assignment]
        try:
            result = super().run_suite(suite, **kwargs)
        finally:
            mode.PlannedQuerySet._bound = bound  # type: ignore[method-assign]
        write_counts(terminals=terminals, planned=Verified.same, mismatches=Verified.different)
        return result
