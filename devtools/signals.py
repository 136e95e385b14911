"""SIGTERM and SIGHUP end a tool the way Ctrl-C does, so that clean-up code runs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Terminated", "end_cleanly_on_signals", "exit_code", "uninterrupted"]

_INTERRUPTED = 128 + signal.SIGINT


class Terminated(KeyboardInterrupt):
    """A SIGTERM or SIGHUP, raised where Ctrl-C would be: pytest and asyncio stop in order for it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def _raise_terminated(signum: int, frame: FrameType | None) -> None:
    raise Terminated(signum)


def end_cleanly_on_signals() -> None:
    """Raise `Terminated` for SIGTERM and SIGHUP, unless the program already handles them.

    A shell starts background jobs with SIGINT ignored; our programs are meant to be ended by it there too.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        signum = getattr(signal, name, None)  # Windows has no SIGHUP
        if signum is not None and signal.getsignal(signum) is signal.SIG_DFL:
            signal.signal(signum, _raise_terminated)


def exit_code(stop: KeyboardInterrupt) -> int:
    """The exit code a shell expects of a program ended by this signal."""
    return 128 + stop.signum if isinstance(stop, Terminated) else _INTERRUPTED


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep a second Ctrl-C or SIGTERM from cutting clean-up short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = {
        signum: signal.signal(signum, signal.SIG_IGN)
        for signum in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(signum) is not None
    }
    try:
        yield
    finally:
        for signum, handler in held.items():
            signal.signal(signum, handler)
