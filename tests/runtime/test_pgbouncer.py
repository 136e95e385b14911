"""Behind a real PgBouncer, in both of its usual modes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, NotSupportedError, connections
from django.test import override_settings
from psycopg.conninfo import make_conninfo

from devtools.pgbouncer import MISSING, PgBouncer, find_pgbouncer
from tests.project.library.models import Author, Book, Tag
from tests.runtime.sql.proxy import reached_by
from tests.runtime.support import assert_pool_is_clean, backend_pid, pool, query, sleep
from turbo_orm import advisory_lock, atomic, close_pools, listen, notify, on_commit, run_sync

pytestmark = pytest.mark.skipif(find_pgbouncer() is None, reason=MISSING)

SERVERS = 3
MODES = pytest.mark.parametrize("pooler", ["transaction", "session"], indirect=True)
TRANSACTION = pytest.mark.parametrize("pooler", ["transaction"], indirect=True)


@pytest.fixture
async def pooler(
    request: pytest.FixtureRequest, django_databases: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PgBouncer]:
    """PgBouncer with three server connections, which the default database is reached through."""
    with PgBouncer(os.environ["DATABASE_URL"], request.param, servers=SERVERS) as pooler:
        # Many clients where that is what a transaction pooler is for; in session mode each takes a server.
        size = 12 if request.param == "transaction" else SERVERS
        pools = {"POOL": {"min_size": 0, "max_size": size, "timeout": 10}}
        with override_settings(TURBO_ORM=pools):
            async with reached_by(monkeypatch, pooler.port):
                yield pooler


async def behind_pgbouncer() -> bool:
    """Only PgBouncer's own listening socket is on that port; the server sees another."""
    settings: Any = connections.settings["default"]
    (row,) = await run_sync(query, "SELECT inet_server_port()")
    return bool(row[0] != int(settings["PORT"]))


@MODES
async def test_queries(pooler: PgBouncer):
    assert await behind_pgbouncer()
    assert not pool().prepares
    author = await Author.objects.acreate(name="a")
    for number in range(30):
        await Book.objects.acreate(title=f"t{number:02}", author=author)
        assert await Book.objects.acount() == number + 1
        assert (await Book.objects.select_related("author").aget(title=f"t{number:02}")).author == author
    books = await Book.objects.prefetch_related("tags", "notes", "contributors").alist()
    assert [book.title for book in books] == [f"t{number:02}" for number in range(30)]
    await books[0].tags.aset([await Tag.objects.acreate(label="x")])
    assert await Tag.objects.filter(books=books[0]).aexists()
    assert await Book.objects.filter(title__gt="t20").aupdate(price=5) == 9
    assert (await Author.objects.all().adelete())[0] == 32
    await assert_pool_is_clean()


@MODES
async def test_gather(pooler: PgBouncer):
    await Tag.objects.abulk_create([Tag(label=str(number)) for number in range(40)])
    found = await asyncio.gather(*[Tag.objects.aget(label=str(number % 40)) for number in range(200)])
    assert [tag.label for tag in found] == [str(number % 40) for number in range(200)]
    await assert_pool_is_clean()


@MODES
async def test_another_encoding(pooler: PgBouncer):
    """PgBouncer tells its clients of it, as the server does."""

    def set_encoding() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SET LOCAL client_encoding TO LATIN1")

    for block in range(2):
        async with atomic():
            await run_sync(set_encoding)
            await Author.objects.abulk_create([Author(name=f"ä{block}{number}") for number in range(3)])
        await Author.objects.abulk_create([Author(name=f"€{block}{number}") for number in range(3)])
    names = {f"{letter}{block}{number}" for letter in "ä€" for block in range(2) for number in range(3)}
    assert {author.name async for author in Author.objects.all()} == names
    await assert_pool_is_clean()


@TRANSACTION
async def test_more_clients_than_servers(pooler: PgBouncer):
    pids = await asyncio.gather(*[run_sync(lambda: (sleep(0.02), backend_pid())[1]) for _ in range(36)])
    assert len(set(pids)) == SERVERS


