"""Django's `QuerySet` with every a-method on the async connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import QuerySet
from django.db.models.query import ModelIterable

from turbo_orm import answers, composed, creation, execution, streaming
from turbo_orm.bridge.greenlets import current_bridge
from turbo_orm.columns import Columns, paths_of
from turbo_orm.errors import TurboError
from turbo_orm.fetch_modes.older_django.querysets import with_fetch_modes
from turbo_orm.loading import RowsNotLoadedError, remember_peers
from turbo_orm.plans.inserting import InsertsByColumn, abulk_create
from turbo_orm.plans.mode import PlannedQuerySet
from turbo_orm.plans.updating import abulk_update, bulk_update_in_bridge
from turbo_orm.prefetching.apart import evaluated_apart
from turbo_orm.raw import AsyncRawQuerySet
from turbo_orm.row_classes import values_as
from turbo_orm.rows import fetch_in_bridge, stream_in_bridge

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


def _as(like: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Make a method look like *like*: docstring, and the marks Django reads."""
    return wraps(like)


@with_fetch_modes
class AsyncQuerySet(InsertsByColumn, PlannedQuerySet):
    """A `QuerySet` whose async methods really are: no thread, a pooled async connection.

    Chainable methods, and the sync ones for sync code, are Django's own.
    https://docs.djangoproject.com/en/stable/ref/models/querysets/
    """

    _runtime = True

    aaggregate = execution.aggregate_verb(QuerySet.aaggregate)
    abulk_create = _as(QuerySet.abulk_create)(abulk_create)
    abulk_update = _as(QuerySet.abulk_update)(abulk_update)
    # The coroutine itself: one more around it would be a tenth of its way to the wire.
    acreate = _as(QuerySet.acreate)(creation.create)
    acount = execution.terminal_verb("count", QuerySet.acount)
    aexists = execution.terminal_verb("exists", QuerySet.aexists)
    afirst = execution.terminal_verb("first", QuerySet.afirst)
    aget = execution.get_verb(QuerySet.aget)
    alast = execution.terminal_verb("last", QuerySet.alast)
    aupdate = execution.update_verb(QuerySet.aupdate)
    acontains = _as(QuerySet.acontains)(composed.acontains)
    aearliest = execution.outermost_verb("earliest", QuerySet.aearliest)
    aexplain = async_verb("explain", QuerySet.aexplain)
    aget_or_create = _as(QuerySet.aget_or_create)(composed.aget_or_create)
    ain_bulk = _as(QuerySet.ain_bulk)(composed.ain_bulk)
    alatest = execution.outermost_verb("latest", QuerySet.alatest)
    aupdate_or_create = _as(QuerySet.aupdate_or_create)(composed.aupdate_or_create)

    @_as(QuerySet.adelete)
    async def adelete(self) -> Any:
        return await execution.delete(self)

    async def alist(self) -> list[Any]:
        """Return all rows as a list: ``await qs.alist()`` is ``list(qs)``."""
        if type(self).__iter__ is not AsyncQuerySet.__iter__:  # a subclass has its own idea of rows
            return await execution.run_sync(list, self)
        return list(await execution.fetch(self))

    aggregate = execution.aggregate_in_bridge(QuerySet.aggregate)
    bulk_update = bulk_update_in_bridge(QuerySet.bulk_update)
    contains = execution.reading_in_bridge("contains", QuerySet.contains)
    count = execution.terminal_in_bridge("count", QuerySet.count)
    delete = execution.delete_in_bridge(QuerySet.delete)
    _raw_delete = execution.raw_delete_in_bridge(vars(QuerySet)["_raw_delete"])
    exists = execution.terminal_in_bridge("exists", QuerySet.exists)
    in_bulk = execution.reading_in_bridge("in_bulk", QuerySet.in_bulk)
    update = execution.update_in_bridge(QuerySet.update)

    @_as(QuerySet.get)
    def get(self, *args: Any, **kwargs: Any) -> Any:
        if self._planned is not None and current_bridge() is not None:
            queryset, bound = self._bound_get(args, kwargs)
            if bound is not None and not self._prefetch_related_lookups:
                return answers.get(self, fetch_in_bridge(queryset, bound))
            if queryset is not self:
                return super(AsyncQuerySet, queryset).get()
            return super(AsyncQuerySet, self._readable()).get(*args, **kwargs)
        return super().get(*args, **kwargs)

    def _fetch_all(self) -> None:
        if self._prefetch_related_lookups and not self._prefetch_done and current_bridge() is not None:
            with evaluated_apart(self, self._result_cache) as apart:
                AsyncQuerySet._fetch_rows(apart)
        else:
            self._fetch_rows()

    def _fetch_rows(self) -> None:
        fresh = self._result_cache is None
        if fresh and self._planned is not None and current_bridge() is not None:
            bound = self._bound("list")
            if bound is not None:
                self._result_cache = fetch_in_bridge(self, bound)
                fresh = False
        try:
            super()._fetch_all()
        except SynchronousOnlyOperation as exc:
            if isinstance(exc, TurboError):
                raise
            raise RowsNotLoadedError.of(self) from exc
        if fresh and issubclass(self._iterable_class, ModelIterable):
            remember_peers(self._result_cache or ())

    def _iterator(self, use_chunked_fetch: bool, chunk_size: int | None) -> Iterator[Any]:
        if self._planned is not None and current_bridge() is not None:
            bound = self._bound("list")
            if bound is not None and (rows := stream_in_bridge(self, bound, use_chunked_fetch, chunk_size)):
                return rows
        return super()._iterator(use_chunked_fetch, chunk_size)  # type: ignore[misc, no-any-return]

    def __aiter__(self) -> AsyncIterator[Any]:
        return streaming.Fetched(self)

    def aiterator(self, chunk_size: int = 2000) -> AsyncGenerator[Any, None]:
        """Yield the rows from a server-side cursor, *chunk_size* at a time, caching none.

        Holds a connection until it ends or is closed; leaving the loop early closes it.
        Raises `ValueError` if *chunk_size* is not positive.
        """
        return streaming.Streamed(self, chunk_size)

    @property
    def columns(self) -> Columns:
        """The model's columns as attributes, for `select()`, conditions and ordering."""
        return Columns(self.model)

    def select(self, *columns: Any, flat: bool = False) -> Any:
        """Return a queryset of tuples with the values of *columns*: `values_list()` by column.

        With *flat*, which takes one column, the rows are its values. Raises `TypeError` for what is
        not a column of this model.
        """
        if not columns or (flat and len(columns) > 1):
            number = "exactly one column" if flat else "at least one column"
            raise TypeError(f"select({'flat=True' if flat else ''}) takes {number}, not {len(columns)}.")
        return self.values_list(*paths_of(self.model, columns, "select()"), flat=flat)

    def values_as(self, row_class: type[Any], /, **columns: Any) -> Any:
        """Return a queryset whose rows are instances of *row_class*.

        A dataclass, a NamedTuple or a TypedDict, whose fields are named like paths of the model;
        *columns* are columns or expressions for those which are not. After `select()` its fields
        take the selected columns in order. Raises `TypeError` for a field that is no path, or has
        another type than the column.
        """
        return values_as(self, row_class, columns)

    def raw(self, *args: Any, **kwargs: Any) -> AsyncRawQuerySet:
        return AsyncRawQuerySet.adopt(super().raw(*args, **kwargs))

    async def araw(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the instances `raw()` makes of the rows of an SQL query, as a list."""
        return await self.raw(*args, **kwargs).alist()

    @classmethod
    def as_manager(cls) -> Any:
        """Return an `AsyncManager` with this class's methods."""
        from turbo_orm.manager import AsyncManager

        manager = AsyncManager.from_queryset(cls)()
        manager._built_with_as_manager = True
        return manager

    as_manager.queryset_only = True  # type: ignore[attr-defined]
