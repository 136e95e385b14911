"""Connections to a server that takes writes no more, as after a failover which did not end them.

Managed databases and proxies keep sessions open where a server becomes a replica: their connections
would fail with each write for as long as the pool keeps them.
"""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import ReadOnlySqlTransaction

__all__ = ["note_error"]


def note_error(conn: AsyncConnection[Any], error: BaseException) -> None:
    """Have the pool of *conn* connect anew if *error* is that of a write which nobody made read only.

    https://www.postgresql.org/docs/current/errcodes-appendix.html (25006)
    """
    if isinstance(error, ReadOnlySqlTransaction) and not conn._read_only:
        pool: Any = getattr(conn, "_pool", None)
        if pool is not None:
            pool.evict()
