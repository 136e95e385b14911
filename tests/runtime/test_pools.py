"""Pools: sizes, ends, and one clear error for each thing that can be wrong with a database."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connections
from django.test import override_settings
from psycopg import Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tests.project.library.models import Author
from tests.runtime.conftest import sessions
from tests.runtime.support import assert_pool_is_clean, backend_pid, pool, until
from turbo_orm import atomic, close_pools, open_pools, pool_stats, run_sync
from turbo_orm.db import loop_pools, pools
from turbo_orm.db.connections import TurboConnection
from turbo_orm.errors import UnsupportedDatabaseError


@pytest.fixture
def alias(django_databases: None) -> Iterator[Any]:
    """Make an alias ``extra`` of the default database with other settings."""

    def make(**changes: Any) -> str:
        connections.settings["extra"] = {**connections["default"].settings_dict, **changes}
        return "extra"

    yield make
    connections.settings.pop("extra", None)
    if hasattr(connections._connections, "extra"):
        del connections["extra"]


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_a_missing_server_is_reported_at_once(alias: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = Author.objects.using(alias(HOST="127.0.0.1", PORT=str(unused_port())))
    outcomes = await asyncio.gather(*[rows.acount() for _ in range(5)], return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, OperationalError)
        assert "refused" in str(outcome)
    with pytest.raises(OperationalError, match="refused"):
        async with atomic(using="extra"):
            await rows.acount()
    assert "failed after 0.0 sec" in caplog.text  # and not after psycopg_pool's 300


async def test_a_server_that_comes_back_is_used_at_once(alias: Any, monkeypatch: Any) -> None:
    rows = Author.objects.using(alias())
    connect = pools.Pool._connect

    async def refuse(self: Any, timeout: float | None = None) -> Any:
        self.connection_class = Refusing
        return await connect(self, timeout)

    class Refusing(pools.AsyncConnection[Any]):
        @classmethod
        async def connect(cls, *args: Any, **kwargs: Any) -> Any:
            import psycopg

            raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(pools.Pool, "_connect", refuse)
    with pytest.raises(OperationalError, match="refused"):
        await rows.acount()
    monkeypatch.undo()
    for found in loop_pools._loops[asyncio.get_running_loop()].values():
        found.connection_class = pools.AsyncConnection
    assert await rows.acount() == 0


async def test_an_exhausted_pool_times_out(alias: Any) -> None:
    rows = Author.objects.using(alias(OPTIONS={"pool": {"max_size": 1, "timeout": 0.1}}))
    for _ in range(100):  # a new connection may take longer than that
        with suppress(OperationalError):
            await rows.acount()
            break
    release = asyncio.Event()

    async def hold(held: asyncio.Event) -> None:
        async with atomic(using="extra"):
            await rows.acount()
            held.set()
            await release.wait()

    held = asyncio.Event()
    task = asyncio.create_task(hold(held))
    await asyncio.wait_for(held.wait(), 10)
    with pytest.raises(OperationalError, match=r"couldn't get a connection after 0\.10 sec"):
        await rows.acount()
    release.set()
    await task
    assert await rows.acount() == 0


async def test_a_bounded_queue(alias: Any) -> None:
    rows = Author.objects.using(alias(OPTIONS={"pool": {"max_size": 1, "max_waiting": 1}}))
    outcomes = await asyncio.gather(*[rows.acount() for _ in range(10)], return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, OperationalError)]
    assert refused
    assert outcomes.count(0) + len(refused) == 10
    assert "waiting" in str(refused[0])


async def test_statistics_of_known_work(alias: Any) -> None:
    rows = Author.objects.using(alias(OPTIONS={"pool": {"max_size": 1}}))
    assert "extra" not in pool_stats()
    begun = time.monotonic()
    for _ in range(3):  # by Django, then by a plan, and the connection is taken with another function then
        await rows.acount()
        await run_sync(rows.count)
    stats = pool_stats()["extra"]
    assert (stats.requests_num, stats.requests_queued, stats.requests_errors) == (6, 1, 0)
    assert (stats.pool_min, stats.pool_max, stats.pool_size, stats.pool_available) == (0, 1, 1, 1)
    assert (stats.connections_num, stats.connections_errors, stats.connections_lost) == (1, 0, 0)
    async with atomic(using="extra"):
        await rows.acount()
        tasks = [asyncio.create_task(in_its_own_context(rows.acount)) for _ in range(4)]
        while (stats := pool_stats()["extra"]).requests_waiting < 4:
            await asyncio.sleep(0)
        assert (stats.pool_size, stats.pool_available, stats.requests_errors) == (1, 0, 0)
        tasks[1].cancel()
        await asyncio.wait(tasks[1:2])
        assert pool_stats()["extra"].requests_waiting == 3
        waited = stats.requests_wait_ms
        await asyncio.sleep(0.05)
    await asyncio.wait(tasks)
    stats = pool_stats()["extra"]
    assert (stats.requests_num, stats.requests_queued, stats.requests_errors) == (11, 5, 1)
    assert (stats.pool_size, stats.pool_available, stats.requests_waiting) == (1, 1, 0)
    assert 3 * 49 <= stats.requests_wait_ms - waited <= 4 * 1000 * (time.monotonic() - begun)
    await close_pools()
    assert pool_stats() == {}


async def test_who_waits_leaves_no_place_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is, to a task that asks how many queries it may run at once."""
    assert await Author.objects.acount() == 0
    loop, everything = asyncio.get_running_loop(), pool().max_size
    assert loop_pools.free_places(loop, "default") == everything
    monkeypatch.setattr(pool(), "run_task", lambda task: None)  # it grows when we say so, which is never
    async with atomic():
        assert loop_pools.free_places(loop, "default") == everything - 1
        tasks = [asyncio.create_task(in_its_own_context(Author.objects.acount)) for _ in range(everything)]
        await until(lambda: len(pool()._waiting) + pool().waiters.count() == everything)
        assert loop_pools.free_places(loop, "default") == 0
        monkeypatch.undo()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.threads
