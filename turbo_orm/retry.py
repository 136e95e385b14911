"""Which failed transactions to run again, and when.

https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
"""

from __future__ import annotations

import asyncio
import random

import psycopg
from django.db import DatabaseError

__all__ = ["is_worth_retrying", "pause_before"]

#: serialization_failure and deadlock_detected: the same transaction may succeed the next time.
_RETRYABLE = frozenset({"40001", "40P01"})

#: Seconds: the first pause is up to this long, each next one up to twice as long.
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0


def is_worth_retrying(exc: BaseException) -> bool:
    """Whether *exc*, an error of Django's or psycopg's, is a serialization failure or deadlock."""
    cause = exc.__cause__ if isinstance(exc, DatabaseError) else exc
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _RETRYABLE


async def pause_before(retry: int) -> None:
    """Sleep before the *retry*-th repetition: at random, so that rivals do not meet again."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (retry - 1))
    await asyncio.sleep(random.uniform(0, longest))
