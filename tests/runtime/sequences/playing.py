"""Plays a script, and notes what is to be seen after each step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.db import connection
from django.db.models import Model, signals

from tests.runtime.parity.outcome import without_names
from tests.runtime.sequences.operations import OPERATIONS, Session
from tests.runtime.sequences.seen import error_seen, looked_at, seen
from tests.runtime.sequences.steps import Block, Script, Step
from tests.runtime.sequences.twins import in_registry
from tests.runtime.sequences.worlds import World

__all__ = ["SIGNALS", "Scene", "play"]

#: Which signals are listened to, by a name for them.
SIGNALS: dict[str, tuple[str, ...]] = {
    "none": (),
    "of saves": ("pre_save", "post_save"),
    "of deletions": ("pre_delete", "post_delete"),
    "of relations": ("m2m_changed",),
    "all": ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed"),
}


@dataclass
class Scene:
    """What is to be seen after a step."""

    step: Any
    outcome: Any
    variables: Any = None
    signals: Any = None
    #: Whether reading took a query.
    asked: bool = False
    #: In no order, for independent prefetches run at the same time.
    statements: Any = ()


class _UndoneError(Exception):
    """Ends a block."""


async def play(script: Script, world: World, *, watched: bool = False) -> list[Scene]:
    """Take the steps; return what was to be seen after each, and of the variables at the end.

    If *watched*, statements are logged: the fastest ways are not taken then.
    """
    scenes: list[Scene] = []
    session = Session(world)
    world.models.keys = count(100)
    heard: list[Any] = []
    with in_registry(world.models), _hearing(SIGNALS[script.heard], heard), _logging(watched):
        try:
            async with world.block() if script.in_block else nullcontext():
                await _take(session, script.steps, scenes, heard)
        except Exception as error:
            scenes.append(Scene("end", error_seen(error)))
        variables = sorted(session.variables.items(), key=lambda item: repr(item[0]))
        scenes.append(Scene("looking", [(repr(slot), looked_at(value)) for slot, value in variables]))
    return scenes


async def _take(
    session: Session, steps: Sequence[Step | Block], scenes: list[Scene], heard: list[Any]
) -> None:
    for step in steps:
        met: dict[int, int] = {}
        session.world.asked = False
        try:
            if isinstance(step, Block):
                outcome: Any = await _take_in_block(session, step, scenes, heard)
            else:
                outcome = seen(await OPERATIONS[step.name](session, *step.args, **step.kwargs), met)
        except Exception as error:
            outcome = error_seen(error)
        variables = sorted(session.variables.items(), key=lambda item: repr(item[0]))
        scene = Scene(step, outcome, [(repr(slot), seen(value, met)) for slot, value in variables])
        scene.signals, scene.asked = [*heard], session.world.asked
        logged = [entry["sql"] for entry in connection.queries_log]
        # Around a single statement there may be none of ours.
        statements = without_names(each for each in logged if each not in ("BEGIN", "COMMIT"))
        scene.statements = sorted(_LISTS.sub(_in_order, statement) for statement in statements)
        scenes.append(scene)
        heard.clear()
        connection.queries_log.clear()


async def _take_in_block(session: Session, block: Block, scenes: list[Scene], heard: list[Any]) -> Any:
    try:
        async with session.world.block():
            await _take(session, block.steps, scenes, heard)
            if block.undone:
                raise _UndoneError
    except _UndoneError:
        return "undone"
    return "done"


#: Of keys, in which order they come is up to sets.
_LISTS = re.compile(r" IN \(([^()]*)\)")


def _in_order(found: re.Match[str]) -> str:
    return f" IN ({', '.join(sorted(found[1].split(', ')))})"


@contextmanager
def _logging(watched: bool) -> Iterator[None]:
    # Bridged connections share the log of the one this thread's code sees.
    connection.force_debug_cursor = watched
    connection.queries_log.clear()
    try:
        yield
    finally:
        connection.force_debug_cursor = False


@contextmanager
def _hearing(names: Sequence[str], heard: list[Any]) -> Iterator[None]:
    receivers = {name: _receiver(name, heard) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    try:
        yield
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)


def _receiver(name: str, heard: list[Any]) -> Callable[..., None]:
    def receive(sender: type[Model], **kwargs: Any) -> None:
        del kwargs["signal"]
        about = {key: _label(value) for key, value in kwargs.items()}
        heard.append((name, sender.__name__, about))

    return receive


def _label(value: Any) -> Any:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Model):
        return type(value).__name__, value.pk, value._state.adding
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, bool | int | str | None):
        return value
    return type(value).__name__.removeprefix("Async")
