"""Every exception turbo_orm raises of its own.

TurboError
├── BridgeError                a bridged connection or greenlet used where it can't be
│   ├── ConnectionReleasedError    a cursor or connection kept after its operation ended
│   └── BlockDeadlockError         a block waits for a task which waits for the block
├── NotLoadedError             a field or relation would be loaded synchronously in async code
├── SyncCallError              a method that has an async twin was called in async code
├── LoopMismatchError          an object of one event loop used in another
├── PlanMismatchError          a planned statement differs from Django's own (with VERIFY_PLANS)
├── UnsupportedDatabaseError   the alias is not PostgreSQL through psycopg 3
└── CodegenError               `turbo_generate` can't describe the models it was given

Errors of the database itself keep Django's classes (``django.db.utils.Error`` and below).
"""

from __future__ import annotations

from django.core.exceptions import SynchronousOnlyOperation

__all__ = [
    "BlockDeadlockError",
    "BridgeError",
    "CodegenError",
    "ConnectionReleasedError",
    "LoopMismatchError",
    "NotLoadedError",
    "PlanMismatchError",
    "SyncCallError",
    "TurboError",
    "UnsupportedDatabaseError",
]


class TurboError(Exception):
    """Base of all errors raised by turbo_orm itself."""


class BridgeError(TurboError, RuntimeError):
    """Database I/O on a bridged connection outside the operation that owns it."""


class ConnectionReleasedError(BridgeError):
    """A cursor or connection was used after its operation gave the connection back."""


class BlockDeadlockError(BridgeError):
    """An `atomic` block waits for a task which itself waits for that block's connection."""


class NotLoadedError(TurboError, SynchronousOnlyOperation):
    """An unloaded field or relation was touched in async code; the message says the ways out."""


class SyncCallError(TurboError, SynchronousOnlyOperation):
    """A sync method of the ORM was called in async code; the message says which async one there is."""


class LoopMismatchError(TurboError, RuntimeError):
    """An object bound to one event loop was used in another."""


class PlanMismatchError(TurboError, AssertionError):
    """A planned statement is not what Django would execute; see ``TURBO_ORM["VERIFY_PLANS"]``."""


class UnsupportedDatabaseError(TurboError, RuntimeError):
    """The database alias can't be used asynchronously: not PostgreSQL through psycopg 3."""


class CodegenError(TurboError):
    """`turbo_generate` can't produce correct code for these models or options."""
