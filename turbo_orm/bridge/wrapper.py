"""Django's `DatabaseWrapper` of an alias, connecting through the bridge."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import ref

import psycopg
from asgiref.sync import async_to_sync
from django.db import Error, ProgrammingError, connections, transaction
from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper
from django.db.backends.postgresql.base import Cursor
from django.db.backends.utils import CursorWrapper
from django.db.utils import load_backend

from turbo_orm.bridge.connection import BridgedConnection
from turbo_orm.bridge.cursors import are_untouched
from turbo_orm.bridge.databases import async_connect_params, pool_key, pool_of
from turbo_orm.bridge.greenlets import await_only, check_awaiting, current_bridge, running_bridge
from turbo_orm.bridge.interruptions import is_interruption
from turbo_orm.bridge.observers import ObservedCursor, observation_of
from turbo_orm.bridge.querylog import QueryLog, recording
from turbo_orm.bridge.readiness import load_datetimes_in, note_ready
from turbo_orm.conf import get_observers
from turbo_orm.db.leases import lease, take_idle
from turbo_orm.db.loop_pools import forget_pool
from turbo_orm.db.pools import Pool
from turbo_orm.db.wire import Wire, wire_of
from turbo_orm.errors import BridgeError, ConnectionReleasedError, UnsupportedDatabaseError

if TYPE_CHECKING:
    from turbo_orm.bridge.scopes import Scope

    class _Base(BaseDatabaseWrapper):
        """For type checkers: what a `BridgedWrapper` is mixed into."""

        def _cursor(self, name: str | None = None) -> Any: ...
        def _commit(self) -> None: ...
        def _rollback(self) -> None: ...

else:
    _Base = object

__all__ = ["BridgedWrapper", "awaiting", "find_pool_of", "forget_pool_of", "mixed", "new_wrapper"]


class BridgedWrapper(_Base):
    """Mixed into an alias's own ``DatabaseWrapper``: the same, but for how it connects.

    Django's `connect()` always runs, so that time zone, role, isolation level, health checks
    and `connection_created` receivers are as they are everywhere else.
    """

    #: Django 5.1 and later: never its own sync pool.
    pool = None

    #: What django-async-backend's calls in our block get, see ``async_backend.guest``.
    guest: Any = None
    takes_guests = True
    #: While `adopt()` connects: the connection, its pool and the scope it is for.
    _adopted: tuple[psycopg.AsyncConnection[Any], Pool, Scope] | None = None
    #: The functions given to `on_commit()` are being called.
    running_hooks = False
    #: What cut a statement of the block short, which the block has not rolled back yet.
    cut_by: BaseException | None = None

    _log: deque[dict[str, str]]

    # Data descriptors over Django's attributes, so that a cursor asks each time.
    if not TYPE_CHECKING:

        @property
        def queries_logged(self) -> bool:
            if self._adopted is not None:
                return False
            return super().queries_logged or bool(recording(self.alias))

        @property
        def queries_log(self) -> deque[dict[str, str]] | QueryLog:
            to = recording(self.alias)
            if not to:
                return self._log
            return QueryLog(self._log, to, kept=super().queries_logged)

        @queries_log.setter
        def queries_log(self, log: deque[dict[str, str]]) -> None:
            self._log = log

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.Database = _Driver(self)
        self._root: Scope | None = None

    def attach(self, scope: Scope) -> None:
        """Serve *scope*'s root and its descendants, nobody else."""
        self._root = scope.root

    def detach(self) -> None:
        """The operation is over; its lease is given back by the scope.

        Of one that was destroyed in the middle of a block, the rest of the block is refused.
        """
        if self.in_atomic_block:
            self.closed_in_transaction = True
            self.break_block(self.cut_by or GeneratorExit())
        self.connection = None

    @property
    def wire(self) -> Wire | None:
        """The wire of its connection, if statements may go there past Django's cursors.

        Not where a cursor would refuse them, or show them to somebody.
        """
        conn = self.connection
        if (
            self.needs_rollback
            or self.closed_in_transaction
            or self.execute_wrappers
            or self.queries_logged
            or not are_untouched()
            or not isinstance(conn, BridgedConnection)
            or conn._aconn is None
            or self._root is None
        ):
            return None
        return wire_of(conn._aconn, self._root.loop)

    def validate_thread_sharing(self) -> None:
        """Let the bridge through, see Django: in whatever thread it runs, it has a turn of its own."""
        if running_bridge() is None:
            super().validate_thread_sharing()

    def close(self) -> None:
        """Close the connection, see Django: not for a thread, whose functions close what they have opened."""
        bridge = running_bridge()
        if bridge is None or bridge.waiter is None:
            super().close()

    def break_block(self, exc: BaseException) -> None:
        """Let the current `atomic` block, if any, only roll back: *exc* cut a statement short."""
        if self.in_atomic_block:
            self.needs_rollback = True
            self.rollback_exc: BaseException | None = exc
            if is_interruption(exc):
                self.cut_by = exc

    @property
    def is_cut(self) -> bool:
        """Whether it is in a block which a statement was cut short in, and which can only be rolled back."""
        return self.needs_rollback and self.cut_by is not None

    def validate_not_cut(self) -> None:
        """Raise Django's error for statements in a block which a statement was cut short in."""
        if self.cut_by is not None:
            self.validate_no_broken_transaction()

    def get_connection_params(self) -> dict[str, Any]:
        # The pool's options are ours to read. Django before 5.1 would hand them to libpq, and
        # django-async-backend warns that its pool is unsafe in sync code.
        given = self.settings_dict
        options = {key: value for key, value in given["OPTIONS"].items() if key != "pool"}
        self.settings_dict = {**given, "OPTIONS": options}
        try:
            # Django 4.2.0 names its class of cursors only to the connection, once it has one.
            return {"cursor_factory": Cursor, **super().get_connection_params()}
        finally:
            self.settings_dict = given

    def init_connection_state(self) -> None:
        """Set the session up, see Django: that of a block has been, and may be lost by now."""
        if self._adopted is None:
            super().init_connection_state()

    def ensure_timezone(self) -> bool:
        """Have the session's time zone be the settings', see Django, which calls it when they change.

        The connection of a block goes on being used then, by the wire too.
        """
        changed: bool = super().ensure_timezone()
        if isinstance(self.connection, BridgedConnection):
            load_datetimes_in(self.timezone, self.connection)
        return changed

    def connect(self) -> None:
        """Take a connection and set it up as Django does."""
        if self.in_atomic_block and self.closed_in_transaction:  # as Django since 5.0
            raise ProgrammingError("Cannot open a new connection in an atomic block.")
        super().connect()
        if self._adopted is None and isinstance(self.connection, BridgedConnection) and self.get_autocommit():
            note_ready(self.alias, self.connection, self.timezone)

    def chunked_cursor(self) -> Any:
        """Return a cursor for many rows, see Django: not the server's where others may get its session.

        Outside of a transaction that is what a pooler does after each statement, and another task's rows
        might come of a cursor of the same name.
        """
        self.ensure_connection()
        conn = self.connection
        if isinstance(conn, BridgedConnection) and conn.shares_session:
            return self.cursor()
        return super().chunked_cursor()

    def _cursor(self, name: str | None = None) -> Any:
        # Before Django looks at the connection, which may have been closed by the interruption.
        self.validate_not_cut()
        return super()._cursor(name)

    def make_cursor(self, cursor: Any) -> Any:
        return _observed(super().make_cursor(cursor))

    def make_debug_cursor(self, cursor: Any) -> Any:
        return _observed(super().make_debug_cursor(cursor))

    def _commit(self) -> None:
        with observation_of(self.alias, "COMMIT"):
            super()._commit()

    def _rollback(self) -> None:
        with observation_of(self.alias, "ROLLBACK"):
            super()._rollback()

    def savepoint_rollback(self, sid: str) -> None:
        super().savepoint_rollback(sid)
        self.cut_by = None
        if isinstance(self.connection, BridgedConnection):
            self.connection.doubt_server_cursors()

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = super().create_cursor(name)
        if name and isinstance(self.connection, BridgedConnection):
            self.connection.note_server_cursor(cursor)
        return cursor

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None:
        now = callable(func) and not self.in_atomic_block
        super().on_commit(awaiting(func) if now else func, robust)

    def run_and_clear_commit_hooks(self) -> None:
        hooks: Any = self.run_on_commit
        hooks[:] = [(sids, awaiting(func), *rest) for sids, func, *rest in hooks]
        outermost, self.running_hooks = not self.running_hooks, True
        try:
            super().run_and_clear_commit_hooks()
        finally:
            self.running_hooks = not outermost

    def adopt(
        self, conn: psycopg.AsyncConnection[Any], pool: Pool, scope: Scope, block: transaction.Atomic
    ) -> None:
        """Be connected through *conn*, and in *block*, which has begun.

        Django has set *conn* up before, and it is not in autocommit. Nothing is executed, and
        nothing logged: nobody watched when the block began. If *conn* has been closed, so is this.
        """
        self._adopted = conn, pool, scope
        try:
            self.connect()
            block.__enter__()
        finally:
            self._adopted = None

    def _set_autocommit(self, autocommit: bool) -> None:
        conn: Any = self.connection
        is_so = isinstance(conn, BridgedConnection) and conn.autocommit == autocommit
        if self._adopted is not None or is_so:
            return
        interrupted = autocommit and is_interruption(sys.exc_info()[1])
        try:
            super()._set_autocommit(autocommit)  # type: ignore[misc]
        except Error:
            if not interrupted:
                raise
            # The last step of a block whose end was interrupted. In the place of the interruption, the error
            # would be caught by sync code that goes on after errors of the database.
            self.close()

    def _lease(self, scope: Scope, params: dict[str, Any]) -> BridgedConnection:
        if self._root is not None and self._root is not scope.root:
            raise BridgeError(
                f"This connection to {self.alias!r} belongs to another operation. Use "
                "django.db.connections inside the function given to run_sync()."
            )
        if scope.root.closed:
            # Below a coroutine that was destroyed: nobody would give the connection back.
            raise ConnectionReleasedError(
                "The atomic() block or operation this code belongs to was destroyed before its end, and its "
                "connection is closed. Await what runs in a block before the block is left."
            )
        pooled = self.alias != NO_DB_ALIAS and self.settings_dict is connections.settings.get(self.alias)
        pool = pool_of(scope.loop, self) if pooled else None
        if self._adopted is not None:
            aconn = self._adopted[0]
        elif pool is not None:
            check_awaiting()  # it is refused before anything is taken
            aconn = take_idle(pool) or await_only(lease(pool))
        else:
            aconn = await_only(psycopg.AsyncConnection.connect(**async_connect_params(params)))
        conn = BridgedConnection(
            aconn, cursor_factory=params["cursor_factory"], scope=scope, pool=pool, wrapper=self
        )
        scope.leases.append(conn)
        return conn


