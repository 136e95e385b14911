"""The differences we know and accept, each with its reason: `known.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from devtools.errors import SetupError

__all__ = ["KnownDifference", "load_known", "stale"]

_FILE = Path(__file__).with_name("known.json")
_KEYS = {"test", "modes", "django", "reason"}
_OPTIONAL_KEYS = {"sometimes"}


@dataclass(frozen=True)
class KnownDifference:
    """Tests that may end in another way than they do ordinarily."""

    #: A test's id; ``*`` stands for anything.
    test: str
    modes: tuple[str, ...]
    #: Django series.
    django: tuple[str, ...]
    reason: str
    #: Depends on the machine; it need not differ to stay listed.
    sometimes: bool = False

    def matches(self, test: str) -> bool:
        return fnmatchcase(test, self.test)


def load_known(mode: str, series: str, path: Path = _FILE) -> list[KnownDifference]:
    """Return the known differences of one mode on one Django series."""
    entries = []
    for number, given in enumerate(json.loads(path.read_text()), 1):
        if set(given) - _OPTIONAL_KEYS != _KEYS or not str(given["reason"]).strip():
            raise SetupError(
                f"Entry {number} of {path.name} must have exactly {', '.join(sorted(_KEYS))}, and a reason; "
                f"it may have {', '.join(sorted(_OPTIONAL_KEYS))}."
            )
        entries.append(
            KnownDifference(
                given["test"],
                tuple(given["modes"]),
                tuple(given["django"]),
                given["reason"],
                bool(given.get("sometimes")),
            )
        )
    # Plans are tried through the verbs.
    modes = {mode, "verbs"} if mode == "plans" else {mode}
    return [entry for entry in entries if modes.intersection(entry.modes) and series in entry.django]


def stale(
    known: Iterable[KnownDifference], executed: Iterable[str], differing: Iterable[str]
) -> list[KnownDifference]:
    """Return the entries whose tests were executed and no longer differ."""
    executed, differing = list(executed), list(differing)
    return [
        entry
        for entry in known
        if not entry.sometimes
        and any(entry.matches(test) for test in executed)
        and not any(entry.matches(test) for test in differing)
    ]
