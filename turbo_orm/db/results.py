"""The kinds of results libpq hands out, as plain integers: they are looked at for each statement."""

from __future__ import annotations

import psycopg
from psycopg.pq import ConnStatus, ExecStatus

__all__ = [
    "COMMAND_OK",
    "CONNECTION_OK",
    "COPYING",
    "EMPTY_QUERY",
    "FAILED",
    "FATAL_ERROR",
    "PIPELINE_ABORTED",
    "PIPELINE_SYNC",
    "TUPLES_OK",
    "connection_lost",
    "copy_refused",
]

TUPLES_OK = int(ExecStatus.TUPLES_OK)
COMMAND_OK = int(ExecStatus.COMMAND_OK)
EMPTY_QUERY = int(ExecStatus.EMPTY_QUERY)
FATAL_ERROR = int(ExecStatus.FATAL_ERROR)
PIPELINE_ABORTED = int(ExecStatus.PIPELINE_ABORTED)
PIPELINE_SYNC = int(ExecStatus.PIPELINE_SYNC)

#: What says that a command was not executed.
FAILED = frozenset({FATAL_ERROR, PIPELINE_ABORTED})
#: What has no end of its own.
COPYING = frozenset(map(int, (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)))

#: The status of a connection that is not lost.
CONNECTION_OK = int(ConnStatus.OK)


def connection_lost() -> psycopg.OperationalError:
    """Return the error where results are missing and the server has not said why."""
    return psycopg.OperationalError("the connection is lost")


def copy_refused() -> psycopg.Error:
    """Return the error for a COPY among statements."""
    return psycopg.ProgrammingError("COPY can't be executed here: use copy() of a cursor.")
