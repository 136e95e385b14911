"""What is different when a script is played by our async methods.

What may be different is left out: BEGIN and COMMIT around a single statement; the order in which independent
prefetches come to an end, and what some of them have done when another fails; that an empty cache of
prefetched objects is there, or None in the place of an object whose key is None; hints of querysets, which
clones of Django's share; paths in errors of lookups in the queryset of a `Prefetch`.
"""

from __future__ import annotations

import asyncio
import random
import warnings
from collections.abc import Iterator

from tests.runtime.sequences.playing import Scene, play
from tests.runtime.sequences.steps import Script
from tests.runtime.sequences.twins import Rows
from tests.runtime.sequences.worlds import Djangos, Ours, drive
from turbo_orm.plans import shapes

__all__ = ["difference"]


def difference(script: Script, rows: Rows, loop: asyncio.AbstractEventLoop) -> str:
    """Return the first difference, in words; empty if there is none.

    Ours is played until its plans are made, with its statements logged, and with some calls as sync ones
    in the bridge. Each time, *rows* are in the tables before; what is in them after it is compared, too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next((f"{found}\nof {script}" for found in _differences(script, rows, loop)), "")


def _differences(script: Script, rows: Rows, loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    shapes.clear()
    rows.restore()
    expected = drive(play(script, Djangos()))
    expected_rows = rows.found()
    chance = random.Random(0)
    for number in range(4):
        in_bridge = number == 3
        rows.restore()
        world = Ours(lambda: chance.random() < 0.5) if in_bridge else Ours()
        found = loop.run_until_complete(play(script, world))
        # What is read in the bridge may be asked for there.
        seen = _seen(expected, found, "outcome", "variables", "signals", *([] if in_bridge else ["asked"]))
        yield from (f"time {number}: {each}" for each in seen)
        found_rows = rows.found()
        yield from (
            f"time {number}: in {table}: {content} is Django's, ours is {found_rows[table]}"
            for table, content in expected_rows.items()
            if content != found_rows[table]
        )
    rows.restore()
    expected = drive(play(script, Djangos(), watched=True))
    rows.restore()
    found = loop.run_until_complete(play(script, Ours(), watched=True))
    yield from (f"logged: {each}" for each in _seen(expected, found, "outcome", "variables", "statements"))


#: Two tasks both ask.
_OTHER_STATEMENTS = ("twice",)


def _seen(expected: list[Scene], found: list[Scene], *names: str) -> Iterator[str]:
    for one, other in zip(expected, found, strict=True):
        failed = isinstance(one.outcome, tuple) and one.outcome[0] == "error"
        for name in names:
            if name == "statements" and (failed or getattr(one.step, "name", "") in _OTHER_STATEMENTS):
                continue  # which ones had been executed by then is another matter
            was, became = str(getattr(one, name)), str(getattr(other, name))
            if was != became:
                texts = f"Django: {_around(was, became)}\nours:   {_around(became, was)}"
                yield f"{name} after {one.step}:\n{texts}"


def _around(text: str, other: str) -> str:
    """Return the part of *text* where it begins to differ from *other*."""
    pairs = enumerate(zip(text, other, strict=False))
    at = next((number for number, (one, another) in pairs if one != another), 0)
    return text[max(0, at - 300) : at + 300]
