from __future__ import annotations

from django.db.backends.postgresql import base

#: What `DatabaseWrapper` has ended.
ended: list[str] = []


class DatabaseWrapper(base.DatabaseWrapper):
    def _commit(self) -> None:
        ended.append("commit")
        super()._commit()  # type: ignore[misc]

    def _rollback(self) -> None:
        ended.append("rollback")
        super()._rollback()  # type: ignore[misc]
