"""What is begun by `uncancellable()` comes to its end, whatever becomes of who waits for it."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from tests.runtime.support import until
from turbo_orm.db.uncancellable import uncancellable


class Work:
    """Waits for an event that nothing but the task which runs it refers to."""

    def __init__(self) -> None:
        self.done = False
        self._event: weakref.ref[asyncio.Event] | None = None

    async def run(self) -> str:
        event = asyncio.Event()
        self._event = weakref.ref(event)
        await event.wait()
        self.done = True
        return "done"

    def begun(self) -> bool:
        return self._event is not None

    def let_go(self) -> None:
        assert self._event is not None
        event = self._event()
        assert event is not None, "the task was collected"
        event.set()


@pytest.fixture
def work() -> Work:
    return Work()


async def test_what_never_waits_takes_no_task() -> None:
    async def at_once() -> asyncio.Task[object] | None:
        return asyncio.current_task()

    assert await uncancellable(at_once()) is asyncio.current_task()


async def test_a_cancellation_waits_for_the_end(work: Work) -> None:
    task = asyncio.create_task(uncancellable(work.run()))
    await until(work.begun)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    work.let_go()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.done


async def test_an_error_is_its_own() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        await uncancellable(fail())


async def test_it_goes_on_if_who_waits_is_destroyed(work: Work) -> None:
    waiting = uncancellable(work.run())
    waiting.send(None)
    waiting.close()
    await asyncio.sleep(0)  # now nothing but the event refers to the task
    gc.collect()
    work.let_go()
    await until(lambda: work.done)
