"""`aiterator()` and, in the bridge, `iterator()`: on plans, the rows as Django makes them."""

from __future__ import annotations

import gc
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from django.db import DataError, OperationalError, connections, transaction
from django.db.models import Count, F, Model, Value
from django.db.models.query import ModelIterable
from django.test import override_settings
from psycopg import ServerCursor

from tests.project.library.models import Author, Book
from tests.runtime.conftest import terminate
from tests.runtime.plans.same import seen
from tests.runtime.support import assert_pool_is_clean, backend_pid, query
from turbo_orm import AsyncQuerySet, atomic, run_sync
from turbo_orm import rows as rows_module
from turbo_orm.fetch_modes import FETCH_PEERS
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

POOL = {"min_size": 1, "max_size": 5}

pytestmark = pytest.mark.usefixtures("at_once", "verifying")


class Filtering(AsyncQuerySet):
    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, **kwargs).exclude(name="Ada")


class Odd(ModelIterable):
    def __iter__(self) -> Any:
        return (row for number, row in enumerate(super().__iter__()) if number % 2)


def _odd() -> Any:
    found = Author.objects.order_by("pk")
    found._iterable_class = Odd
    return found


def _related() -> Any:
    return Author.objects.get(name="Ada").books.order_by("pk")


#: What is iterated over, and whether it has a plan.
QUERYSETS: dict[str, tuple[Callable[[], Any], bool]] = {
    "all": (lambda: Book.objects.order_by("pk"), True),
    "nothing": (lambda: Book.objects.filter(pk=-1), True),
    "filtered": (lambda: Book.objects.filter(author__name__contains="a").order_by("pk"), True),
    "a slice": (lambda: Book.objects.order_by("pk")[1:6], True),
    "with relations": (lambda: Book.objects.select_related("author").order_by("pk"), True),
    "some fields": (lambda: Book.objects.only("title").order_by("pk"), True),
    "annotated": (lambda: Author.objects.annotate(n=Count("books")).order_by("pk"), True),
    "values": (lambda: Book.objects.values("pk", "price", "author__name").order_by("pk"), True),
    "tuples": (lambda: Book.objects.values_list("pk", "price").order_by("pk"), True),
    "one of each": (lambda: Book.objects.values_list("title", flat=True).order_by("pk"), True),
    "named": (lambda: Book.objects.values_list("pk", "title", named=True).order_by("pk"), True),
    "of an object": (_related, True),
    "with prefetches": (lambda: Book.objects.prefetch_related("tags").order_by("pk"), True),
    "a filter() of its own": (lambda: Filtering(Author).filter(pk__gt=0).order_by("pk"), True),
    "raw conditions": (lambda: Book.objects.extra(where=["id > 0"]).order_by("pk"), False),
    "none": (lambda: Book.objects.none(), True),
    "an iterable of its own": (_odd, False),
}


def whole(rows: list[Any]) -> Any:
    """Return all there is to see of *rows* but their peers, which only `aiterator()` knows of."""
    for row in rows:
        if isinstance(row, Model):
            row._state.__dict__.pop("peers", None)
    tags = [[tag.label for tag in row.tags.all()] for row in rows if _has_prefetched(row)]
    for row in rows:
        if _has_prefetched(row):
            del row._prefetched_objects_cache  # its querysets are what other tests are about
    return seen(rows), tags


def _has_prefetched(row: Any) -> bool:
    return hasattr(row, "_prefetched_objects_cache")


@pytest.mark.parametrize("name", QUERYSETS)
@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("size", [2, 3, 100])
async def test_rows_are_djangos(name: str, in_block: bool, size: int):
    make, has_plan = QUERYSETS[name]

    async def stream() -> Any:
        queryset = await run_sync(make)
        if in_block:
            async with atomic():
                return [row async for row in queryset.aiterator(size)]
        return [row async for row in queryset.aiterator(size)]

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await run_sync(whole, await stream())
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Author.objects.acount()  # then the server's version is known
        queryset = await run_sync(make)
        before = Verified.same
        [row async for row in queryset.aiterator(size)]
        assert (Verified.same > before) is has_plan
        assert await run_sync(whole, await stream()) == expected
    await assert_pool_is_clean()


