"""What Django's own terminals would execute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from turbo_orm.plans.connections import Captured
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["capture"]


def capture(queryset: Any, terminal: str, alias: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Return the compiler of the query that *terminal* of *queryset* would execute on *alias*.

    *arguments* are those of ``update()`` and ``aggregate()``. The connection must be one of
    `compiling_connection()`, whose compilers raise `Captured`. Nothing of Django's terminals is
    repeated here: they run. Raises `Unsupported` if they execute nothing.
    """
    queryset = QuerySet._chain(queryset)  # type: ignore[attr-defined]
    queryset._db = alias
    if terminal == "update":
        queryset._for_write = True
    try:
        if terminal == "list":
            queryset._fetch_all()
        elif terminal == "_raw_delete":
            queryset._raw_delete(using=alias)
        else:
            getattr(QuerySet, terminal)(queryset, **(arguments or {}))
    except Captured as captured:
        return captured.compiler
    raise Unsupported(f"{terminal}() executes no query")
