"""A connection kept across several steps, each of which is one run in the bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from django.db.transaction import TransactionManagementError
from typing_extensions import ParamSpec, Self

from turbo_orm.bridge.greenlets import drive
from turbo_orm.bridge.scopes import Scope, active_scope
from turbo_orm.bridge.turns import NoMoreTurns
from turbo_orm.db.background import keep_until_done
from turbo_orm.db.uncancellable import uncancellable
from turbo_orm.errors import ConnectionReleasedError, LoopMismatchError

__all__ = ["Held", "Turn"]

P = ParamSpec("P")
T = TypeVar("T")


#: What open `Held` objects keep alive. Collected together with an abandoned iterator, a sync
#: generator would be finalised on the spot, where nothing can await what it does at its end.
_kept: dict[Held, list[object]] = {}


class Held:
    """What an iterator or a cursor keeps between its calls: a scope, and so a connection.

    Inside an `atomic` block that is the block's, in which every step waits for its turn, so
    that other queries of the block run between the steps. Outside, or if *own* is true, it is
    a scope of its own, whose connection goes back to the pool in `close()`.
    """

    __slots__ = ("_block", "_home", "gone", "loop", "subject")

    def __init__(self, subject: str, *, own: bool = False) -> None:
        #: What the user called, for messages: "aiterator()".
        self.subject = subject
        self.loop = asyncio.get_running_loop()
        self._block = None if own else active_scope(self.loop)
        self._home = Scope(self.loop, apart=own) if self._block is None else self._block
        #: The connection was given up without awaiting; see `abandon()`.
        self.gone = False

    def __repr__(self) -> str:
        return f"<Held for {self.subject} in {self._home!r}>"

    @property
    def ended(self) -> bool:
        """Whether the connection has gone: the block ended, or this was closed."""
        return self.gone or self._home.closed

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` as one step.

        Raises `LoopMismatchError` in another event loop than the first step's, and
        `ConnectionReleasedError` after the block has ended or `close()`.
        """
        async with Turn(self) as turn:
            return await turn.run(fn, *args, **kwargs)

    def _with_connection(self) -> Scope | None:
        """Return the block that has the connection: where a nested one has ended, the one around it has."""
        scope = None if self.gone else self._home
        while scope is not None and scope.closed:
            scope = scope.parent
        return scope

    async def open_scope(self) -> Scope:
        """Open a scope which has the connection's turn until it is closed.

        Raises what `run()` raises.
        """
        if asyncio.get_running_loop() is not self.loop:
            raise LoopMismatchError(
                f"This {self.subject} was started in another event loop, which has its "
                "connection. Start a new one in this loop."
            )
        if self.gone:
            raise self._ended_error()
        try:
            return await self.open_scope_in(self._home)
        except NoMoreTurns:
            raise self._ended_error() from None

    async def open_scope_in(self, home: Scope) -> Scope:
        """Do what `open_scope()` does in *home*; raise `NoMoreTurns` if that ends first."""
        scope = Scope(self.loop, self._innermost(home))
        await scope.open()
        scope.task = asyncio.current_task()
        return scope

    def _innermost(self, home: Scope) -> Scope:
        # In a block nested in *home*, the turn is that block's.
        inner = scope = active_scope(self.loop)
        while scope is not None:
            if scope is home and inner is not None:
                return inner
            scope = scope.parent
        return home

    def _ended_error(self) -> ConnectionReleasedError:
        if self._block is None:
            return ConnectionReleasedError(
                f"This {self.subject} was closed, and its connection has gone back to the pool. "
                "Start a new one."
            )
        return ConnectionReleasedError(
            f"The atomic() block in which this {self.subject} was started has ended, and its "
            "connection has gone back to the pool. Use it inside the block."
        )

    def keep(self, thing: object) -> None:
        """Keep *thing* from being collected before this is closed."""
        _kept.setdefault(self, []).append(thing)

    async def close(self, last: Callable[[], object] | None = None) -> None:
        """Run *last* as the last step as long as there is the connection; give an own one back.

        In another event loop than the first step's this only asks that loop to do so.
        """
        if asyncio.get_running_loop() is not self.loop:
            self._close_elsewhere(last)
            return
        try:
            if last is not None:
                await self._run_last(last)
        except GeneratorExit:
            self.leave(last)
            raise
        except BaseException:
            await self._let_go()
            raise
        await self._let_go()

    async def _run_last(self, last: Callable[[], object]) -> None:
        # The transaction may end first, and the cursor with it.
        with suppress(ConnectionReleasedError, TransactionManagementError):
            while (home := self._with_connection()) is not None:
                with suppress(NoMoreTurns):  # this block ends first
                    async with Turn(self, home) as turn:
                        await turn.run(last)
                    return

    async def _let_go(self) -> None:
        _kept.pop(self, None)
        if self._block is None and not self.ended:
            await uncancellable(self._give_back())

    async def _give_back(self) -> None:
        await self._home.wait_for_children()
        await self._home.close()

    def _close_elsewhere(self, last: Callable[[], object] | None) -> None:
        if not self.loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.close(last), self.loop)
        elif self._block is None:
            self.abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is GeneratorExit:
            self.abandon()  # the coroutine is being destroyed: nothing can be awaited
        else:
            await self.close()

    def leave(self, last: Callable[[], object] | None = None) -> None:
        """Do what `close()` does without awaiting: the coroutine in charge is being destroyed.

        In a block that goes on, the loop runs *last* when its turn comes. An own connection is closed.
        """
        if last is None or self._block is None or not self.loop.is_running() or not self._with_connection():
            self.abandon()
            return
        keep_until_done(self.loop.create_task(self.close(last)))

    def abandon(self) -> None:
        """Give an own connection up without awaiting: it is closed, whatever its state.

        A block's connection is left to the block, which ends its transaction.
        """
        _kept.pop(self, None)
        if self._block is None and not self.ended:
            self.gone = True
            self._home.abort()


class Turn:
    """Some consecutive steps of a `Held` that nobody else's come between.

    In the task that has the turn, other queries on the connection raise `BlockDeadlockError`.
    (A class, not a generator: generators that wait for each other can be collected together.)
    """

    __slots__ = ("_held", "_home", "_scope")

    def __init__(self, held: Held, home: Scope | None = None) -> None:
        self._held = held
        #: The block to have it in, if it is not the one the `Held` was started in.
        self._home = home
        self._scope: Scope | None = None

    async def __aenter__(self) -> Self:
        held, home = self._held, self._home
        self._scope = await (held.open_scope() if home is None else held.open_scope_in(home))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._scope is not None:
            await self._scope.close()

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` as one step of this turn."""
        assert self._scope is not None
        try:
            return await drive(self._scope, fn, args, kwargs)
        except GeneratorExit:
            self._held.gone = True  # the coroutine was destroyed: drive() closed the connection
            raise

    async def pause(self) -> None:
        """Let other tasks run between two steps: a fast server may never make one wait."""
        try:
            await asyncio.sleep(0)
        except GeneratorExit:
            self.abort()  # the coroutine is being destroyed: nothing can be awaited
            raise

    def disown(self) -> None:
        """Let the task that has the turn wait for its end: somebody else will end it."""
        if self._scope is not None:
            self._scope.task = None

    def abort(self) -> None:
        """Close the connection without awaiting, the block's too: its state is unknown."""
        self._held.gone = True
        if self._scope is not None:
            self._scope.abort()
