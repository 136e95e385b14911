"""Real async database access for Django on PostgreSQL.

A model declares ``objects = AsyncManager()``; its a-methods then run on a pooled psycopg
connection in the event loop's own thread, inside `atomic()` on that block's connection.
"""

from turbo_orm import hooks as _hooks
from turbo_orm.batching import batch
from turbo_orm.bridge.observers import ExecutedStatement
from turbo_orm.columns import Column
from turbo_orm.db.pools import PoolStats
from turbo_orm.errors import TurboError
from turbo_orm.execution import aprefetch_related_objects, run_sync
from turbo_orm.manager import AsyncManager
from turbo_orm.pools import close_pools, open_pools, pool_stats
from turbo_orm.queryset import AsyncQuerySet
from turbo_orm.sql.cursor import cursor
from turbo_orm.sql.locks import advisory_lock
from turbo_orm.sql.notify import listen, notify
from turbo_orm.transaction import atomic, on_commit

__all__ = [
    "AsyncManager",
    "AsyncQuerySet",
    "Column",
    "ExecutedStatement",
    "PoolStats",
    "TurboError",
    "advisory_lock",
    "aprefetch_related_objects",
    "atomic",
    "batch",
    "close_pools",
    "cursor",
    "listen",
    "notify",
    "on_commit",
    "open_pools",
    "pool_stats",
    "run_sync",
]
__version__ = "0.1.0"

_hooks.install()
