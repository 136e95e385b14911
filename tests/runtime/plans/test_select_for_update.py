"""`select_for_update()` has plans in transactions; outside of them Django refuses it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import transaction
from django.db.models import Model
from django.db.transaction import TransactionManagementError
from django.db.utils import NotSupportedError, OperationalError
from django.test import override_settings
from django.utils.functional import lazy

from tests.project.library.models import Author, Book, Note, Tag
from tests.runtime.plans.same import seen
from tests.runtime.support import sleep
from turbo_orm import AsyncQuerySet, atomic, batch, run_sync
from turbo_orm.bridge.scopes import active_scope
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")

_lazily = lazy(lambda *names: names, tuple)

#: What is locked, by which verb, and whether there is a plan of it.
LOCKS: dict[str, tuple[Callable[[Any], Any], str, bool]] = {
    "one": (lambda books: books.select_for_update().filter(pk=1), "get", True),
    "some": (lambda books: books.filter(author_id=1).select_for_update(), "list", True),
    "in order": (lambda books: books.select_for_update().order_by("title"), "first", True),
    "nowait": (lambda books: books.select_for_update(nowait=True).filter(pk=1), "get", True),
    "by position": (lambda books: books.select_for_update(False, True).filter(pk=1), "get", True),
    "skip_locked": (lambda books: books.select_for_update(skip_locked=True).order_by("pk"), "list", True),
    "no_key": (lambda books: books.select_for_update(no_key=True).order_by("pk"), "last", True),
    "of": (lambda books: books.select_related("author").select_for_update(of=("self",)), "list", True),
    "of a relation": (
        lambda books: books.select_related("author").select_for_update(of=("author",)).order_by("pk"),
        "list",
        True,
    ),
    "a list of names": (lambda books: books.select_for_update(of=["self"]).filter(pk=1), "get", True),
    "lazy names": (lambda books: books.select_for_update(of=_lazily("self")).filter(pk=1), "get", True),
    "values": (lambda books: books.select_for_update().values("title").order_by("pk"), "list", True),
    "a slice": (lambda books: books.select_for_update().order_by("pk")[:2], "list", True),
    "a queue": (
        lambda books: books.filter(author_id=1).select_for_update(skip_locked=True).order_by("pk")[1:3],
        "list",
        True,
    ),
    "a slice of a relation": (
        lambda books: books.select_related("author").select_for_update(of=("author",)).order_by("pk")[:2],
        "list",
        True,
    ),
    "of a slice": (lambda books: books.order_by("pk")[:2].select_for_update(), "list", False),
    "a slice of values": (lambda books: books.select_for_update().values("pk")[1:], "list", True),
    "a slice's first": (lambda books: books.select_for_update().order_by("pk")[:3], "first", True),
    "count": (lambda books: books.select_for_update(), "count", True),
    "exists": (lambda books: books.select_for_update().filter(pk=1), "exists", True),
    "again": (lambda books: books.select_for_update(nowait=True).select_for_update(), "list", True),
    "nothing there": (lambda books: books.select_for_update().filter(pk=-1), "first", True),
    "both ways": (lambda books: books.select_for_update(nowait=True, skip_locked=True), "list", False),
    "distinct": (lambda books: books.select_for_update().distinct(), "list", True),
    "of nothing": (lambda books: books.select_for_update(of=("nonsense",)), "list", False),
}

#: These lock nothing, or are refused in transactions, too.
WITHOUT_A_LOCK = {"count", "both ways", "of nothing", "distinct"}


def by_django(name: str) -> Any:
    make, verb, _ = LOCKS[name]
    with transaction.atomic():
        rows = make(AsyncQuerySet(Book))
        return list(rows) if verb == "list" else getattr(rows, verb)()


async def by_us(name: str) -> Any:
    make, verb, _ = LOCKS[name]
    async with atomic():
        return await getattr(make(AsyncQuerySet(Book)), f"a{verb}")()


async def outcome(call: Callable[..., Any], *args: Any) -> tuple[Any, list[str]]:
    with capture_queries() as queries:
        try:
            found = await call(*args)
        except (FieldError, ValueError, NotSupportedError) as exc:
            return (type(exc), str(exc)), []
    rows = (
        [seen(each) if isinstance(each, Model) else each for each in found]
        if isinstance(found, list)
        else found
    )
    return seen(rows) if isinstance(rows, Model) else rows, [query["sql"] for query in queries]


@pytest.mark.parametrize("name", LOCKS)
async def test_as_django(name: str) -> None:
    with override_settings(TURBO_ORM={"PLANS": False}):
        expected, statements = await outcome(run_sync, by_django, name)
    same = Verified.same
    assert await outcome(by_us, name) == (expected, statements)
    assert (Verified.same > same) is LOCKS[name][2]
    assert any("FOR " in sql for sql in statements) is (LOCKS[name][1] != "count" and bool(statements))


@pytest.mark.parametrize("name", LOCKS)
async def test_in_the_bridge(name: str) -> None:
    with override_settings(TURBO_ORM={"PLANS": False}):
        expected = await outcome(run_sync, by_django, name)
    assert await outcome(run_sync, by_django, name) == expected


async def test_a_block_needs_no_wrapper_for_it() -> None:
    async with atomic():
        author = await Author.objects.select_for_update().aget(pk=1)
        author.age = 77
        await author.asave(update_fields=["age"])
        scope = active_scope(asyncio.get_running_loop())
        assert scope is not None
        assert scope.root.wire_block is not None
        assert scope.root.wire_block.wire is not None
    assert (await Author.objects.aget(pk=1)).age == 77


@pytest.mark.parametrize("name", sorted(LOCKS.keys() - WITHOUT_A_LOCK))
async def test_outside_of_transactions(name: str) -> None:
    make, verb, _ = LOCKS[name]
    await by_us(name)  # there is a plan of it
    for _ in range(2):
        with pytest.raises(TransactionManagementError, match="outside of a transaction"):
            await getattr(make(AsyncQuerySet(Book)), f"a{verb}")()
        with pytest.raises(TransactionManagementError, match="outside of a transaction"):
            await run_sync(lambda: make(AsyncQuerySet(Book)).get())


async def test_outside_of_its_databases_transactions() -> None:
    async with atomic("other"):
        with pytest.raises(TransactionManagementError, match="outside of a transaction"):
            await Author.objects.select_for_update().aget(pk=1)
        assert await Author.objects.using("other").select_for_update().afirst() is None
    async with atomic():
        assert (await Author.objects.select_for_update().aget(pk=1)).pk == 1


async def test_after_a_block_whose_task_goes_on() -> None:
    over = asyncio.Event()

    async def later() -> None:
        await over.wait()
        await Author.objects.select_for_update().aget(pk=1)

    async with atomic():
        await Author.objects.select_for_update().aget(pk=1)
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    over.set()
    with pytest.raises(TransactionManagementError, match="outside of a transaction"):
        await task


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_whose_turn_comes_after_the_block(declared: bool, fails: bool) -> None:
    async def late() -> Any:
        return await Author.objects.select_for_update().aget(pk=1)

    async def two_late() -> Any:
        rows = AsyncQuerySet(Author).select_for_update()
        return await batch(rows.filter(pk=1).alist(), rows.filter(pk=2).alist())

    tasks = []
    with suppress(ZeroDivisionError):
        async with atomic():
            await (run_sync(Author.objects.count) if declared else Author.objects.acount())
            slow = asyncio.create_task(run_sync(sleep, 0.2))
            await asyncio.sleep(0)
            # They are told that there is a transaction, and wait for their turn in it.
            tasks = [asyncio.create_task(each()) for each in (late, two_late)]
            if fails:
                raise ZeroDivisionError
    await slow
    for task in tasks:
        with pytest.raises(TransactionManagementError, match="outside of a transaction"):
            await task


#: Writes to rows that were to be locked; Django writes a FOR UPDATE only where it asks for these rows.
WRITES: dict[str, tuple[Callable[[], Any], bool]] = {
    "update": (lambda: AsyncQuerySet(Tag).select_for_update().filter(pk=1).aupdate(label="other"), False),
    "delete": (lambda: AsyncQuerySet(Note).select_for_update().filter(pk=1).adelete(), False),
    "update by a join": (
        lambda: AsyncQuerySet(Author).select_for_update().filter(books__title="x").aupdate(age=3),
        True,
    ),
}


@pytest.mark.parametrize("name", WRITES)
async def test_writes(name: str) -> None:
    write, locks = WRITES[name]
    async with atomic():
        await write()  # there is a plan of it
    for settings in ({"PLANS": False}, {"VERIFY_PLANS": True}):
        with override_settings(TURBO_ORM=settings):
            same = Verified.same
            if locks:
                with pytest.raises(TransactionManagementError, match="outside of a transaction"):
                    await write()
            else:
                await write()
            assert (Verified.same > same) is ("VERIFY_PLANS" in settings and not locks)


@pytest.mark.parametrize("name", WRITES)
async def test_writes_whose_turn_comes_after_the_block(name: str) -> None:
    write, locks = WRITES[name]
    async with atomic():
        await write()
        slow = asyncio.create_task(run_sync(sleep, 0.2))
        await asyncio.sleep(0)
        task = asyncio.create_task(write())
    await slow
    if locks:
        with pytest.raises(TransactionManagementError, match="outside of a transaction"):
            await task
    else:
        await task


async def test_in_nested_blocks_and_tasks() -> None:
    async def locked(pk: int) -> int:
        return (await Author.objects.select_for_update().aget(pk=pk)).pk

    async with atomic():
        assert await asyncio.gather(locked(1), locked(2)) == [1, 2]
        async with atomic():
            assert await locked(1) == 1
        await run_sync(Tag.objects.count)
        assert await locked(2) == 2


async def test_rows_are_locked() -> None:
    async def nowait() -> None:
        async with atomic():
            await Author.objects.select_for_update(nowait=True).aget(pk=1)

    async def skipping() -> list[int]:
        async with atomic():
            rows = Author.objects.select_for_update(skip_locked=True).order_by("pk")
            return [author.pk async for author in rows]

    def in_another_context(call: Callable[[], Any]) -> asyncio.Task[Any]:
        return context.run(asyncio.ensure_future, call())

    context = contextvars.copy_context()
    everybody = [author.pk async for author in Author.objects.order_by("pk")]
    async with atomic():
        await Author.objects.select_for_update().aget(pk=1)
        with pytest.raises(OperationalError, match="could not obtain lock"):
            await in_another_context(nowait)
        assert await in_another_context(skipping) == [pk for pk in everybody if pk != 1]
    await nowait()


class Writes:
    """A router which sends writes elsewhere."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


async def test_it_is_a_write_to_routers() -> None:
    with override_settings(DATABASE_ROUTERS=[Writes()]):
        assert Author.objects.select_for_update().db == "default"
        async with atomic():
            for _ in range(2):
                assert (await Author.objects.select_for_update().aget(pk=1)).pk == 1
        assert await Author.objects.acount() == 0
    assert await Author.objects.acount() > 0
