"""The public names, as type checkers see them."""

from turbo_orm.batching import batch as batch
from turbo_orm.bridge.observers import ExecutedStatement as ExecutedStatement
from turbo_orm.db.pools import PoolStats as PoolStats
from turbo_orm.errors import TurboError as TurboError
from turbo_orm.execution import aprefetch_related_objects as aprefetch_related_objects
from turbo_orm.execution import run_sync as run_sync
from turbo_orm.pools import close_pools as close_pools
from turbo_orm.pools import open_pools as open_pools
from turbo_orm.pools import pool_stats as pool_stats
from turbo_orm.sql.cursor import cursor as cursor
from turbo_orm.sql.locks import advisory_lock as advisory_lock
from turbo_orm.sql.notify import listen as listen
from turbo_orm.sql.notify import notify as notify
from turbo_orm.transaction import atomic as atomic
from turbo_orm.transaction import on_commit as on_commit
from turbo_orm.typing import AsyncManager as AsyncManager
from turbo_orm.typing import AsyncQuerySet as AsyncQuerySet
from turbo_orm.typing import Column as Column

__version__: str
