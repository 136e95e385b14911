"""Who shares which connection: operations and `atomic` blocks as nested scopes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from greenlet import getcurrent

from turbo_orm.bridge.deadlock import find_deadlock
from turbo_orm.bridge.interruptions import block_destroyed
from turbo_orm.bridge.turns import NoMoreTurns, Turns
from turbo_orm.db.uncancellable import uncancellable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from turbo_orm.bridge.wire_blocks import WireBlock

__all__ = [
    "Entered",
    "Lease",
    "Runs",
    "Scope",
    "active_scope",
    "inherited_scope",
    "inheriting",
    "is_in_scope",
    "open_scope",
]


class Lease(Protocol):
    """A connection, or what has one, to be given up at the end of a scope."""

    def release_now(self) -> bool:
        """Give the connection back to its pool, if that needs no waiting; return whether it did."""
        ...

    async def release(self) -> None:
        """Give the connection back to its pool."""

    def abandon(self) -> None:
        """Close the connection without awaiting."""


class Runs(Protocol):
    """What runs the sync code of a scope where the bridge does not.

    It runs one function after another. A cancellation does not stop the one it is at.
    """

    async def run(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run ``fn(*args, **kwargs)``, and return its result."""

    def queue(self, fn: Callable[..., object], /, *args: Any) -> None:
        """Run ``fn(*args)`` after what was asked for before. Nothing is awaited."""


class Scope:
    """One operation, or one block: the database wrappers its code sees.

    A root scope owns its wrappers and what they leased. A child shares those of its root, and
    has its parent's turn while it is active: children of one block run one after another,
    whatever tasks they are in, and nest strictly.
    """

    __slots__ = (
        "__weakref__",
        "_has_turn",
        "_root",
        "active_child",
        "apart",
        "closed",
        "context",
        "in_user_code",
        "leases",
        "loop",
        "parent",
        "runs",
        "task",
        "turns",
        "wire_block",
        "wrappers",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        parent: Scope | None = None,
        *,
        apart: bool = False,
        runs: Runs | None = None,
    ) -> None:
        self.loop = loop
        #: Has connections of its own, also inside a block of django-async-backend.
        self.apart = apart
        self.parent = parent
        #: What runs the sync code, where it is not for the bridge.
        self.runs: Runs | None = runs if parent is None else parent.runs
        self.closed = False
        #: Sync code of this scope waits for async user code: a receiver, a hook.
        self.in_user_code = False
        self.turns: Turns | None = None
        #: The sync code of this scope has the turn; see `take_turn_back()`.
        self._has_turn = False
        #: The child whose turn it is, if it has a scope.
        self.active_child: Scope | None = None
        #: The task and context that entered this scope, once something has (see `Entered`).
        self.task: asyncio.Task[Any] | None = None
        self.context: Context | None = None
        # Not of a root: nothing in a scope may lead to itself, or only the garbage collector ends it.
        self._root: Scope | None = None if parent is None else parent.root
        self.wrappers: dict[str, BaseDatabaseWrapper] = {} if parent is None else parent.wrappers
        self.leases: list[Lease] = [] if parent is None else parent.leases
        #: Of a root scope: its block, as long as Django has no wrapper for it.
        self.wire_block: WireBlock | None = None

    def __repr__(self) -> str:
        depth, scope = 0, self.parent
        while scope is not None:
            depth, scope = depth + 1, scope.parent
        state = "closed" if self.closed else "open"
        return f"<Scope {state} depth={depth} leases={len(self.leases)}>"

    @property
    def root(self) -> Scope:
        """The outermost scope around this one, which may be itself."""
        return self._root or self

    def make_turns(self) -> Turns:
        """Make *turns*, at the first need."""
        self.turns = Turns(self.loop)
        return self.turns

    async def open(
        self,
        task: asyncio.Task[Any] | None = None,
        queued: Callable[[], Iterable[asyncio.Task[Any]]] | None = None,
    ) -> None:
        """Wait for this scope's turn in its parent.

        It is needed by *task*, the current one by default. *queued* tells which tasks can't go on meanwhile.

        Raises `BlockDeadlockError` when the turn could never come, `NoMoreTurns` when the parent ends
        first, and Django's `TransactionManagementError` when it is a block which is destroyed.
        """
        parent = self.parent
        if parent is None:
            return
        if parent.closed:
            raise NoMoreTurns
        turns = parent.turns or parent.make_turns()
        await turns.acquire(partial(find_deadlock, parent, task or asyncio.current_task(), queued))
        parent.active_child = self

    async def open_last(self) -> tuple[Scope, BaseException | None]:
        """Open the child in which this scope's own work ends: after all others, and none follows.

        It is ended with this scope. Also returns the cancellation that arrived meanwhile, if one
        did: a block must end its transaction before it may be interrupted.
        """
        cancelled = await self._acquire()
        self.active_child = last = Scope(self.loop, self)
        last.task = asyncio.current_task()
        return last, cancelled

    async def _acquire(self) -> BaseException | None:
        """Wait for the turn of this scope's own work; return the cancellation that arrived meanwhile."""
        cancelled: BaseException | None = None
        turns = self.turns or self.make_turns()
        while True:
            try:
                await turns.acquire()
            except asyncio.CancelledError as exc:
                cancelled = exc
            else:
                return cancelled

    def has_block(self, alias: str) -> bool:
        """Whether a block on *alias* is under way in here."""
        block = self.root.wire_block
        if block is not None and block.alias == alias:
            return True
        wrapper = self.wrappers.get(alias)
        return wrapper is not None and bool(wrapper.in_atomic_block)

    def wrapper_of(self, alias: str) -> BaseDatabaseWrapper | None:
        """Return Django's wrapper of *alias* in here; a block on the wire has it made."""
        block = self.root.wire_block
        return block.declare() if block is not None and block.alias == alias else self.wrappers.get(alias)

    def blocks(self) -> frozenset[str]:
        """Return the aliases on which a block is under way in here."""
        block = self.root.wire_block
        known = self.wrappers if block is None else {*self.wrappers, block.alias}
        return frozenset(alias for alias in known if self.has_block(alias))

    def give_turn(self) -> None:
        """Let children have their turns: the sync code of this scope waits for async user code."""
        if self._has_turn:
            assert self.turns is not None
            self._has_turn = False
            self.turns.release()

    async def take_turn_back(self) -> None:
        """Wait until no child is active, and let none be: the sync code of this scope goes on.

        Tasks which the user code has started may live on. They come again in other user code, or
        find another scope when this one has ended. A cancellation is raised when the turn is here.
        """
        cancelled = await self._acquire()
        self._has_turn = True
        if cancelled is not None:
            raise cancelled

    def take_last(self) -> bool:
        """Do what `open_last()` does, without a scope: for work in which no sync code takes part.

        False, and nothing is done, if a child has its turn.
        """
        return (self.turns or self.make_turns()).take()

    async def wait_for_children(self) -> BaseException | None:
        """Wait until no child is active or waiting for its turn.

        Returns the cancellation that arrived meanwhile, if one did.
        """
        cancelled: BaseException | None = None
        while self.turns is not None and self.turns.taken:
            cancelled = await self._acquire() or cancelled
            self.turns.release()
        return cancelled

    def end(self) -> None:
        """Let no child begin any more; those which wait look for another scope."""
        self.closed = True
        if self.turns is not None:
            self.turns.end()

    async def close(self) -> None:
        """End the scope: pass the turn on, or give every connection back if this is a root."""
        self.end()
        self.active_child = None
        parent = self.parent
        if parent is not None:
            assert parent.turns is not None
            if parent.active_child is self:
                parent.active_child = None
            parent.turns.release()
            return
        self.wire_block = None
        if self.wrappers:
            self._detach()
        leases = self.leases
        while leases:
            if not leases[-1].release_now():
                await uncancellable(self._release())
                return
            leases.pop()

    def destroy(self) -> None:
        """Give everything up without awaiting: the coroutine in charge is destroyed, and will close this.

        What waits for its turn in a block was to be part of that: elsewhere it would be committed alone.
        """
        if self.turns is not None and (self.runs is not None or self.blocks()):
            self.turns.end(block_destroyed)
        self.abort()

    def abort(self) -> None:
        """Give everything up without awaiting."""
        self._detach()
        while self.leases:
            self.leases.pop().abandon()

    def _detach(self) -> None:
        for wrapper in self.wrappers.values():
            # Django's tests, for one, put wrappers of their own here.
            if (detach := getattr(wrapper, "detach", None)) is not None:
                detach()

    async def _release(self) -> None:
        while self.leases:
            await self.leases.pop().release()


