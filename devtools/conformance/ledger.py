"""Collects the runs of one Django series as they end, and compares what can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from devtools.conformance.batches import Batch
from devtools.conformance.comparison import Comparison, compare
from devtools.conformance.known import KnownDifference, load_known, stale
from devtools.conformance.labels import package_of
from devtools.conformance.outcomes import Outcome, Run

__all__ = ["Ledger"]


class Ledger:
    """The outcomes by mode and test package, and the comparisons made of them."""

    def __init__(self, series: str, modes: Sequence[str], plain: Mapping[str, Mapping[str, Outcome]]) -> None:
        self.modes = modes
        self.runs: dict[str, Run] = {mode: Run() for mode in ("plain", *modes)}
        self.comparisons: list[Comparison] = []
        self._known = {mode: load_known(mode, series) for mode in modes}
        self._by_label: dict[tuple[str, str], Mapping[str, Outcome]] = {
            ("plain", label): outcomes for label, outcomes in plain.items()
        }

    def take(self, batch: Batch, run: Run) -> Iterator[Comparison]:
        """Take in a run; yield the comparisons it makes possible."""
        self.runs[batch.mode].add(run)
        found = run.by_label()
        for label in dict.fromkeys(package_of(label) for label in batch.labels):
            self._by_label[batch.mode, label] = found.get(label, {})
            for mode in self.modes if batch.mode == "plain" else [batch.mode]:
                yield from self._compare(mode, label)

    def _compare(self, mode: str, label: str) -> Iterator[Comparison]:
        plain, ours = self._by_label.get(("plain", label)), self._by_label.get((mode, label))
        if plain is None or ours is None:
            return
        comparison = compare(label, mode, plain, ours, self._known[mode])
        self.comparisons.append(comparison)
        yield comparison

    def plain_outcomes(self) -> dict[str, Mapping[str, Outcome]]:
        """Return the ordinary run's outcomes by test package."""
        return {label: outcomes for (mode, label), outcomes in self._by_label.items() if mode == "plain"}

    def stale(self) -> Iterator[tuple[str, KnownDifference]]:
        """Yield the known differences, with their mode, that were executed and no longer differ."""
        for mode in self.modes:
            differing = [
                difference.test
                for comparison in self.comparisons
                if comparison.mode == mode
                for difference in comparison.differences
            ]
            for entry in stale(self._known[mode], self.runs[mode].outcomes, differing):
                yield mode, entry

    def faults(self) -> Iterator[str]:
        """Yield what makes the runs worthless as evidence, in sentences."""
        for mode in self.modes:
            counts = self.runs[mode].counts
            if not counts["executed"]:
                yield f"{mode}: no test was executed."
            elif not counts["bridged"]:
                yield f"{mode}: no test waited for the database through the bridge, so nothing was proved."
            if counts["blocking"]:
                where = "\n".join(dict.fromkeys(self.runs[mode].blocking))
                yield f"{mode}: {counts['blocking']} waits on a sync connection blocked the loop:\n{where}"
            if mode == "plans":
                yield from self._plan_faults(counts)
            if mode == "verbs" and counts["executed"] and not counts["verbs"]:
                yield "verbs: no async verb was called."

    @staticmethod
    def _plan_faults(counts: Mapping[str, int]) -> Iterator[str]:
        if counts["executed"] and not counts["planned"]:
            yield "plans: no statement was planned."
        if counts["mismatches"]:
            yield f"plans: {counts['mismatches']} planned statements were not what Django executes."
