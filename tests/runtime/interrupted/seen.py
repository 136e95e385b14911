"""What is seen of a program as it runs: what each step ended with, in the order in which they ended."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.runtime.interrupted.programs import Block

__all__ = ["Asked", "Event", "Given", "Passed", "Ran", "Seen", "Terminated", "is_cut", "without_frames"]


def is_cut(error: BaseException | None) -> bool:
    """Whether *error* says that somebody cancelled what was going on."""
    return isinstance(error, CancelledError)


def without_frames(error: BaseException) -> BaseException:
    """Return *error*, which is kept, without the frames it was raised in: nothing else would keep them."""
    known, left = set[int](), [error]
    while left:  # it may lead back to itself
        each = left.pop()
        if id(each) not in known:
            known.add(id(each))
            each.__traceback__ = None
            left += [other for other in (each.__cause__, each.__context__) if other is not None]
    return error


@dataclass
class Asked:
    """Something was asked of the database."""

    step: Any
    #: The rows it was to write.
    tags: tuple[str, ...] = ()
    #: An error is no surprise.
    fails: bool = False
    #: By a task that is in no block.
    outside: bool = False
    error: BaseException | None = None
    #: Somebody had begun to cancel it.
    late: bool = False
    #: The rows there were.
    found: frozenset[str] | None = None


@dataclass
class Given:
    """A function was given to `on_commit()`."""

    name: str
    error: BaseException | None = None
    late: bool = False


@dataclass
class Passed:
    """Something ended that errors of other steps pass through."""

    what: str
    error: BaseException | None = None
    late: bool = False


@dataclass
class Terminated:
    """So many sessions were ended."""

    in_transaction: int
    idle: int = 0


@dataclass
class Seen:
    """What is seen outside of blocks, or in one."""

    #: Whether somebody has cancelled something by now.
    is_late: Callable[[], bool]
    events: list[Event] = field(default_factory=list)

    @contextmanager
    def asking(self, step: Any, *tags: str, fails: bool = False, outside: bool = False) -> Iterator[Asked]:
        with self._noting(Asked(step, tags, fails, outside)) as asked:
            yield asked

    @contextmanager
    def giving(self, name: str) -> Iterator[None]:
        with self._noting(Given(name)):
            yield

    @contextmanager
    def passing(self, what: str) -> Iterator[None]:
        with self._noting(Passed(what)):
            yield

    @contextmanager
    def running(self, step: Block) -> Iterator[Ran]:
        with self._noting(Ran(self.is_late, step=step)) as ran:
            yield ran

    def terminated(self, in_transaction: int, idle: int) -> None:
        self.events.append(Terminated(in_transaction, idle))

    @contextmanager
    def _noting(self, event: Any) -> Iterator[Any]:
        try:
            yield event
        except BaseException as error:
            event.error = error
            raise
        finally:
            event.late = self.is_late()
            self.events.append(event)

    def lines(self, indent: str) -> Iterator[str]:
        for event in self.events:
            if isinstance(event, Ran):
                yield f"{indent}{event}"
                yield from event.lines(indent + "    ")
            else:
                yield f"{indent}{event}"

    def __str__(self) -> str:
        return "\n".join(self.lines("    "))


@dataclass
class Ran(Seen):
    """A block."""

    step: Block = field(default_factory=lambda: Block(()))
    entered: bool = False
    #: What its body was left with.
    body_error: BaseException | None = None
    #: What it was left with.
    error: BaseException | None = None
    late: bool = False

    @contextmanager
    def body(self) -> Iterator[None]:
        self.entered = True
        try:
            yield
        except BaseException as error:
            self.body_error = error
            raise

    def __str__(self) -> str:
        kinds = [name for name in ("savepoint", "durable", "undone") if getattr(self.step, name)]
        state = "" if self.entered else " not entered,"
        return f"Block({', '.join(kinds)}):{state} body: {self.body_error!r}, left by: {self.error!r}"


Event: TypeAlias = "Asked | Given | Passed | Terminated | Ran"
