"""What must hold once a program is over, however it ended."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.errors import AdminShutdown

from tests.project.library.models import Author
from tests.runtime.interrupted.model import faults
from tests.runtime.interrupted.programs import Timeout
from tests.runtime.interrupted.runner import Run
from tests.runtime.interrupted.seen import is_cut
from tests.runtime.interrupted.servers import Server
from tests.runtime.support import query, until
from turbo_orm import pool_stats, run_sync

__all__ = ["Complaints", "found_after"]


class Complaints:
    """What Python and asyncio had to say of errors, tasks and coroutines nobody looked at."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    @contextmanager
    def heard(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Hear them, and no collector of the objects there are already."""
        hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        loop.set_exception_handler(self._of_loop)
        gc.collect()
        gc.freeze()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                yield
        finally:
            gc.unfreeze()
            loop.set_exception_handler(None)
            sys.unraisablehook = hook

    def _unraisable(self, found: Any) -> None:
        # Those generators close a cursor in the end, as Django's: what ended the session is known.
        error = found.exc_value
        # To psycopg, what the server says as it ends the session may be one result more.
        lost = isinstance(error, AdminShutdown) or "received 2 results from command 'CLOSE" in str(error)
        if lost and getattr(found.object, "__name__", "") in ("chunks_from_cursor", "cursor_iter"):
            return
        self._texts.append(f"ignored: {found.exc_value!r} in {found.object!r}")

    def _of_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._texts.append(f"asyncio: {context}")

    def taken(self) -> list[str]:
        gc.collect()
        texts, self._texts = self._texts, []
        return texts


async def found_after(run: Run, server: Server, complaints: Complaints) -> list[str]:
    """Return what is wrong after *run*, in words."""
    found = [*_of_task(run)]
    try:
        await until(_all_are_back, 10)
    except AssertionError:
        found.append(f"connections are lost: {pool_stats()['default']}")
    try:
        await until(lambda: not server.busy(), 10)
    except AssertionError:
        found.append(f"sessions are busy: {server.busy()}")
    await until(server.all_is_told, 10)
    found += await _of_connections()
    found += complaints.taken()
    rows = server.take_tags()
    cut = bool(run.cancelled) or _has_timeout(run.program.steps)
    found += faults(run.seen, rows, run.hooks, cancelled=cut, refused=run.program.refused is not None)
    return found


def _of_task(run: Run) -> Iterator[str]:
    if run.in_block:
        yield "its task is still in a block"
    if run.cancelled and not is_cut(run.error) and not _swallows(run):
        yield "it was cancelled, and did not end with that"


def _swallows(run: Run) -> bool:
    """Whether it has to do with `asyncio.wait_for()` of Pythons where that swallows cancellations."""
    return sys.version_info < (3, 12) and _has_timeout(run.program.steps)


def _has_timeout(steps: Any) -> bool:
    for step in steps:
        inner = getattr(step, "steps", None) or [each for each in [getattr(step, "step", None)] if each]
        if isinstance(step, Timeout) or _has_timeout(inner):
            return True
    return False


def _all_are_back() -> bool:
    stats = pool_stats().get("default")
    return stats is None or stats.pool_size == stats.pool_available + stats.pool_shared


async def _of_connections() -> list[str]:
    """Ask as much at once as there are connections: each must answer what it was asked."""
    stats = pool_stats().get("default")
    count = 1 if stats is None else max(1, stats.pool_size)
    names = [f"author {1 + number % 7}" for number in range(count)]
    works: list[Any] = [run_sync(query, "SELECT %s", [number]) for number in range(count)]
    works += [Author.objects.filter(name=name).aget() for name in names]
    answers = await asyncio.gather(*works, return_exceptions=True)
    texts = [each.name if isinstance(each, Author) else each for each in answers]
    expected = [*([(number,)] for number in range(count)), *names]
    return [] if texts == expected else [f"connections answer {texts} to what was asked for {expected}"]
