"""`Model.objects.raw()` with async iteration on the async connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db.models.query import RawQuerySet

from turbo_orm import execution, streaming
from turbo_orm.errors import TurboError
from turbo_orm.fetch_modes.older_django.querysets import with_raw_fetch_modes
from turbo_orm.loading import RowsNotLoadedError, remember_peers

__all__ = ["AsyncRawQuerySet"]


@with_raw_fetch_modes
class AsyncRawQuerySet(RawQuerySet):  # type: ignore[type-arg]  # not subscriptable at runtime
    """A `RawQuerySet` that is fetched without a thread.

    https://docs.djangoproject.com/en/stable/topics/db/sql/
    """

    _result_cache: list[Any] | None  # Django's, private

    @classmethod
    def adopt(cls, rows: RawQuerySet[Any]) -> AsyncRawQuerySet:
        """Return *rows*, made by Django, as an object of this class."""
        rows.__class__ = cls
        assert isinstance(rows, cls)
        return rows

    def using(self, alias: str | None) -> AsyncRawQuerySet:
        return self.adopt(super().using(alias))

    def _fetch_all(self) -> None:
        fresh = self._result_cache is None
        try:
            super()._fetch_all()  # type: ignore[misc]
        except SynchronousOnlyOperation as exc:
            if isinstance(exc, TurboError):
                raise
            raise RowsNotLoadedError.of(self) from exc
        if fresh:
            remember_peers(self._result_cache or ())

    async def alist(self) -> list[Any]:
        """Return all rows as a list: ``await rows.alist()`` is ``list(rows)``."""
        return list(await execution.fetch(self))

    def __aiter__(self) -> AsyncIterator[Any]:
        return streaming.Fetched(self)
