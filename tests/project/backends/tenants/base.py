from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from django.db.backends.postgresql import base

#: The schema of whom the running code works for.
tenant: ContextVar[str] = ContextVar("tenant", default="public")


class DatabaseWrapper(base.DatabaseWrapper):
    def _cursor(self, name: str | None = None) -> Any:
        with super()._cursor() as cursor:  # type: ignore[misc]
            cursor.execute(f"SET search_path = {tenant.get()}")
        return super()._cursor(name)  # type: ignore[misc]
