"""Run the INSERTs of `bulk_create()` on the wire, a column per parameter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import QuerySet

from turbo_orm.bridge.async_backend.join import JoinedWrapper
from turbo_orm.bridge.connection import BridgedConnection
from turbo_orm.bridge.greenlets import await_only, current_bridge
from turbo_orm.bridge.querylog import recording
from turbo_orm.bridge.wrapper import BridgedWrapper
from turbo_orm.conf import get_config
from turbo_orm.db.wire import Result, wire_of
from turbo_orm.plans.bulk import BulkInsert, Conflict, bulk_insert
from turbo_orm.plans.connections import compiling_connection

if TYPE_CHECKING:
    _Base = QuerySet[Any, Any]
else:
    _Base = object

__all__ = ["InsertsByColumn"]

#: Fewer rows are not worth it.
_MIN_ROWS = 5


class InsertsByColumn(_Base):
    """Mixed into a `QuerySet` class: what `bulk_create()` inserts in the bridge goes by column.

    Around each batch everything stays Django's: what is checked and prepared, transactions,
    the sizes of batches, and what objects are told afterwards.
    """

    def _insert(
        self,
        objs: Sequence[Any],
        fields: Sequence[Any],
        returning_fields: Sequence[Any] | None = None,
        raw: bool = False,
        using: str | None = None,
        on_conflict: Any = None,
        update_fields: Sequence[Any] | None = None,
        unique_fields: Sequence[Any] | None = None,
    ) -> Any:
        if len(objs) >= _MIN_ROWS and not raw and current_bridge() is not None:
            self._for_write = True
            conflict = Conflict(on_conflict, update_fields, unique_fields)
            rows = _by_column(self.model, objs, fields, returning_fields, conflict, using or self.db)
            if rows is not None:
                return rows
        base: Any = super()
        return base._insert(
            objs,
            fields,
            returning_fields=returning_fields,
            raw=raw,
            using=using,
            on_conflict=on_conflict,
            update_fields=update_fields,
            unique_fields=unique_fields,
        )

    _insert.alters_data = True  # type: ignore[attr-defined]
    _insert.queryset_only = False  # type: ignore[attr-defined]
    #: For `insert_plan()`: one object is inserted as by Django's own method.
    _insert.inserts_one_as_django = True  # type: ignore[attr-defined]


def _by_column(
    model: Any,
    objs: Sequence[Any],
    fields: Sequence[Any],
    returning_fields: Sequence[Any] | None,
    conflict: Conflict,
    alias: str,
) -> list[Any] | None:
    config = get_config()
    wrapper: Any = connections[alias]
    if (
        not (config.plans and config.wire)
        or not isinstance(wrapper, BridgedWrapper)
        or isinstance(wrapper, JoinedWrapper)
        or wrapper.execute_wrappers
        or wrapper.queries_logged
        or recording(alias)
    ):
        return None
    # What a cursor does before its first statement.
    wrapper.validate_thread_sharing()
    wrapper.ensure_connection()
    wrapper.validate_no_broken_transaction()
    conn: Any = wrapper.connection
    if not isinstance(conn, BridgedConnection) or conn._aconn is None:
        return None
    compiling = compiling_connection(alias, _unchanged)
    if compiling is None:
        return None
    found = bulk_insert(model, objs, fields, returning_fields, conflict, compiling)
    if found is None:
        return None
    with wrapper.wrap_database_errors:
        try:
            result = await_only(_run(conn._aconn, found))
        except asyncio.CancelledError as exc:
            # As where a cursor waits: the statement's fate is unknown.
            wrapper.break_block(exc)
            raise
    if result is None:
        return None
    return [] if found.load is None else found.load(result.rows or ())


async def _run(conn: Any, found: BulkInsert) -> Result | None:
    # In the event loop, which sync code in the bridge does not see.
    wire = wire_of(conn)
    return None if wire is None else await wire.run(found.statement, found.params)


def _unchanged(compiler_class: Any) -> Any:
    return compiler_class
