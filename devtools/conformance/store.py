"""Results of past runs under ``.dev/conformance``, for `--reuse-plain` and the table in the docs."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from devtools.conformance.comparison import Comparison
from devtools.conformance.installation import Installation
from devtools.conformance.labels import available
from devtools.conformance.ledger import Ledger
from devtools.conformance.outcomes import Outcome

__all__ = ["Store", "conformance_folder"]


def conformance_folder(root: Path) -> Path:
    """Return the folder of everything conformance keeps between runs."""
    return Path(os.environ.get("TURBO_DEV_FOLDER") or root / ".dev") / "conformance"


class Store:
    """The results of one Django series: the latest of each test package in each mode."""

    def __init__(self, root: Path, series: str) -> None:
        self._file = conformance_folder(root) / series / "results.json"

    def read(self) -> dict[str, Any]:
        """Return what is stored: ``version``, ``python``, ``packages``, ``plain`` and ``modes``."""
        try:
            stored = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return stored if isinstance(stored, dict) else {}

    def plain(self, labels: Collection[str]) -> dict[str, Mapping[str, Outcome]]:
        """Return the outcomes of the last ordinary run for those of *labels* which have some."""
        return {
            label: {test: Outcome(*outcome) for test, outcome in outcomes.items()}
            for label, outcomes in self.read().get("plain", {}).items()
            if label in labels
        }

    def save(self, installation: Installation, ledger: Ledger, whole: Collection[str]) -> None:
        """Keep the results of the test packages that ran as a *whole*, replacing earlier ones."""
        stored = self.read()
        if stored.get("version") != installation.version:
            stored = {"plain": {}, "modes": {}}
        python = "{}.{}".format(*installation.python.version)
        stored.update(
            version=installation.version, python=python, packages=len(available(installation.tests))
        )
        for label, outcomes in ledger.plain_outcomes().items():
            if label in whole:
                stored["plain"][label] = {test: [each.status, each.detail] for test, each in outcomes.items()}
        for comparison in ledger.comparisons:
            if comparison.label in whole:
                stored["modes"].setdefault(comparison.mode, {})[comparison.label] = _plain_data(comparison)
        _keep_plan_counts(stored, ledger, whole)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps(stored))
        unfinished.replace(self._file)


def _keep_plan_counts(stored: dict[str, Any], ledger: Ledger, whole: Collection[str]) -> None:
    """Keep what the plans mode counted, unless an earlier run was of more test packages."""
    counts = ledger.runs["plans"].counts if "plans" in ledger.runs else {}
    packages = len({each.label for each in ledger.comparisons if each.mode == "plans"} & set(whole))
    if counts.get("terminals") and packages >= stored.get("plans", {}).get("packages", 0):
        names = ("terminals", "terminals_planned", "planned", "mismatches")
        stored["plans"] = {"packages": packages, **{name: counts[name] for name in names}}


def _plain_data(comparison: Comparison) -> dict[str, Any]:
    return {
        "numbers": dict(comparison.numbers),
        "differences": [
            {"test": difference.test, "difference": str(difference)} for difference in comparison.differences
        ],
    }
