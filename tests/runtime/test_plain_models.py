"""Models without an AsyncManager: their a-methods are Django's, and take part in our blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connections
from django.db.models import F
from django.test.utils import isolate_apps
from django.utils import timezone

from tests.project.library.models import Author, Plain
from turbo_orm import AsyncManager, atomic, run_sync
from turbo_orm.testing import capture_queries


def names() -> list[str]:
    return sorted(Plain.objects.values_list("name", flat=True))


async def created() -> Any:
    made = await Plain.objects.acreate(name="a")
    return made.name, await Plain.objects.acount()


async def saved() -> Any:
    plain = Plain(name="a")
    await plain.asave()
    await Plain.objects.filter(name="a").aupdate(name="b")
    await plain.arefresh_from_db()
    return plain.name


async def read() -> Any:
    await run_sync(Plain.objects.bulk_create, [Plain(name="a"), Plain(name="b")])
    rows = Plain.objects.order_by("name")
    found = (
        [each.name async for each in rows],
        await rows.values_list("name", flat=True).afirst(),
        (await rows.aget(name="b")).name,
        await rows.aexists(),
        (await rows.aget_or_create(name="b"))[1],
        (await rows.aupdate_or_create(name="c"))[1],
    )
    return found, await rows.adelete()


async def in_bulk() -> Any:
    await Plain.objects.abulk_create([Plain(name="a"), Plain(name="b")])
    rows = [each async for each in Plain.objects.all()]
    for row in rows:
        row.name += "!"
    return await Plain.objects.abulk_update(rows, ["name"]), await run_sync(names)


async def related() -> Any:
    author = await Author.objects.acreate(name="x")
    plain = await author.plains.acreate(name="a")
    await plain.fans.aadd(author)
    before = [fan.name async for fan in plain.fans.all()]
    await plain.fans.aset([])
    return before, await plain.fans.acount(), await author.plains.filter(name=F("name")).acount()


async def gathered() -> Any:
    await asyncio.gather(*(Plain.objects.acreate(name=f"{number}") for number in range(5)))
    return await run_sync(names)


@pytest.mark.parametrize("operation", [created, saved, read, in_bulk, related, gathered])
async def test_takes_part_in_a_block(operation: Callable[[], Awaitable[Any]]):
    """No thread is started, the rows are seen and go with the block."""

    async def in_block() -> Any:
        async with atomic():
            await operation()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_block()
    assert await run_sync(names) == []
    async with atomic():
        found = await operation()
        async with atomic():
            pass
    assert found is not None
    assert (await run_sync(names) == []) is (operation is read)  # which deletes them


async def test_errors_are_those_of_the_block():
    async with atomic():
        with pytest.raises(IntegrityError):
            async with atomic():
                plain = await Plain.objects.acreate(name="lost")
                await Plain.objects.acreate(pk=plain.pk, name="twice")
        await Plain.objects.acreate(name="kept")
    assert await run_sync(names) == ["kept"]


async def test_the_database_that_a_call_names():
    with pytest.raises(ZeroDivisionError):
        async with atomic(using="other"):
            plain = Plain(name="lost")
            await plain.asave(using="other")
            await plain.arefresh_from_db(using="other")
            raise ZeroDivisionError
    assert await run_sync(Plain.objects.using("other").count) == 0


@pytest.mark.threads
async def test_outside_of_a_block_they_are_djangos():
    try:
        made = await Plain.objects.acreate(name="a")
        async with atomic(using="other"):  # another database
            await Plain.objects.acreate(name="b")
            await Plain.objects.using("other").acreate(name="other")
        assert [each.name async for each in Plain.objects.order_by("name")] == ["a", "b"]
        assert await run_sync(Plain.objects.using("other").count) == 1
        await made.adelete()
    finally:
        await sync_to_async(connections.close_all)()


@pytest.mark.threads
async def test_what_a_project_calls_in_a_thread_stays_there(monkeypatch: pytest.MonkeyPatch):
    """`sync_to_async(book.as_pdf)` blocks: it has no async twin."""

    def thread(self: Any) -> int:
        return threading.get_ident()

    def uthor(self: Any) -> int:  # there is a field `author`
        return threading.get_ident()

    monkeypatch.setattr(Plain, "thread", thread, raising=False)
    monkeypatch.setattr(Plain, "uthor", uthor, raising=False)
    plain: Any = Plain()
    async with atomic():
        assert await sync_to_async(plain.thread)() != threading.get_ident()
        assert await sync_to_async(plain.uthor)() != threading.get_ident()
        assert await sync_to_async(threading.get_ident)() != threading.get_ident()


@pytest.mark.skipif(not hasattr(SessionStore, "asave"), reason="sessions have a-methods from Django 5.1 on")
async def test_sessions_are_saved_in_the_block():
    """`asave()` runs a function of its own in a thread, which would wait for the block's rows for ever."""
    kept, dropped = SessionStore(), SessionStore()
    await run_sync(kept.save)
    with pytest.raises(ZeroDivisionError):
        async with atomic():
            await dropped.asave()
            raise ZeroDivisionError

    async def renew() -> None:
        async with atomic():
            await Session.objects.filter(pk=kept.session_key).aupdate(expire_date=timezone.now())
            await kept.aset("answer", 42)
            await kept.asave()

    await asyncio.wait_for(renew(), 10)
    [found] = await run_sync(list, Session.objects.all())
    assert (found.pk, found.get_decoded()) == (kept.session_key, {"answer": 42})
    await run_sync(kept.delete)


@pytest.mark.skipif(not hasattr(SessionStore, "asave"), reason="sessions have a-methods from Django 5.1 on")
@isolate_apps("tests.project.library")
async def test_sessions_with_an_async_manager_need_no_thread(monkeypatch: pytest.MonkeyPatch):
    """Of a model of the project's, or by a facade of the package's: `asave()` outside of a block too."""

    class Managed(Session):
        objects = AsyncManager()

        class Meta:
            app_label = "library"
            proxy = True

    monkeypatch.setattr(SessionStore, "get_model_class", classmethod(lambda cls: Managed))
    store = SessionStore()
    await store.aset("answer", 42)
    with capture_queries() as queries:
        await store.asave()
        await store.aset("answer", 43)
        await store.asave()
        await store.asave()
    verbs = [each["sql"].split(maxsplit=1)[0] for each in queries]
    assert [verb for verb in verbs if verb in ("INSERT", "UPDATE")] == ["INSERT", "UPDATE", "UPDATE"]
    assert await SessionStore(store.session_key).aget("answer") == 43
    gone = SessionStore(store.session_key)
    await gone.aset("answer", 44)
    await store.adelete()
    with pytest.raises(UpdateError):
        await gone.asave()
    await store.asave(must_create=True)
    with pytest.raises(CreateError):
        await store.asave(must_create=True)
    await store.adelete()