def _observed(cursor: Any) -> Any:
    """Return *cursor*, with `ObservedCursor` mixed in if there are observers and it is as Django's."""
    kind: Any = type(cursor)
    if get_observers() and issubclass(kind, CursorWrapper) and not issubclass(kind, ObservedCursor):
        cursor.__class__ = mixed(ObservedCursor, kind)
    return cursor


class _Driver:
    """Stands for the psycopg module as ``DatabaseWrapper.Database``."""

    def __init__(self, wrapper: BridgedWrapper) -> None:
        self._wrapper = ref(wrapper)

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)

    def connect(self, **params: Any) -> BridgedConnection:
        bridge, wrapper = current_bridge(), self._wrapper()
        if wrapper is not None and wrapper._adopted is not None:
            return wrapper._lease(wrapper._adopted[2], params)
        if bridge is None or bridge.scope is None or wrapper is None:
            raise BridgeError(
                "A connection of an a-method or run_sync() can't be opened outside of it. "
                "Use django.db.connections where you are."
            )
        return wrapper._lease(bridge.scope, params)


def awaiting(func: Callable[[], object]) -> Callable[[], object]:
    """Make *func* a sync function: if it returns an awaitable, the awaitable is awaited."""

    def call() -> object:
        result = func()
        return async_to_sync(_awaited)(result) if inspect.isawaitable(result) else result

    # Django logs the qualified name of a robust function that fails. (The text of a queryset's
    # method has the queryset's rows in it.)
    call.__qualname__ = getattr(func, "__qualname__", None) or repr(func)
    return call


