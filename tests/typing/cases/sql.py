"""What is beside querysets: transactions, cursors, COPY, notifications, locks, run_sync(), tests."""

from collections.abc import Awaitable, Callable
from typing import Any

from psycopg import IsolationLevel, Notify
from shop.turbo import Book
from typing_extensions import assert_type

from turbo_orm import (
    ExecutedStatement,
    PoolStats,
    advisory_lock,
    aprefetch_related_objects,
    atomic,
    close_pools,
    cursor,
    listen,
    notify,
    on_commit,
    open_pools,
    pool_stats,
    run_sync,
)
from turbo_orm.testing import assert_num_queries, capture_queries


@atomic
async def plain(number: int) -> str:
    return str(number)


@atomic(isolation_level="serializable", read_only=True, deferrable=True, retry=3)
async def retried(number: int, *, text: str = "") -> Book | None:
    return await Book.objects.filter(pk=number, title=text).afirst()


def sync(number: int, text: str = "") -> list[str]:
    return [text] * number


def observe(executed: ExecutedStatement) -> None:
    assert_type(executed.sql, str)
    assert_type(executed.end_time - executed.start_time, int)
    assert_type(executed.error, BaseException | None)
    executed.sql = "x"  # E: misc
    print(executed.duration)  # E: attr-defined


async def right(books: list[Book]) -> None:
    async with atomic(using="other", savepoint=False), atomic(durable=True):
        await on_commit(lambda: print("done"), robust=True)
    async with atomic(isolation_level=IsolationLevel.REPEATABLE_READ):
        assert_type(await plain(1), str)
        assert_type(await retried(1, text="x"), Book | None)
    handler: Callable[[int], Awaitable[str]] = plain
    assert_type(await run_sync(sync, 1, text="x"), list[str])
    assert_type(await run_sync(Book.objects.count), int)
    async with cursor("other") as opened:
        await (await opened.execute("SELECT %s", [1])).fetchone()
        await opened.executemany("SELECT %(x)s", [{"x": 1}])
        assert_type(await opened.fetchall(), list[Any])
        assert_type(opened.rowcount, int)
        assert_type(await opened.copy_in("COPY a FROM STDIN", [(1, "x")], types=["int4", "text"]), int)
        async for row in opened.copy_out("COPY a TO STDOUT", types=["int4", 25]):
            assert_type(row, tuple[Any, ...])
        async for block in opened.copy_out("COPY a TO STDOUT", raw=True):
            assert_type(block, bytes)
    async for notification in listen("one", "two", using="other"):
        assert_type(notification, Notify)
    async with listen("one") as notifications:
        assert_type(await anext(notifications), Notify)
    await notify("one", "payload")
    async with advisory_lock("name", shared=True, wait=False) as taken, advisory_lock((1, 2), session=True):
        assert_type(taken, bool)
    await aprefetch_related_objects(books, "tags", "author__profile")
    await open_pools("default")
    assert_type(pool_stats(), dict[str, PoolStats])
    assert_type(pool_stats()["default"].requests_waiting, int)
    await close_pools()
    with capture_queries() as queries, assert_num_queries(2, using="other"):
        assert_type(queries, list[dict[str, str]])
    print(handler)


async def wrong() -> None:
    await plain("x")  # E: arg-type
    await retried(1, texts="x")  # E: call-arg
    number: int = await plain(1)  # E: assignment
    atomic(sync)  # E: arg-type
    atomic(isolation="serializable")  # E: call-overload
    atomic(retry="3")  # E: call-overload
    with atomic():  # E: attr-defined
        pass
    await run_sync(sync, "x")  # E: arg-type
    await run_sync(sync, 1, txt="x")  # E: call-arg
    (await run_sync(sync, 1)).titel  # E: attr-defined
    await cursor()  # E: misc
    async with cursor() as opened:
        opened.execute("SELECT 1").fetchone()  # E: attr-defined
        opened.copy_out("COPY a TO STDOUT", raw=True, types=[25])  # E: call-overload
        await opened.copy_in("COPY a FROM STDIN", 3)  # E: arg-type
    async for notification in listen(3):  # E: arg-type
        notification.payloads  # E: attr-defined
    async with advisory_lock(1.5):  # E: arg-type
        pass
    await notify("one", payload=3)  # E: arg-type
    await on_commit(sync)  # E: arg-type
    print(number)