@pytest.mark.parametrize("from_cursor", [False, True])
@pytest.mark.parametrize("name", ["all", "with prefetches", "values", "nothing"])
async def test_iterator_of_sync_code(name: str, from_cursor: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(connections.settings["default"], "DISABLE_SERVER_SIDE_CURSORS", not from_cursor)
    make, _ = QUERYSETS[name]

    def rows() -> Any:
        return whole(list(make().iterator(chunk_size=2)))

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await run_sync(rows)
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Author.objects.acount()
        before = Verified.same
        assert await run_sync(rows) == expected
        assert Verified.same > before
    await assert_pool_is_clean()


async def test_iterator_of_sync_code_that_stops_early():
    def first() -> Any:
        rows = Book.objects.order_by("pk").iterator(chunk_size=3)
        found = next(rows).pk
        rows.close()
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '\\_django%%'")
            return found, cursor.fetchone()

    assert await run_sync(first) == (1, (0,))


@pytest.mark.parametrize("plans", [False, True])
async def test_iterator_of_sync_code_whose_session_is_lost_before_it_ends(
    plans: bool, observer: psycopg.Connection[Any]
):
    def work() -> None:
        with transaction.atomic():
            rows = Book.objects.order_by("pk").iterator(chunk_size=1000)
            for _ in range(Book.objects.count()):
                next(rows)
            terminate(observer, backend_pid())
            with pytest.raises(OperationalError, match="terminating connection"):
                next(rows)

    with override_settings(TURBO_ORM={"PLANS": plans, "POOL": POOL}):
        with pytest.raises(OperationalError):
            await run_sync(work)
        await assert_pool_is_clean()


@pytest.mark.parametrize("plans", [False, True])
async def test_iterator_of_sync_code_that_is_dropped_in_a_block_that_was_cut(plans: bool):
    """Its cursor went with a savepoint: pytest fails what Python ignores as it drops it."""

    def work() -> None:
        rows = Book.objects.order_by("pk").iterator(chunk_size=1)
        next(rows)
        with connections["default"].cursor() as cursor:
            cursor.execute("CLOSE ALL")  # as a rollback to a savepoint does it
        connections["default"].break_block(CancelledError())
        del rows
        gc.collect()

    with override_settings(TURBO_ORM={"PLANS": plans, "POOL": POOL}):
        with pytest.raises(transaction.TransactionManagementError, match="was cancelled"):
            async with atomic():
                await run_sync(work)
        await assert_pool_is_clean()


@pytest.mark.parametrize("plans", [False, True])
async def test_the_rows_of_a_chunk_are_peers(plans: bool):
    with override_settings(TURBO_ORM={"PLANS": plans, "POOL": POOL}):
        count = await Book.objects.acount()
        with capture_queries() as queries:
            async for book in Book.objects.order_by("pk").aiterator(chunk_size=3):
                await book.afetch("author")
    fetches = [each["sql"] for each in queries if 'FROM "library_author"' in each["sql"]]
    assert len(fetches) == -(-count // 3) > 1


async def test_all_rows_are_peers_where_the_fetch_mode_says_so():
    rows = [row async for row in Book.objects.order_by("pk").fetch_mode(FETCH_PEERS).aiterator(chunk_size=2)]
    assert [peer() for peer in rows[-1]._state.peers] == rows


@pytest.mark.parametrize("size", [3, 1000])
async def test_the_connection_is_back_before_the_last_rows_are_used(size: int):
    last = (await Book.objects.order_by("pk").alast()).pk
    async for book in Book.objects.order_by("pk").aiterator(chunk_size=size):
        if book.pk == last:
            await assert_pool_is_clean()
            break
    else:
        pytest.fail("the last row did not come")


@pytest.mark.parametrize("in_block", [False, True])
async def test_chunks_come_over_the_wire(in_block: bool, monkeypatch: pytest.MonkeyPatch):
    """As other rows do: those of large chunks with texts that become values later."""
    author = await Author.objects.acreate(name="Of many")
    await Book.objects.abulk_create(
        [Book(title=f"{number:02}", author=author, price=number) for number in range(25)]
    )
    books = Book.objects.filter(author=author).select_related("author").order_by("pk")
    expected = await run_sync(whole, await books.alist())
    monkeypatch.setattr(ServerCursor, "execute", None)
    monkeypatch.setattr(ServerCursor, "fetchmany", None)
    async with atomic() if in_block else nullcontext():
        for size in (1, 12, 25, 100):
            assert await run_sync(whole, [row async for row in books.all().aiterator(size)]) == expected
    await assert_pool_is_clean()


async def test_a_statement_the_server_refuses():
    queryset = Book.objects.order_by("pk")
    expected = await run_sync(whole, await queryset.alist())
    bound = queryset.all()._bound("list")
    assert bound is not None
    bound.statement.refused = True
    assert await run_sync(whole, [row async for row in queryset.all().aiterator(2)]) == expected
    async with atomic():
        assert await run_sync(whole, [row async for row in queryset.all().aiterator(2)]) == expected


@pytest.mark.parametrize("meanwhile", ["somebody watches", "the block is marked"])
async def test_it_goes_on_without_the_wire(meanwhile: str):
    queryset = Book.objects.order_by("pk")
    expected = await run_sync(whole, await queryset.alist())
    async with atomic():
        rows = queryset.all().aiterator(2)
        found = [await rows.__anext__()]
        if meanwhile == "somebody watches":
            with capture_queries() as queries:
                found += [row async for row in rows]
            assert not [each for each in queries if "FETCH" in each["sql"]], "as in Django"
        else:
            await run_sync(transaction.set_rollback, True)
            found += [row async for row in rows]
            await run_sync(transaction.set_rollback, False)
        assert await run_sync(whole, found) == expected
        assert await run_sync(query, "SELECT name FROM pg_cursors") == []
    await assert_pool_is_clean()


async def test_rows_that_wait_for_locks_take_djangos_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows_module, "_stream", None)
    async with atomic():
        rows = [row.pk async for row in Author.objects.order_by("pk").select_for_update().aiterator(2)]
    assert rows == await Author.objects.order_by("pk").values_list("pk", flat=True).alist()


async def test_prefetches_that_are_taken_back():
    queryset = Book.objects.order_by("pk").prefetch_related("tags").prefetch_related(None)
    assert queryset._planned is not None
    with capture_queries() as queries:
        rows = [row async for row in queryset.aiterator()]
    assert not any(_has_prefetched(row) for row in rows)
    assert not any("library_tag" in each["sql"] for each in queries)


async def test_an_error_of_the_query():
    broken = Book.objects.filter(pk__gt=0).annotate(bad=Value(1) / (F("pk") - F("pk"))).order_by("pk")
    for _ in range(3):
        with pytest.raises(DataError, match="division by zero"):
            await broken.aiterator(2).__anext__()
        await assert_pool_is_clean()
    async with atomic():
        with pytest.raises(DataError, match="division by zero"):
            async with atomic():
                await broken.aiterator(2).__anext__()
        assert await Book.objects.aexists()