async def _awaited(awaitable: Awaitable[object]) -> object:
    return await awaitable


class _Refusing(_Base):
    """Mixed into the ``DatabaseWrapper`` of a database the bridge can't reach."""

    def get_new_connection(self, conn_params: Any) -> Any:
        raise UnsupportedDatabaseError(
            f"Database {self.alias!r} uses {self.vendor}, which can't be queried asynchronously: "
            "turbo_orm drives PostgreSQL through psycopg 3. Query it in sync code, for example "
            "through asgiref's sync_to_async()."
        )


@cache
def _class_of(backend: str) -> type[BaseDatabaseWrapper]:
    engine: Any = load_backend(backend).DatabaseWrapper
    made: type[BaseDatabaseWrapper] = mixed(
        BridgedWrapper if engine.vendor == "postgresql" else _Refusing, engine
    )
    return made


@cache
def mixed(mixin: Any, cls: Any) -> Any:
    """Return a class that is *cls*, and is called so, with *mixin* before it."""
    return type(cls.__name__, (mixin, cls), {"__module__": __name__, "__doc__": cls.__doc__})


def new_wrapper(scope: Scope, alias: str) -> BaseDatabaseWrapper:
    """Return a new wrapper of *alias* for the operations of *scope*'s root.

    A database other than PostgreSQL gets a wrapper which compiles queries, and raises
    `UnsupportedDatabaseError` where it would connect.
    """
    settings_dict = connections.settings[alias]
    wrapper = _class_of(settings_dict["ENGINE"])(settings_dict, alias)
    if isinstance(wrapper, BridgedWrapper):
        wrapper.attach(scope)
    return wrapper


def find_pool_of(loop: asyncio.AbstractEventLoop, alias: str) -> Pool:
    """Return the pool of *alias* on *loop*."""
    settings_dict = connections.settings[alias]
    return pool_of(loop, _class_of(settings_dict["ENGINE"])(settings_dict, alias))


def forget_pool_of(loop: asyncio.AbstractEventLoop, alias: str) -> None:
    """Let the next query on *alias* in *loop* build its pool anew."""
    forget_pool(loop, pool_key(alias))