async def test_statistics_in_a_thread() -> None:
    async def stats() -> Any:
        return pool_stats()

    await Author.objects.acount()
    found = await sync_to_async(async_to_sync(stats))()
    assert found == pool_stats()
    assert found["default"].pool_available == 1
    with pytest.raises(RuntimeError, match="no running event loop"):
        await sync_to_async(pool_stats)()


async def in_its_own_context(function: Any) -> Any:
    return await contextvars.Context().run(asyncio.ensure_future, function())


async def test_another_database_is_refused_by_name(alias: Any) -> None:
    rows = Author.objects.using(alias(ENGINE="django.db.backends.sqlite3", NAME=":memory:", OPTIONS={}))
    with pytest.raises(UnsupportedDatabaseError, match="'extra' uses sqlite"):
        await rows.acount()
    with pytest.raises(UnsupportedDatabaseError):
        async with atomic(using="extra"):
            pass
    assert await Author.objects.acount() == 0
    assert "library_author" in str(await run_sync(lambda: str(rows.query)))


@pytest.mark.parametrize(
    ("own", "sizes"),
    [({"min_size": 21}, (21, 21)), ({"max_size": 1}, (1, 1)), ({"min_size": 1, "max_size": None}, (1, 1))],
)
async def test_one_size_gives_way_to_the_other(
    alias: Any, own: dict[str, int], sizes: tuple[int, int]
) -> None:
    name = alias(OPTIONS={"pool": own})
    with override_settings(TURBO_ORM={"POOL": {"min_size": 2}}):  # and `max_size` is 20
        await open_pools(name)
    found = pool(name)
    assert (found._nconns, found.max_size) == sizes
    await close_pools()


async def test_functions_for_djangos_own_pool_are_not_called_with_our_connections(alias: Any) -> None:
    seen: list[Any] = []

    async def reset(conn: Any) -> None:
        seen.append(conn)

    sync = {"check": ConnectionPool.check_connection, "reset": print, "connection_class": Connection}
    name = alias(OPTIONS={"pool": sync})
    with override_settings(TURBO_ORM={"POOL": {"reset": reset, "connection_class": None}}):
        for _ in range(2):
            await Author.objects.using(name).acount()
    [conn] = set(seen)
    assert isinstance(conn, TurboConnection)
    assert pool(name)._check == AsyncConnectionPool.check_connection
    await close_pools()


async def test_open_pools_fills_them(observer: Any) -> None:
    await open_pools("default")
    assert pool().get_stats()["pool_size"] >= 1
    await until(lambda: len(sessions(observer)) == 2)
    await Author.objects.acount()
    assert len(sessions(observer)) == 2


