"""The server as programs meet it: what another connection does to it, and sees there."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import connections

from tests.runtime.conftest import JANITOR, terminate
from tests.runtime.interrupted.refusing import Refusing
from tests.runtime.interrupted.sync_code import TAKEN

__all__ = ["Server"]


class Server:
    """The sessions and rows of the default database.

    *observer* is connected to another database of it, *janitor* to this one. Behind a *pooler* idle
    sessions are nobody's in particular, and are left alone. *refusing* is between it and the programs.
    """

    def __init__(
        self,
        observer: psycopg.Connection[Any],
        janitor: psycopg.Connection[Any],
        *,
        pooler: bool = False,
        refusing: Refusing | None = None,
    ) -> None:
        self._observer = observer
        self._janitor = janitor
        self._pooler = pooler
        self._refusing = refusing

    @property
    def refuses(self) -> bool:
        """Whether it refuses transactions when it is asked to."""
        return self._refusing is not None

    def refuse(self, which: int | None) -> None:
        """Refuse the transaction that is the *which*-th from now on; or none."""
        if self._refusing is not None:
            self._refusing.refuse(which)

    def begin(self) -> None:
        """Have the rows there that all programs begin with."""
        self._janitor.execute("INSERT INTO library_tag (label) VALUES (%s)", [TAKEN])
        self._janitor.execute(
            "INSERT INTO library_author (name, created)"
            " SELECT 'author ' || n, now() FROM generate_series(1, 7) AS n"
        )

    def take_tags(self) -> set[str]:
        """Remove what a program has written, and return it."""
        sql = "DELETE FROM library_tag WHERE label <> %s RETURNING label"
        return {label for (label,) in self._janitor.execute(sql, [TAKEN]).fetchall()}

    def busy(self) -> list[Any]:
        """Return the sessions that are in a transaction, or at a statement."""
        return self._sessions("state <> 'idle'")

    def all_is_told(self) -> bool:
        """Whether programs may know by now which sessions are left."""
        return self._refusing is None or self._refusing.count() == len(self._sessions("true"))

    def terminate_in_transaction(self) -> int:
        return self._terminate("state LIKE 'idle in transaction%%'")

    def terminate_idle(self) -> int:
        return 0 if self._pooler else self._terminate("state = 'idle'")

    def terminate_asleep(self) -> int:
        return self._terminate("wait_event = 'PgSleep'")

    def _terminate(self, which: str) -> int:
        pids = [pid for pid, *_ in self._sessions(which)]
        if pids:
            terminate(self._observer, *pids)
        return len(pids)

    def _sessions(self, which: str) -> list[Any]:
        return self._observer.execute(
            "SELECT pid, state, query FROM pg_stat_activity"
            f" WHERE datname = %s AND application_name <> %s AND {which}",
            [connections["default"].settings_dict["NAME"], JANITOR],
        ).fetchall()
