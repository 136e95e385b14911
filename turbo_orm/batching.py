"""`batch()`: the statements of several operations in one round trip."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Sequence
from copy import copy
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload

from django.db.models import QuerySet

from turbo_orm.bridge.scopes import inherited_scope
from turbo_orm.db.wire import Result
from turbo_orm.plans import running
from turbo_orm.plans.running import Work

__all__ = ["batch"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")


class _Listed(Protocol[T_co]):
    """A queryset."""

    def alist(self) -> Awaitable[T_co]: ...


_Operation: TypeAlias = "Awaitable[T] | _Listed[T]"


@overload
async def batch(op1: _Operation[T1], /, *, return_exceptions: Literal[False] = False) -> tuple[T1]: ...
@overload
async def batch(op1: _Operation[T1], /, *, return_exceptions: bool) -> tuple[T1 | BaseException]: ...
@overload
async def batch(
    op1: _Operation[T1], op2: _Operation[T2], /, *, return_exceptions: Literal[False] = False
) -> tuple[T1, T2]: ...
@overload
async def batch(
    op1: _Operation[T1], op2: _Operation[T2], /, *, return_exceptions: bool
) -> tuple[T1 | BaseException, T2 | BaseException]: ...
@overload
async def batch(
    op1: _Operation[T1],
    op2: _Operation[T2],
    op3: _Operation[T3],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> tuple[T1, T2, T3]: ...
@overload
async def batch(
    op1: _Operation[T1], op2: _Operation[T2], op3: _Operation[T3], /, *, return_exceptions: bool
) -> tuple[T1 | BaseException, T2 | BaseException, T3 | BaseException]: ...
@overload
async def batch(
    op1: _Operation[T1],
    op2: _Operation[T2],
    op3: _Operation[T3],
    op4: _Operation[T4],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> tuple[T1, T2, T3, T4]: ...
@overload
async def batch(
    op1: _Operation[T1],
    op2: _Operation[T2],
    op3: _Operation[T3],
    op4: _Operation[T4],
    /,
    *,
    return_exceptions: bool,
) -> tuple[T1 | BaseException, T2 | BaseException, T3 | BaseException, T4 | BaseException]: ...
@overload
async def batch(
    op1: _Operation[T1],
    op2: _Operation[T2],
    op3: _Operation[T3],
    op4: _Operation[T4],
    op5: _Operation[T5],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> tuple[T1, T2, T3, T4, T5]: ...
@overload
async def batch(
    op1: _Operation[T1],
    op2: _Operation[T2],
    op3: _Operation[T3],
    op4: _Operation[T4],
    op5: _Operation[T5],
    /,
    *,
    return_exceptions: bool,
) -> tuple[
    T1 | BaseException, T2 | BaseException, T3 | BaseException, T4 | BaseException, T5 | BaseException
]: ...
@overload
async def batch(
    op1: _Operation[T1],
    op2: _Operation[T2],
    op3: _Operation[T3],
    op4: _Operation[T4],
    op5: _Operation[T5],
    op6: _Operation[T6],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> tuple[T1, T2, T3, T4, T5, T6]: ...
@overload
async def batch(
    op1: _Operation[T1],
    op2: _Operation[T2],
    op3: _Operation[T3],
    op4: _Operation[T4],
    op5: _Operation[T5],
    op6: _Operation[T6],
    /,
    *,
    return_exceptions: bool,
) -> tuple[
    T1 | BaseException,
    T2 | BaseException,
    T3 | BaseException,
    T4 | BaseException,
    T5 | BaseException,
    T6 | BaseException,
]: ...
@overload
async def batch(*operations: _Operation[T], return_exceptions: Literal[False] = False) -> tuple[T, ...]: ...
@overload
async def batch(*operations: _Operation[T], return_exceptions: bool) -> tuple[T | BaseException, ...]: ...
async def batch(*operations: _Operation[Any], return_exceptions: bool = False) -> Any:
    """Await several operations, sending what they need in as few round trips as can be.

    ``books, count = await batch(Book.objects.filter(author=a), Book.objects.acount())`` sends both
    queries together, and returns the results in order, as a tuple. Takes the coroutines of
    a-methods, and querysets, which stand for their ``alist()``. What an operation does besides its
    planned statements (prefetches, queries without a plan) it does by itself, at the same time as
    the others. Inside `atomic()` everything happens in the block's transaction.

    Each operation runs to its end, whatever becomes of the others. With *return_exceptions*
    errors stand in the places of results; otherwise the first one is raised then. Raises
    `TypeError` for what is neither, before anything is executed.
    """
    awaitables = _awaitables(operations)
    collected = _Collected(asyncio.get_running_loop())
    with running.collecting(collected.take):
        tasks = [asyncio.ensure_future(each) for each in awaitables]
    everything: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
    try:
        with running.collecting(None):
            while not everything.done():
                either: set[asyncio.Future[Any]] = {everything, collected.due}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                await collected.run()
        results = everything.result()
    except BaseException as exc:
        for task in tasks:
            task.cancel()
        if not isinstance(exc, GeneratorExit):
            await asyncio.wait(tasks)
        raise
    finally:
        collected.end()
    if not return_exceptions:
        for result in results:
            if isinstance(result, BaseException):
                raise result
    return tuple(results)


def _awaitables(operations: Sequence[Any]) -> list[Awaitable[Any]]:
    wrong = [each for each in operations if not (inspect.isawaitable(each) or hasattr(each, "alist"))]
    if not wrong:
        return [each if inspect.isawaitable(each) else each.alist() for each in operations]
    for each in operations:
        if inspect.iscoroutine(each):
            each.close()  # or Python warns that nobody awaited it
    kind = type(wrong[0]).__name__
    reason = (
        f"this {kind} of {wrong[0].model.__name__} has no alist(): give the model an AsyncManager"
        if isinstance(wrong[0], QuerySet)
        else f"a {kind} is neither"
    )
    raise TypeError(
        "batch() takes querysets and what could be awaited, such as queryset.acount(), and "
        f"{reason}. Nothing was executed."
    )


_Group: TypeAlias = "list[tuple[Work, asyncio.Future[Result | None]]]"


class _Collected:
    """The statements that wait to be sent together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._scope = inherited_scope()
        self._ended = False
        #: An answer of None says that the statement has not been sent.
        self._waiting: _Group = []
        #: Done when there is something to send.
        self.due: asyncio.Future[None] = loop.create_future()

    def take(self, work: Work) -> Awaitable[Result] | None:
        """Return what sends *work* with the others; None if it is for itself.

        In a block that an operation has begun it belongs to that block's connection, and a task
        an operation has started may come when the batch is over.
        """
        if self._ended or work.statement.known is not None or inherited_scope() is not self._scope:
            return None
        return self._answer_to(work)

    async def _answer_to(self, work: Work) -> Result:
        answer: asyncio.Future[Result | None] = self._loop.create_future()
        self._waiting.append((work, answer))
        if len(self._waiting) == 1:
            # Not before every task that is ready has come as far as its own statement.
            self._loop.call_soon(self._set_due)
        result = await answer
        return await running.run(work) if result is None else result

    def end(self) -> None:
        """Take no more statements. Those that wait still, of tasks nobody waits for, go alone."""
        self._ended = True
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_result(None)

    def _set_due(self) -> None:
        if not self.due.done():
            self.due.set_result(None)

    async def run(self) -> None:
        """Send what waits, and hand the answers out."""
        if not self.due.done():
            return
        waiting, self._waiting = self._waiting, []
        self.due = self._loop.create_future()
        by_alias: dict[str, _Group] = {}
        for work, answer in waiting:
            if not answer.done():  # its operation was cancelled
                by_alias.setdefault(work.alias, []).append((work, answer))
        if len(by_alias) > 1 and self._scope is None:
            await asyncio.gather(*(_answer(alias, group) for alias, group in by_alias.items()))
            return
        for alias, group in by_alias.items():  # in a block they would only wait for each other
            await _answer(alias, group)


async def _answer(alias: str, group: _Group) -> None:
    results = await _results(alias, [work for work, _ in group])
    for (_, answer), result in zip(group, results, strict=True):
        if answer.done():
            continue
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)


async def _results(alias: str, works: Sequence[Work]) -> Sequence[Result | Exception]:
    """Execute *works*; what keeps all of them from it, as a pool with no connection, is said to each."""
    try:
        return await running.run_together(alias, works)
    except Exception as exc:
        return [exc, *(_another(exc) for _ in works[1:])]


def _another(error: Exception) -> Exception:
    """Return what says the same as *error*: tracebacks grow where exceptions are raised."""
    try:
        other = copy(error)
    except Exception:  # of a class with a constructor of its own
        return error
    other.__cause__ = error.__cause__
    return other.with_traceback(error.__traceback__)