_current: ContextVar[Scope | None] = ContextVar("turbo_orm_scope", default=None)

#: Returns None where `active_scope()` does in any case, and at no cost.
inherited_scope: Callable[[], Scope | None] = _current.get

#: The attribute of a task that is the innermost scope it has entered. The context variable alone is
#: not enough: Django 6.1 runs async signal receivers in tasks that share one `Context` object.
_ENTERED = "_turbo_scope"


def active_scope(loop: asyncio.AbstractEventLoop) -> Scope | None:
    """Return the scope the current task is in: entered by itself, or inherited."""
    scope = _current.get()
    if scope is None:
        return None
    task = asyncio.current_task(loop)
    if scope.task is not task or task is None:
        own = getattr(task, _ENTERED, None)
        if own is not None:
            scope = own
    elif not scope.closed and scope.loop is loop:
        return scope  # by far the most frequent case
    context = getcurrent().gr_context
    while scope is not None and (
        scope.closed
        or scope.loop is not loop
        # Entered by another task which happens to share this task's Context.
        or (scope.context is context and scope.task is not task)
    ):
        scope = scope.parent
    return scope


def is_in_scope() -> bool:
    """Whether the running task is in an operation or a block of ours."""
    return _current.get() is not None and active_scope(asyncio.get_running_loop()) is not None


async def open_scope(loop: asyncio.AbstractEventLoop) -> Scope:
    """Open a scope inside the active one, or a root scope where there is none."""
    while True:
        scope = Scope(loop, active_scope(loop))
        try:
            await scope.open()
        except NoMoreTurns:
            continue
        return scope


@contextmanager
def inheriting(scope: Scope) -> Iterator[None]:
    """Have coroutines that are started from here, in a thread without an event loop, inherit *scope*."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


class Entered:
    """Make *scope* the active one for coroutines running in this context."""

    __slots__ = ("_previous", "_previous_of_task", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> Scope:
        scope = self._scope
        scope.task = asyncio.current_task(scope.loop)
        scope.context = getcurrent().gr_context
        self._previous = _current.get()
        _current.set(scope)
        if scope.task is not None:
            self._previous_of_task: Scope | None = getattr(scope.task, _ENTERED, None)
            setattr(scope.task, _ENTERED, scope)
        return scope

    def __exit__(self, *exc_info: object) -> None:
        scope = self._scope
        if _current.get() is scope:
            _current.set(self._previous)
        if scope.task is not None:
            setattr(scope.task, _ENTERED, self._previous_of_task)
