"""Django's `QuerySet` with every a-method on the async connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import wraps
from typing import Any

from django.db.models import QuerySet

from turbo_orm import execution

__all__ = ["AsyncQuerySet", "async_verb"]


def async_verb(name: str, like: Callable[..., Any]) -> Callable[..., Any]:
    """Return an async method that runs the sync method *name* as one operation.

    It looks like *like*, Django's method of that name which runs in a thread: signature,
    docstring, and the marks (``alters_data``, ``queryset_only``) Django reads.
    """

    @wraps(like)
    async def verb(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await execution.call(self, name, *args, **kwargs)

    return verb


class AsyncQuerySet(QuerySet[Any, Any]):
    """A `QuerySet` whose async methods really are: no thread, a pooled async connection.

    Chainable methods, and the sync ones for sync code, are Django's own.
    https://docs.djangoproject.com/en/stable/ref/models/querysets/
    """

    aaggregate = async_verb("aggregate", QuerySet.aaggregate)
    abulk_create = async_verb("bulk_create", QuerySet.abulk_create)
    abulk_update = async_verb("bulk_update", QuerySet.abulk_update)
    acontains = async_verb("contains", QuerySet.acontains)
    acount = async_verb("count", QuerySet.acount)
    acreate = async_verb("create", QuerySet.acreate)
    adelete = async_verb("delete", QuerySet.adelete)
    aearliest = async_verb("earliest", QuerySet.aearliest)
    aexists = async_verb("exists", QuerySet.aexists)
    aexplain = async_verb("explain", QuerySet.aexplain)
    afirst = async_verb("first", QuerySet.afirst)
    aget = async_verb("get", QuerySet.aget)
    aget_or_create = async_verb("get_or_create", QuerySet.aget_or_create)
    ain_bulk = async_verb("in_bulk", QuerySet.ain_bulk)
    alast = async_verb("last", QuerySet.alast)
    alatest = async_verb("latest", QuerySet.alatest)
    aupdate = async_verb("update", QuerySet.aupdate)
    aupdate_or_create = async_verb("update_or_create", QuerySet.aupdate_or_create)

    async def alist(self) -> list[Any]:
        """Return all rows as a list: ``await qs.alist()`` is ``list(qs)``."""
        return list(await execution.fetch(self))

    def __aiter__(self) -> AsyncIterator[Any]:
        async def rows() -> AsyncGenerator[Any, None]:
            for row in await execution.fetch(self):
                yield row

        return rows()

    async def aiterator(self, chunk_size: int = 2000) -> AsyncGenerator[Any, None]:
        """Yield the rows from a server-side cursor, *chunk_size* at a time, caching none.

        Holds a connection until it ends or is closed; leaving the loop early closes it.
        Raises `ValueError` if *chunk_size* is not positive.
        """
        rows = execution.stream(self, chunk_size)
        try:
            async for row in rows:
                yield row
        finally:
            await rows.aclose()

    @classmethod
    def as_manager(cls) -> Any:
        """Return an `AsyncManager` with this class's methods."""
        from turbo_orm.manager import AsyncManager

        manager = AsyncManager.from_queryset(cls)()
        manager._built_with_asmanager = True
        return manager

    as_manager.queryset_only = True  # type: ignore[attr-defined]