async def test_a_backend_that_has_a_token_for_each_connection(alias: Any) -> None:
    extra = alias(ENGINE="tests.project.backends.tokens")

    def token() -> str:
        with connections[extra].cursor() as cursor:
            cursor.execute("SELECT current_setting('application_name')")
            name: str = cursor.fetchone()[0]
            return name

    tokens: set[str] = set()
    all_connected = asyncio.Event()

    async def connect() -> None:
        async with atomic(using=extra):
            tokens.add(await run_sync(token))
            if len(tokens) == 3:
                all_connected.set()
            await all_connected.wait()

    await asyncio.wait_for(asyncio.gather(*[connect() for _ in range(3)]), timeout=20)


async def test_connections_that_are_replaced_lead_to_the_database_of_their_pool(alias: Any) -> None:
    """Also while the settings name another one: Django's test runner changes them in place."""
    extra = alias()
    settings = connections.settings[extra]
    await run_sync(connect_to, extra)
    found = pool(extra)
    conn = await found.getconn()
    settings["NAME"] = connections["other"].settings_dict["NAME"]
    await conn.close()
    await found.putconn(conn)  # which replaces it in the background
    await until(lambda: found._pool)
    assert found._pool[0].info.dbname == connections["default"].settings_dict["NAME"]


async def test_a_password_that_changes(alias: Any) -> None:
    extra = alias()
    await run_sync(connect_to, extra)
    connections.settings[extra]["PASSWORD"] = "another"
    assert (await pool(extra)._resolve_kwargs())["password"] == "another"
    connections.settings[extra].update(PASSWORD="of another", NAME="database")
    assert (await pool(extra)._resolve_kwargs())["password"] == "another"


def connect_to(alias: str) -> None:
    connections[alias].ensure_connection()


async def test_open_pools_reports_a_missing_server(alias: Any) -> None:
    import psycopg

    with pytest.raises(psycopg.OperationalError, match="refused"):
        await open_pools(alias(HOST="127.0.0.1", PORT=str(unused_port())))


async def test_open_pools_does_not_wait_for_what_is_in_use(observer: Any) -> None:
    async with atomic():
        await Author.objects.acount()
        await asyncio.wait_for(open_pools("default"), 5)
        assert len(sessions(observer)) == 2


async def test_opening_that_is_destroyed() -> None:
    """The connection that comes then is nobody's, and goes to the pool."""
    opening = open_pools("default")
    opening.send(None)._asyncio_future_blocking = False
    opening.close()
    await asyncio.sleep(0.1)
    assert await Author.objects.acount() == 0
    await assert_pool_is_clean()


async def test_queries_after_close_pools_open_new_ones(observer: Any) -> None:
    first = await run_sync(backend_pid)
    await close_pools()
    await close_pools()
    assert await run_sync(backend_pid) != first


async def test_closing_while_in_use() -> None:
    async with atomic():
        await Author.objects.acreate(name="x")
        await close_pools()
        await Author.objects.acreate(name="y")
    assert await Author.objects.acount() == 2
    await assert_pool_is_clean()


async def test_queries_while_pools_close(observer: Any) -> None:
    """They open a pool, which must be found again to be closed."""
    await Author.objects.acount()
    closing = asyncio.create_task(close_pools())
    await asyncio.sleep(0)
    assert await asyncio.gather(*[Author.objects.acount() for _ in range(3)]) == [0, 0, 0]
    await closing
    await close_pools()
    await until(lambda: not sessions(observer))


async def test_closing_that_is_cancelled(alias: Any, observer: Any) -> None:
    """Nobody finds the pools again to close them."""
    await asyncio.gather(Author.objects.acount(), Author.objects.using(alias()).acount())
    tasks = asyncio.all_tasks()
    closing = asyncio.create_task(close_pools())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await until(lambda: not sessions(observer))
    assert tasks & asyncio.all_tasks() == {asyncio.current_task()}


async def test_somebody_cancels_every_task() -> None:
    """The pool's workers die with the rest; the next query gets a new pool."""
    await Author.objects.acount()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0.01)
    assert await asyncio.gather(*[Author.objects.acount() for _ in range(3)]) == [0, 0, 0]
