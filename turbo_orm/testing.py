"""For tests: the queries async code executes, and test cases whose async code shares their transaction."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar

from django import test
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.connection import ConnectionDoesNotExist

from turbo_orm.bridge.querylog import Recorder, recorders
from turbo_orm.bridge.run import run_sync
from turbo_orm.bridge.session import Session
from turbo_orm.bridge.wrapper import awaiting

__all__ = [
    "TestCase",
    "TransactionTestCase",
    "assert_num_queries",
    "capture_on_commit_callbacks",
    "capture_queries",
]

_logger = logging.getLogger("django.test")


class capture_queries:  # noqa: N801 - used like a function, as contextlib's classes are
    """Collect the statements executed on the database *using* in a ``with`` block.

    ``with capture_queries() as queries:`` gives a list which grows as the block runs, of
    dictionaries with the keys ``sql`` and ``time``, as in ``connection.queries``. It has what
    the a-methods, `run_sync()` and `cursor()` execute in this task and the tasks it starts,
    also inside an `atomic()` block entered before. It does no I/O itself.
    """

    def __init__(self, using: str = DEFAULT_DB_ALIAS) -> None:
        if using not in connections.settings:
            raise ConnectionDoesNotExist(f"The connection {using!r} doesn't exist.")
        self._using = using
        self._recorders: list[Recorder] = []

    def __enter__(self) -> list[dict[str, str]]:
        recorder = Recorder(self._using)
        self._recorders.append(recorder)
        recorders.set((*recorders.get(), recorder))
        return recorder.queries

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorder = self._recorders.pop()
        recorder.active = False  # for tasks that go on after the block
        recorders.set(tuple(each for each in recorders.get() if each is not recorder))


class assert_num_queries(capture_queries):  # noqa: N801  used like a function
    """Expect *num* statements in a ``with`` block: `assertNumQueries()` for async code.

    Raises `AssertionError`, with the statements in its message, when there were more or fewer.
    """

    def __init__(self, num: int, using: str = DEFAULT_DB_ALIAS) -> None:
        super().__init__(using)
        self._num = num

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        queries = self._recorders[-1].queries
        super().__exit__(exc_type, exc, traceback)
        if exc_type is not None or len(queries) == self._num:
            return
        listed = "\n".join(f"{number}. {query['sql']}" for number, query in enumerate(queries, start=1))
        raise AssertionError(
            f"{len(queries)} queries executed, {self._num} expected\nCaptured queries were:\n{listed}"
        )


@asynccontextmanager
async def capture_on_commit_callbacks(
    using: str = DEFAULT_DB_ALIAS, *, execute: bool = False
) -> AsyncIterator[list[Callable[[], object]]]:
    """Collect the functions given to `on_commit()` in an ``async with`` block.

    For async code in a transaction that never commits, a test's. The list is filled when the
    block ends; with *execute* the functions are called then, and async ones awaited. An error in
    a *robust* one is logged, to ``django.test``; any other is raised.
    https://docs.djangoproject.com/en/stable/topics/testing/tools/#django.test.TestCase.captureOnCommitCallbacks
    """

    def registered() -> list[Any]:
        return list(connections[using].run_on_commit)

    callbacks: list[Callable[[], object]] = []
    seen = len(await run_sync(registered))
    try:
        yield callbacks
    finally:
        # Those which run may register more.
        while hooks := (await run_sync(registered))[seen:]:
            seen += len(hooks)
            for _, callback, robust in hooks:
                callbacks.append(callback)
                if execute:
                    await run_sync(_call_hook, callback, robust)


def _call_hook(callback: Callable[[], object], robust: bool) -> None:
    try:
        awaiting(callback)()
    except Exception as exc:
        if not robust:
            raise
        name = getattr(callback, "__qualname__", callback)
        _logger.exception("Error calling %s in on_commit() (%s).", name, exc)


class _InBridge(test.SimpleTestCase):
    """Runs class set-up, each test and class tear-down in the bridge, on the same connections."""

    _session: ClassVar[Session | None] = None

    @classmethod
    def setUpClass(cls) -> None:
        cls._session = Session()
        cls._session.call(super().setUpClass)

    @classmethod
    def tearDownClass(cls) -> None:
        if cls._session is not None:
            cls._session.call(super().tearDownClass)

    @classmethod
    def doClassCleanups(cls) -> None:  # noqa: N802 - unittest's name
        # The last thing unittest calls, also when the set-up failed.
        session, cls._session = cls._session, None
        if session is None:  # what comes before our set-up has failed
            super().doClassCleanups()
            return
        try:
            session.call(super().doClassCleanups)
        finally:
            session.close()

    def __call__(self, result: Any = None) -> None:
        self._in_session(super().__call__, result)

    def run(self, result: Any = None) -> Any:
        # By itself where __call__() is another's, as with hypothesis.extra.django's test cases.
        return self._in_session(super().run, result)

    def debug(self) -> None:
        self._in_session(super().debug)

    def _in_session(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._session is None:  # a class that is skipped as a whole is not set up
            return function(*args)
        return self._session.call(function, *args)


class TestCase(_InBridge, test.TestCase):
    """`django.test.TestCase` for projects with async code.

    Django's own runs on a sync connection, whose open transaction no async connection can see
    into. Here the tests, sync and async ones, `setUpTestData()` and the code under test, sync
    or async, all share one async connection and its transaction, which is rolled back.
    https://docs.djangoproject.com/en/stable/topics/testing/tools/#testcase
    """

    #: `captureOnCommitCallbacks()` for async tests; see `capture_on_commit_callbacks`.
    acaptureOnCommitCallbacks = staticmethod(capture_on_commit_callbacks)  # noqa: N815 - Django's way of naming


class TransactionTestCase(_InBridge, test.TransactionTestCase):
    """`django.test.TransactionTestCase`, its set-up and flushes on the async connection too."""
