"""What must have become of a program's rows and hooks, by what was seen of it; and which errors there may be.

Where the end of a block was interrupted nobody knows what the server made of it: all or nothing then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psycopg
from django.db import Error, IntegrityError
from django.db.models import QuerySet
from django.db.transaction import TransactionManagementError

from tests.runtime.interrupted.programs import Fail, Stream
from tests.runtime.interrupted.seen import Asked, Event, Given, Passed, Ran, Seen, Terminated, is_cut

__all__ = ["UndoneError", "faults"]

#: Since Django 6.0, an INSERT of `bulk_create()` that is the only one is in no block.
_BULK_IS_BARE = "nullcontext" in QuerySet.bulk_create.__code__.co_names


class UndoneError(Exception):
    """Ends a block that is to be undone."""


@dataclass
class Kept:
    """What is there together, once what is around it is: rows, and hooks that were called."""

    rows: set[str] = field(default_factory=set)
    hooks: set[str] = field(default_factory=set)
    #: Hooks that may have been given or not.
    doubtful_hooks: set[str] = field(default_factory=set)
    #: Each of these is there, or not.
    doubtful: list[Kept] = field(default_factory=list)

    def add(self, other: Kept) -> None:
        self.rows |= other.rows
        self.hooks |= other.hooks
        self.doubtful_hooks |= other.doubtful_hooks
        self.doubtful += other.doubtful

    def all_rows(self) -> set[str]:
        return self.rows.union(*(each.all_rows() for each in self.doubtful))

    def all_hooks(self) -> set[str]:
        hooks = self.hooks | self.doubtful_hooks
        return hooks.union(*(each.all_hooks() for each in self.doubtful))


@dataclass
class Session:
    """What the blocks of one transaction have in common."""

    lost: bool = False
    #: Its connection was closed before it began.
    unsure: bool = False
    #: There was an error that is none of a cancellation: of what is lost with it Django says nothing more.
    failed: bool = False
    #: Or it was one that Django does not note: it commits, and the server rolls back.
    unnoted: bool = False
    written: set[str] = field(default_factory=set)


@dataclass
class Level:
    """A block, or what is outside of all."""

    kept: Kept = field(default_factory=Kept)
    #: None outside of blocks.
    session: Session | None = None
    #: Statements may be refused.
    troubled: bool = False
    #: What is kept so far will be rolled back.
    spoiled: bool = False
    #: It may be.
    shaky: bool = False

    @property
    def may_refuse(self) -> bool:
        session = self.session
        return session is not None and (self.troubled or session.lost or session.unsure)


def faults(seen: Seen, rows: set[str], hooks: Sequence[str], *, cancelled: bool, refused: bool) -> list[str]:
    """Return what can't be, in words: of what was *seen*, the *rows* that are there and the *hooks* called.

    Something may have been *cancelled*, by the clock too; the server may have *refused* a transaction.
    """
    judge = _Judge(cancelled, refused)
    outside = Level()
    judge.events(seen, outside)
    found = [*judge.found, *_differences(outside.kept, rows, hooks)]
    given = judge.given
    if [*hooks] != [name for name in given if name in hooks]:
        found.append(f"the hooks {[*hooks]} were not called once each and in the order of {given}")
    return found


def _differences(kept: Kept, rows: set[str], hooks: Sequence[str]) -> Iterator[str]:
    if missing := kept.rows - rows:
        yield f"rows are lost: {sorted(missing)}"
    if extra := rows - kept.all_rows():
        yield f"there are rows of what was rolled back: {sorted(extra)}"
    if missing := kept.hooks.difference(hooks):
        yield f"hooks were not called: {sorted(missing)}"
    if extra := {*hooks} - kept.all_hooks():
        yield f"hooks of what was rolled back were called: {sorted(extra)}"
    for each in kept.doubtful:
        yield from _doubts(each, rows, hooks)


def _doubts(kept: Kept, rows: set[str], hooks: Sequence[str]) -> Iterator[str]:
    """Yield what is there by half, of what is there as a whole or not at all."""
    there = bool(kept.all_rows() & rows)
    if there and (missing := kept.rows - rows):
        yield f"rows are there without those written with them: {sorted(missing)}"
    called = kept.all_hooks().intersection(hooks)
    if called and kept.rows and not there:
        yield f"hooks were called, but the rows are not there: {sorted(called)}"
    if there:
        for each in kept.doubtful:
            yield from _doubts(each, rows, hooks)


class _Judge:
    """Follows the events, and notes what may not be."""

    def __init__(self, cancelled: bool, refused: bool) -> None:
        self.found: list[str] = []
        #: The hooks in the order in which they were given.
        self.given: list[str] = []
        self._cancelled = cancelled
        self._refused = refused
        self._known: list[BaseException] = []

    def events(self, seen: Seen, level: Level) -> None:
        for event in seen.events:
            self._event(event, level)

    def _event(self, event: Event, level: Level) -> None:
        if isinstance(event, Asked):
            self._asked(event, level)
        elif isinstance(event, Given):
            self._given(event, level)
        elif isinstance(event, Passed):
            self._passed(event)
        elif isinstance(event, Terminated):
            if level.session is not None:
                level.session.lost |= event.in_transaction > 0
                level.session.unsure |= event.idle > 0
        else:
            self._ran(event, level)

    def _asked(self, asked: Asked, level: Level) -> None:
        session = level.session
        begins = session is not None or (
            not _BULK_IS_BARE and getattr(asked.step, "by", "").endswith("bulk_create")
        )
        refused = not asked.outside and (level.may_refuse or (self._refused and begins))
        violated = asked.fails and isinstance(asked.error, IntegrityError)
        # The error of a cursor that can't be closed either is psycopg's in Django too.
        errors = (Error, psycopg.Error) if isinstance(asked.step, Stream) else Error
        self._expect(asked, asked.error, violated or (refused and isinstance(asked.error, errors)))
        if asked.outside:
            if session is not None and asked.found and (seen := asked.found & session.written):
                self._fault(asked, f"sees what is not committed: {sorted(seen)}")
            return
        if asked.error is None:
            level.kept.rows.update(asked.tags)
        elif is_cut(asked.error) or session is None:
            level.kept.doubtful += [Kept({tag}) for tag in asked.tags]
        if session is None:
            return
        session.written.update(asked.tags)
        session.unnoted |= violated and asked.step == Fail("abulk_create") and _BULK_IS_BARE
        if asked.found is not None and (unseen := level.kept.rows - asked.found):
            self._fault(asked, f"does not see what was written before: {sorted(unseen)}")
        self._trouble(level, asked.error)

    def _given(self, given: Given, level: Level) -> None:
        self.given.append(given.name)
        self._expect(given, given.error, level.may_refuse and isinstance(given.error, Error))
        if given.error is None:
            level.kept.hooks.add(given.name)
        else:
            level.kept.doubtful_hooks.add(given.name)
        if level.session is not None:
            self._trouble(level, given.error)

    def _passed(self, passed: Passed) -> None:
        timed_out = passed.what == "Timeout" and isinstance(passed.error, asyncio.TimeoutError)
        self._expect(passed, passed.error, timed_out or self._is_known(passed.error))

    def _is_known(self, error: BaseException | None) -> bool:
        """Whether *error* is one that has been seen before."""
        return any(error is each for each in self._known)

    def _ran(self, ran: Ran, around: Level) -> None:
        session = Session() if around.session is None else around.session
        level = Level(session=session, troubled=around.troubled)
        refuses_begin = around.may_refuse or self._refused
        self.events(ran, level)
        self._expect_end(ran, level, refuses_begin)
        session.failed |= ran.error is not None and not is_cut(ran.error)
        if around.session is None:
            self._outermost(ran, level, around)
        elif ran.step.savepoint:
            self._savepoint(ran, level, around)
        else:
            self._part(ran, level, around)

    def _expect_end(self, ran: Ran, level: Level, refuses_begin: bool) -> None:
        if ran.body_error is None:
            refused = level.may_refuse if ran.entered else refuses_begin
            self._expect(ran, ran.error, refused and isinstance(ran.error, Error))
            return
        self._expect(
            ran, ran.body_error, isinstance(ran.body_error, UndoneError) or self._is_known(ran.body_error)
        )
        self._expect(ran, ran.error, ran.error is ran.body_error)
        if ran.error is None:
            self._fault(ran, "swallows the error of its body")

    def _outermost(self, ran: Ran, level: Level, around: Level) -> None:
        session = level.session
        assert session is not None
        committed = ran.entered and ran.body_error is None and not level.spoiled and not session.lost
        # On a connection that was closed before, nothing may have been asked but by a hook.
        if committed and (ran.error is None or is_cut(ran.error) or session.unsure):
            if ran.error is None and not level.shaky:
                around.kept.add(level.kept)
            else:
                around.kept.doubtful.append(_not_all_hooks(level.kept))
        if session.unnoted and ran.error is None:
            around.kept.doubtful_hooks |= level.kept.all_hooks()
        if ran.entered and ran.error is None and session.lost and not session.failed:
            self._fault(ran, "ends without an error, but its session is lost")

    def _savepoint(self, ran: Ran, level: Level, around: Level) -> None:
        cut = is_cut(ran.error) and (ran.body_error is None or ran.error is not ran.body_error)
        around.troubled |= cut
        if ran.body_error is not None or level.spoiled:
            return
        if cut or (level.shaky and ran.error is None):
            around.kept.doubtful.append(_not_all_hooks(level.kept))
        elif ran.error is None:
            around.kept.add(level.kept)

    def _part(self, ran: Ran, level: Level, around: Level) -> None:
        around.kept.add(level.kept)
        lost = ran.error is not None
        around.troubled |= level.troubled or lost
        around.spoiled |= level.spoiled or (ran.entered and lost and not is_cut(ran.error))
        around.spoiled |= ran.body_error is not None
        around.shaky |= level.shaky or lost

    def _trouble(self, level: Level, error: BaseException | None) -> None:
        """Note what an error of a statement means to its block."""
        if error is None:
            return
        level.troubled = True
        if not is_cut(error):
            level.shaky |= self._refused
            level.spoiled |= not self._refused
            assert level.session is not None
            level.session.failed = True

    def _expect(
        self, event: Asked | Given | Passed | Ran, error: BaseException | None, allowed: bool
    ) -> None:
        if error is None:
            return
        self._known.append(error)
        # Sync code whose task is cancelled may go on for a while, on a connection that is closed.
        allowed |= event.late and isinstance(error, Error)
        # A cancellation that comes as a cursor is closed is raised only once that is done.
        allowed |= isinstance(error, TransactionManagementError) and is_cut(error.__cause__)
        if not (allowed or (self._cancelled and is_cut(error))):
            self._fault(event, f"may not end with {type(error).__name__}: {error}")

    def _fault(self, event: Event, text: str) -> None:
        self.found.append(f"{event}: {text}")


def _not_all_hooks(kept: Kept) -> Kept:
    """Return what is in doubt: the task may also have been interrupted before a hook."""
    return Kept(kept.rows, set(), kept.doubtful_hooks | kept.hooks, kept.doubtful)
