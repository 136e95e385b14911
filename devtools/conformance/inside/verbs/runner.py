"""The runner of verbs mode: the bridged one, which also says how often each verb was called."""

from __future__ import annotations

import unittest
from typing import Any

from devtools.conformance.inside.bridged import BridgedRunner
from devtools.conformance.inside.recording import write_summary
from devtools.conformance.inside.verbs.redirect import calls
from turbo_orm import related

__all__ = ["VerbsRunner"]


class VerbsRunner(BridgedRunner):
    """Expects `verbs.install()` to have run before the models were imported."""

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        related.install()  # for generic relations; a project has "turbo_orm" in INSTALLED_APPS
        result = super().run_suite(suite, **kwargs)
        write_summary(verbs=calls.total(), **calls)
        return result
