"""Runs a program, interrupts it where it says so, and notes what is seen."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from django.db import connection

from tests.project.library.models import Author, Tag
from tests.runtime.interrupted.model import UndoneError
from tests.runtime.interrupted.programs import (
    Batch,
    Block,
    Caught,
    CloseKept,
    Fail,
    Gather,
    Hook,
    InSync,
    Pause,
    Program,
    Read,
    Sleep,
    Step,
    Stream,
    Terminate,
    TerminateAsleep,
    Timeout,
    Write,
)
from tests.runtime.interrupted.seen import Seen, without_frames
from tests.runtime.interrupted.servers import Server
from tests.runtime.interrupted.sync_code import SECONDS_ASLEEP, TAKEN, SyncCode, insert
from tests.runtime.support import sleep, watched
from turbo_orm import atomic, batch, on_commit, run_sync

__all__ = ["Run"]


class Run:
    """One run of a program."""

    def __init__(self, program: Program, server: Server) -> None:
        self.program = program
        self.seen = Seen(lambda: self.cancelled > 0)
        #: The hooks that were called.
        self.hooks: list[str] = []
        #: How often it was cancelled, and how often it had waited by the end.
        self.cancelled = 0
        self.waited = 0
        #: What it ended with.
        self.error: BaseException | None = None
        #: Whether Django says that its task is in a block still.
        self.in_block = False
        self._server = server
        self._kept: list[AsyncIterator[Author]] = []
        self._task: asyncio.Task[None] | None = None
        self._sync = SyncCode(self._steps, self.hooks, self._terminate)

    def __str__(self) -> str:
        ended = f"cancelled {self.cancelled} times in {self.waited} waits, and ended with {self.error!r}"
        return f"{self.program}\nwas {ended}:\n{self.seen}\nhooks called: {self.hooks}"

    async def go(self) -> None:
        """Run it in a task of its own, to its end."""
        self._server.refuse(self.program.refused)
        task = self._task = asyncio.ensure_future(self._whole())
        await asyncio.wait({task}, timeout=60)
        assert task.done(), f"it waits for ever\n{self}"
        self._server.refuse(None)
        await task

    async def _whole(self) -> None:
        try:
            await self._counted(partial(self._steps, self.program.steps, self.seen))
        except BaseException as error:
            self.error = without_frames(error)
        self._kept.clear()
        self.in_block = connection.in_atomic_block
        self._task = None

    async def _counted(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        await watched(work(), self._waits)

    def _waits(self, future: Any) -> bool:
        self.waited += 1
        planned = self.program.cancellation
        if planned is not None:
            if self.waited == planned.at and planned.together and future is not None:
                future.add_done_callback(lambda _: self._cancel())
            elif self.waited == planned.at or (planned.again and self.waited == planned.at + planned.again):
                self._cancel()
        return False

    def _cancel(self) -> None:
        if self._task is not None:
            self.cancelled += 1
            self._task.cancel()

    async def _steps(self, steps: Sequence[Step], seen: Seen) -> None:
        for step in steps:
            await self._step(step, seen)

    async def _step(self, step: Step, seen: Seen) -> None:
        if isinstance(step, Caught):
            try:
                await self._step(step.step, seen)
            except Exception as error:
                without_frames(error)
        else:
            await _WAYS[type(step)](self, step, seen)

    async def _block(self, step: Block, seen: Seen) -> None:
        level = "serializable" if step.serializable else None
        with seen.running(step) as ran:
            async with atomic(savepoint=step.savepoint, durable=step.durable, isolation_level=level):
                with ran.body():
                    await self._steps(step.steps, ran)
                    if step.undone:
                        raise UndoneError

    async def _timeout(self, step: Timeout, seen: Seen) -> None:
        with seen.passing("Timeout"):
            await asyncio.wait_for(self._steps(step.steps, seen), step.seconds)

    async def _in_sync(self, step: InSync, seen: Seen) -> None:
        with seen.passing("InSync"):
            await run_sync(self._sync.take, step.steps, seen)

    async def _gather(self, step: Gather, seen: Seen) -> None:
        inside = [self._counted(partial(self._step, each, seen)) for each in step.steps]
        outside = [
            contextvars.Context().run(asyncio.ensure_future, self._look_from_outside(seen))
            for _ in range(step.outside)
        ]
        with seen.passing("Gather"):
            results = await asyncio.gather(*inside, *outside, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _look_from_outside(self, seen: Seen) -> None:
        with seen.asking("from outside", outside=True) as asked:
            asked.found = frozenset(await Tag.objects.values_list("label", flat=True).alist())

    async def _write(self, step: Write, seen: Seen) -> None:
        with seen.asking(step, step.tag):
            await _WRITES[step.by](step.tag)

    async def _read(self, step: Read, seen: Seen) -> None:
        with seen.asking(step) as asked:
            if step.by == "tags":
                asked.found = frozenset(await Tag.objects.values_list("label", flat=True).alist())
            else:
                assert await Author.objects.acount() > 0

    async def _fail(self, step: Fail, seen: Seen) -> None:
        with seen.asking(step, fails=True):
            await _WRITES[step.by](TAKEN)

    async def _stream(self, step: Stream, seen: Seen) -> None:
        with seen.asking(step):
            rows = Author.objects.order_by("name").aiterator(chunk_size=2)
            if step.left == "kept":
                self._kept.append(rows)
            taken = 0
            async for _ in rows:
                taken += 1
                if taken == step.taken:
                    break
            assert taken == step.taken
            if step.left == "closed":
                await rows.aclose()

    async def _close_kept(self, step: CloseKept, seen: Seen) -> None:
        while self._kept:
            with seen.asking(step):
                await self._kept.pop().aclose()

    async def _batch(self, step: Batch, seen: Seen) -> None:
        works: list[Callable[[], Coroutine[Any, Any, object]]] = [
            partial(Tag.objects.acreate, label=tag) for tag in step.tags
        ]
        works.insert(1, partial(Tag.objects.acreate, label=TAKEN) if step.fails else Author.objects.acount)
        with seen.asking(step, *step.tags, fails=step.fails):
            await batch(*map(self._counted, works))

    async def _hook(self, step: Hook, seen: Seen) -> None:
        async def call() -> None:
            self.hooks.append(step.name)
            await Author.objects.acount()

        with seen.giving(step.name):
            await on_commit(call if step.awaits else lambda: self.hooks.append(step.name))

    async def _sleep(self, step: Sleep, seen: Seen) -> None:
        with seen.asking(step):
            await run_sync(sleep, SECONDS_ASLEEP)

    async def _pause(self, step: Pause, seen: Seen) -> None:
        await asyncio.Event().wait()

    def _terminate(self, step: Terminate, seen: Seen) -> None:
        seen.terminated(self._server.terminate_in_transaction(), 0)
        if step.everything:
            seen.terminated(0, self._server.terminate_idle())

    async def _terminate_here(self, step: Terminate, seen: Seen) -> None:
        self._terminate(step, seen)
        if step.noticed:
            try:
                await asyncio.sleep(0.002)
            except asyncio.CancelledError:  # it may have come before the event loop could notice
                await asyncio.sleep(0.002)
                raise
            finally:
                while not self._server.all_is_told():
                    await asyncio.sleep(0.002)

    async def _terminate_asleep(self, step: TerminateAsleep, seen: Seen) -> None:
        async def terminate() -> None:
            while not (ended := self._server.terminate_asleep()):
                await asyncio.sleep(0.002)
            seen.terminated(ended, 0)

        terminating = contextvars.Context().run(asyncio.ensure_future, terminate())
        try:
            with seen.asking(step):
                await run_sync(sleep, SECONDS_ASLEEP)
        finally:
            terminating.cancel()
            await asyncio.wait({terminating})


_WAYS: dict[type[Any], Callable[[Run, Any, Seen], Awaitable[None]]] = {
    Batch: Run._batch,
    Block: Run._block,
    CloseKept: Run._close_kept,
    Fail: Run._fail,
    Gather: Run._gather,
    Hook: Run._hook,
    InSync: Run._in_sync,
    Pause: Run._pause,
    Read: Run._read,
    Sleep: Run._sleep,
    Stream: Run._stream,
    Terminate: Run._terminate_here,
    TerminateAsleep: Run._terminate_asleep,
    Timeout: Run._timeout,
    Write: Run._write,
}

_WRITES: dict[str, Callable[[str], Awaitable[object]]] = {
    "acreate": lambda tag: Tag.objects.acreate(label=tag),
    "abulk_create": lambda tag: Tag.objects.abulk_create([Tag(label=tag)]),
    "asave": lambda tag: Tag(label=tag).asave(),
    "cursor": lambda tag: run_sync(insert, tag),
}
