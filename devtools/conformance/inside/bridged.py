"""Runs every class set-up, every test and every tear-down as an operation of its own in the bridge."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from devtools.conformance.inside.counting import counted
from devtools.conformance.inside.recording import PlainRunner, write_blocking, write_summary
from turbo_orm.bridge.session import Session

__all__ = ["BridgedRunner"]

_session: Session | None = None


def _call(function: Any, /, *args: Any) -> Any:
    return function(*args) if _session is None else _session.call(function, *args)


class _BridgedSuite(unittest.TestSuite):
    """Fixtures of classes and modules are the suite's to run."""

    def _handleClassSetUp(self, test: Any, result: Any) -> None:
        _call(super()._handleClassSetUp, test, result)  # type: ignore[misc]

    def _tearDownPreviousClass(self, test: Any, result: Any) -> None:
        _call(super()._tearDownPreviousClass, test, result)  # type: ignore[misc]

    def _handleModuleFixture(self, test: Any, result: Any) -> None:
        _call(super()._handleModuleFixture, test, result)  # type: ignore[misc]

    def _handleModuleTearDown(self, result: Any) -> None:
        _call(super()._handleModuleTearDown, result)  # type: ignore[misc]


def _calling(cls: type[unittest.TestCase]) -> Iterator[type[unittest.TestCase]]:
    """Yield the test case classes which say themselves how their tests are called."""
    if "__call__" in vars(cls):
        yield cls
    for subclass in cls.__subclasses__():
        yield from _calling(subclass)


@contextmanager
def _bridged_calls() -> Iterator[None]:
    """Have test cases run in the bridge: Django's `__call__` brackets set-up and tear-down too."""
    originals = {cls: cls.__call__ for cls in _calling(unittest.TestCase)}

    def bridged(original: Any) -> Any:
        def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
            return _call(lambda: original(self, *args, **kwargs))

        return __call__

    for cls, original in originals.items():
        cls.__call__ = bridged(original)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for cls, original in originals.items():
            cls.__call__ = original  # type: ignore[method-assign]


def _hand_over_connections() -> None:
    """Close the connections that created the databases; the bridge's own take over what they remember."""
    attribute = "_test_serialized_contents"
    contents = {
        connection.alias: getattr(connection, attribute)
        for connection in connections.all()
        if hasattr(connection, attribute)
    }
    connections.close_all()

    def remember() -> None:
        for alias, content in contents.items():
            setattr(connections[alias], attribute, content)

    _call(remember)


class BridgedRunner(PlainRunner):
    """`PlainRunner` on async connections."""

    test_suite = _BridgedSuite

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        global _session
        _session = session = Session()
        try:
            _hand_over_connections()
            with counted(write_blocking) as waits, _bridged_calls():
                result = super().run_suite(suite, **kwargs)
                session.close()
        finally:
            _session = None
        write_summary(operations=session.operations, **vars(waits))
        return result
