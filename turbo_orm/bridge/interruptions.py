"""Blocks in which a statement was cut short: nobody knows what became of it, and they must not commit."""

from __future__ import annotations

from asyncio import CancelledError

from django.db.transaction import TransactionManagementError

__all__ = ["block_destroyed", "is_interruption", "writes_lost"]


def is_interruption(exc: BaseException | None) -> bool:
    """Whether *exc* is no error of the statement it went through, but ended the wait for it."""
    return isinstance(exc, CancelledError | GeneratorExit)


def writes_lost() -> TransactionManagementError:
    """Return the error of a block that came to its end, and was rolled back because of an interruption.

    Django is silent where an error of a statement was caught inside of a block. Who catches a
    timeout has no reason to think of the block.
    """
    return TransactionManagementError(
        "The atomic() block was rolled back: a statement in it was cancelled, by a timeout for instance, and "
        "the block went on. Let the cancellation leave the block, or put what may be cancelled into an "
        "atomic() block of its own inside of this one."
    )


def block_destroyed() -> TransactionManagementError:
    """Return the error of what waits in a block that does not come to its end."""
    return TransactionManagementError(
        "The atomic() block this was to be executed in was rolled back: its coroutine was closed, or found "
        "by the garbage collector, before its end. Await what runs in a block before the block is left."
    )
