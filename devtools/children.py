"""Child processes that can't outlive the one that started them."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

__all__ = ["end_with_parent", "stop"]

_PR_SET_PDEATHSIG = 1


def end_with_parent(signum: signal.Signals) -> Callable[[], object] | None:
    """Return a `preexec_fn` by which Linux sends the child *signum* when we are killed.

    From the main thread only: the kernel sends it when the *thread* which started the child ends.
    subprocess calls it after it changed the user, as it must be: changing the user clears the setting.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signum)


def stop(process: subprocess.Popen[bytes], signum: signal.Signals, seconds: float) -> None:
    """End a child with *signum*, and by force if that takes too long."""
    if process.poll() is not None:
        return
    process.send_signal(signum)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
