"""In which random cases tests look for differences from Django, and for how long."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

from hypothesis import HealthCheck, settings

__all__ = ["PROFILE", "SECONDS", "seeds"]

#: For so many seconds a slow test looks for differences, in other cases each time. None: in the same ones,
#: so that a change fails for what it does.
SECONDS = float(os.environ.get("TURBO_FUZZ_SECONDS", "0")) or None

#: Of the only case to try, if there is one.
SEED = os.environ.get("TURBO_FUZZ_SEED")

#: To be given its ``max_examples``.
PROFILE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[*HealthCheck],
    report_multiple_bugs=False,
    print_blob=True,
)


def seeds(count: int, *, runs: int) -> Iterator[int]:
    """Yield the seeds of a slow test that runs so many times: *count*, or as many as there is time for."""
    if SEED is not None:
        yield int(SEED)
        return
    if SECONDS is None:
        yield from range(count)
        return
    until = time.monotonic() + SECONDS / runs
    while time.monotonic() < until:
        yield random.getrandbits(32)