@MODES
async def test_transactions(pooler: PgBouncer):
    log: list[str] = []

    async def work(label: str) -> None:
        async with atomic():
            await on_commit(lambda: log.append(label))
            pid = await run_sync(backend_pid)
            await Tag.objects.acreate(label=label)
            with pytest.raises(IntegrityError):
                async with atomic():
                    await Tag.objects.acreate(label=label)
            await asyncio.gather(Tag.objects.aget(label=label), Tag.objects.acount())
            assert await run_sync(backend_pid) == pid
            if label.startswith("bad"):
                raise LookupError(label)

    labels = [f"{kind}{number}" for kind in ("bad", "good") for number in range(10)]
    outcomes = await asyncio.gather(*map(work, labels), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 10 + [type(None)] * 10
    good = [f"good{number}" for number in range(10)]
    assert [tag.label async for tag in Tag.objects.order_by("label")] == good
    assert sorted(log) == good
    await assert_pool_is_clean()


@MODES
async def test_the_same_statements_on_changing_servers(pooler: PgBouncer):
    """What one server has prepared is unknown to the next, and no transaction may fail for that."""
    author = await Author.objects.acreate(name="a")
    ids = [(await Book.objects.acreate(title=str(number), author=author)).pk for number in range(10)]

    async def work(number: int) -> None:
        pk = ids[number % 10]
        if number % 3:
            async with atomic():
                book = await Book.objects.aget(pk=pk)
                await asyncio.sleep(0)
                assert await Book.objects.filter(pk=pk, title=book.title).acount() == 1
                async with atomic():
                    await Book.objects.filter(pk=pk).aupdate(price=number)
        else:
            assert (await Book.objects.select_related("author").aget(pk=pk)).author == author
            assert await Book.objects.filter(author=author).acount() == 10

    for start in range(0, 300, 30):
        await asyncio.gather(*[work(number) for number in range(start, start + 30)])
    await assert_pool_is_clean()


@MODES
async def test_isolation_level_of_one_block(pooler: PgBouncer):
    async def level() -> Any:
        return (await run_sync(query, "SHOW transaction_isolation"))[0][0]

    async with atomic(isolation_level="serializable"):
        assert await level() == "serializable"
    assert await asyncio.gather(*[level() for _ in range(12)]) == ["read committed"] * 12


@MODES
async def test_streaming_without_server_side_cursors(pooler: PgBouncer, monkeypatch: pytest.MonkeyPatch):
    settings: Any = connections.settings["default"]
    monkeypatch.setitem(settings, "DISABLE_SERVER_SIDE_CURSORS", True)
    await close_pools()
    await Tag.objects.abulk_create([Tag(label=f"{number:03}") for number in range(100)])
    labels = [f"{number:03}" for number in range(100)]
    found = [tag.label async for tag in Tag.objects.order_by("label").aiterator(chunk_size=7)]
    assert found == labels
    async with atomic():
        found = [tag.label async for tag in Tag.objects.order_by("label").aiterator(chunk_size=7)]
    assert found == labels
    await assert_pool_is_clean()


@MODES
@pytest.mark.parametrize("options", [{}, {"prepare_threshold": None}])
async def test_streaming_outside_of_blocks_at_the_same_time(
    pooler: PgBouncer, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Without the setting, too: no task gets the rows of another one's cursor."""
    settings: Any = connections.settings["default"]
    monkeypatch.setitem(settings, "OPTIONS", {**settings["OPTIONS"], **options})
    await close_pools()
    await Tag.objects.abulk_create([Tag(label=f"{number:03}") for number in range(100)])

    async def labels(start: str) -> list[str]:
        tags = Tag.objects.filter(label__startswith=start).order_by("label")
        return [tag.label async for tag in tags.aiterator(chunk_size=2)]

    starts = [f"{number:02}" for number in range(10)]
    for _ in range(3):
        found = await asyncio.gather(*[labels(start) for start in starts])
        assert found == [[f"{start}{number}" for number in range(10)] for start in starts]
    await assert_pool_is_clean()


@TRANSACTION
async def test_server_side_cursors_live_inside_of_a_block(pooler: PgBouncer):
    await Tag.objects.abulk_create([Tag(label=f"{number:03}") for number in range(100)])
    async with atomic():
        found = [tag.label async for tag in Tag.objects.order_by("label").aiterator(chunk_size=7)]
    assert len(found) == 100


@MODES
async def test_what_needs_a_session_is_refused(pooler: PgBouncer):
    with pytest.raises(NotSupportedError, match=r"listen\(\) needs a server session.*PgBouncer"):
        async with listen("news"):
            pass
    with pytest.raises(NotSupportedError, match=r"advisory_lock\(session=True\).*PgBouncer"):
        async with advisory_lock("x", session=True):
            pass
    async with atomic(), advisory_lock("x") as taken:
        assert taken
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    assert await run_sync(query, held) == [(0,)]
    await notify("news", "nobody listens")
    await assert_pool_is_clean()


@MODES
async def test_cancelling(pooler: PgBouncer):
    """PgBouncer hands the request on to the server, and the connection is as good as before."""
    for _ in range(3):
        task = asyncio.create_task(run_sync(sleep, 100))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await Tag.objects.acount() == 0
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND state = 'active'"
    assert await run_sync(query, running, ["SELECT pg_sleep%"]) == [(0,)]
    await assert_pool_is_clean()


@MODES
async def test_a_server_connection_that_dies(pooler: PgBouncer, observer: psycopg.Connection[Any]):
    pid = await run_sync(backend_pid)
    observer.execute("SELECT pg_terminate_backend(%s)", [pid])
    outcomes = await asyncio.gather(*[Tag.objects.acount() for _ in range(6)], return_exceptions=True)
    assert all(outcome == 0 or isinstance(outcome, DatabaseError) for outcome in outcomes)
    for _ in range(6):
        try:
            await Tag.objects.acount()
        except DatabaseError:
            continue
    assert await Tag.objects.acount() == 0


@TRANSACTION
async def test_the_sync_side(pooler: PgBouncer):
    """What psycopg says of it, as a check of this test's own set-up."""
    settings: Any = connections.settings["default"]
    info = make_conninfo(
        host="127.0.0.1", port=pooler.port, dbname=settings["NAME"], user="anybody", sslmode="disable"
    )
    with psycopg.connect(info, autocommit=True) as conn:
        (row,) = conn.execute("SELECT pg_backend_pid()").fetchall()
        assert row[0] != conn.info.backend_pid
