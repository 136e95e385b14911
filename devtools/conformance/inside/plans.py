"""The async verbs with plans made at once, and every planned statement compared with Django's own."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any
from unittest.mock import patch

from devtools.conformance.inside.recording import write_counts
from devtools.conformance.inside.verbs.runner import VerbsRunner
from turbo_orm.plans import shapes
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.verify import Verified

__all__ = ["PlansRunner"]


#: What finds the plan of a terminal, or says that there is none.
_FINDERS = ("_bound", "_bound_get", "_bound_update", "_bound_delete")


class _Terminals:
    """Counts the terminals called, and those that had a plan."""

    def __init__(self) -> None:
        self.called = 0
        self.planned = 0
        self._inside = False

    def counting(self, find: Callable[..., Any]) -> Callable[..., Any]:
        """Return *find*, counted; one finder may call another, for the same terminal."""

        @wraps(find)
        def finding(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return find(*args, **kwargs)
            self._inside = True
            try:
                found = find(*args, **kwargs)
            finally:
                self._inside = False
            self.called += 1
            self.planned += (found[1] if type(found) is tuple else found) is not None
            return found

        return finding


class PlansRunner(VerbsRunner):
    """`VerbsRunner`; counts terminals with and without a plan too."""

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        shapes.build_at_once()
        terminals = _Terminals()
        with ExitStack() as stack:
            for name in _FINDERS:
                finder = getattr(PlannedQuerySet, name)
                stack.enter_context(patch.object(PlannedQuerySet, name, terminals.counting(finder)))
            result = super().run_suite(suite, **kwargs)
        write_counts(
            terminals=terminals.called,
            terminals_planned=terminals.planned,
            planned=Verified.same,
            mismatches=Verified.different,
        )
        return result
