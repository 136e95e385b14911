"""What Django's own terminals would execute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from turbo_orm.plans.connections import Captured, connections_capturing
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["capture", "capture_terminal"]


def capture(alias: str, execute: Callable[[], object]) -> Any:
    """Return the compiler of the query that *execute* would execute first on *alias*.

    Raises `Unsupported` if it executes nothing.
    """
    with connections_capturing(alias):
        return _captured(execute)


def _captured(execute: Callable[[], object]) -> Any:
    try:
        execute()
    except Captured as captured:
        return captured.compiler
    raise Unsupported("it executes no query")


def capture_terminal(
    queryset: Any,
    terminal: str,
    alias: str,
    arguments: Mapping[str, Any] | None = None,
    returning: Sequence[str] = (),
) -> Any:
    """Return the compiler of the query that *terminal* of *queryset* would execute on *alias*.

    *arguments* are those of ``update()`` and ``aggregate()``; *returning* names the fields that an
    ``update()``, as `save()` makes it, is to return. The connection must be one of
    `compiling_connection()`, whose compilers raise `Captured`. Nothing of Django's terminals is
    repeated here: they run. Raises `Unsupported` if they execute nothing.
    """
    queryset = QuerySet._chain(queryset)  # type: ignore[attr-defined]
    queryset._db = alias
    if terminal == "update":
        queryset._for_write = True
    if returning:
        field = queryset.model._meta.get_field
        values = [(field(name), None, value) for name, value in (arguments or {}).items()]
        return _captured(lambda: queryset._update(values, [*map(field, returning)]))
    if terminal == "list":
        return _captured(queryset._fetch_all)
    if terminal == "_raw_delete":
        return _captured(lambda: queryset._raw_delete(using=alias))
    return _captured(lambda: getattr(QuerySet, terminal)(queryset, **(arguments or {})))
