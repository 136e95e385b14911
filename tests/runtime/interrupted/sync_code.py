"""What a program does in sync code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection, transaction

from tests.project.library.models import Author, Tag
from tests.runtime.interrupted.model import UndoneError
from tests.runtime.interrupted.programs import (
    Below,
    Block,
    Caught,
    Fail,
    Hook,
    Read,
    Sleep,
    Step,
    Stream,
    Terminate,
    Write,
)
from tests.runtime.interrupted.seen import Seen, without_frames
from tests.runtime.support import sleep

__all__ = ["SECONDS_ASLEEP", "TAKEN", "SyncCode", "insert"]

#: The label of a tag that is there.
TAKEN = "taken"

SECONDS_ASLEEP = 60.0


def insert(tag: str) -> None:
    """Write a tag without a model."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO library_tag (label) VALUES (%s)", [tag])


class SyncCode:
    """Takes steps in sync code.

    *go_async* takes those of async code below it, *ran* is what hooks note that they were called in, and
    *terminate* ends sessions.
    """

    def __init__(
        self,
        go_async: Callable[[Sequence[Step], Seen], Any],
        ran: list[str],
        terminate: Callable[[Terminate, Seen], None],
    ) -> None:
        self._go_async = go_async
        self._ran = ran
        self._terminate = terminate

    def take(self, steps: Sequence[Step], seen: Seen) -> None:
        for step in steps:
            self._take(step, seen)

    def _take(self, step: Step, seen: Seen) -> None:
        if isinstance(step, Caught):
            try:
                self._take(step.step, seen)
            except Exception as error:
                without_frames(error)
        elif isinstance(step, Block):
            self._block(step, seen)
        elif isinstance(step, Below):
            with seen.passing("Below"):
                async_to_sync(self._go_async)(step.steps, seen)
        elif isinstance(step, Terminate):
            self._terminate(step, seen)
        elif isinstance(step, Hook):
            with seen.giving(step.name):
                transaction.on_commit(lambda: self._ran.append(step.name))
        else:
            self._ask(step, seen)

    def _block(self, step: Block, seen: Seen) -> None:
        with (
            seen.running(step) as ran,
            transaction.atomic(savepoint=step.savepoint, durable=step.durable),
            ran.body(),
        ):
            self.take(step.steps, ran)
            if step.undone:
                raise UndoneError

    def _ask(self, step: Step, seen: Seen) -> None:
        tags = [step.tag] if isinstance(step, Write) else []
        with seen.asking(step, *tags, fails=isinstance(step, Fail)) as asked:
            if isinstance(step, Write):
                _WRITES[step.by](step.tag)
            elif isinstance(step, Fail):
                Tag.objects.create(label=TAKEN)
            elif isinstance(step, Stream):
                assert len([*islice(Author.objects.iterator(chunk_size=2), step.taken)]) == step.taken
            elif isinstance(step, Sleep):
                sleep(SECONDS_ASLEEP)
            elif isinstance(step, Read) and step.by == "tags":
                asked.found = frozenset(Tag.objects.values_list("label", flat=True))
            else:
                assert Author.objects.count() > 0


_WRITES: dict[str, Callable[[str], object]] = {
    "create": lambda tag: Tag.objects.create(label=tag),
    "bulk_create": lambda tag: Tag.objects.bulk_create([Tag(label=tag)]),
    "cursor": insert,
}
