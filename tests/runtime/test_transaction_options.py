"""Isolation, read only, deferrable, retry, and ATOMIC_REQUESTS."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction
from django.db import InternalError, OperationalError, connections, transaction
from django.http import HttpResponse
from django.test import AsyncRequestFactory, override_settings
from django.views import View

from tests.project.library.models import Author
from tests.runtime.support import assert_pool_is_clean, query
from turbo_orm import atomic, run_sync
from turbo_orm.retry import is_worth_retrying


async def shown() -> tuple[str, ...]:
    names = ("transaction_isolation", "transaction_read_only", "transaction_deferrable")
    return tuple([(await run_sync(query, f"SHOW {name}"))[0][0] for name in names])


async def test_characteristics():
    async with atomic(isolation_level="serializable", read_only=True, deferrable=True):
        assert await shown() == ("serializable", "on", "on")
    async with atomic(isolation_level=psycopg.IsolationLevel.REPEATABLE_READ):
        assert await shown() == ("repeatable read", "off", "off")
        async with atomic():
            assert await shown() == ("repeatable read", "off", "off")
    async with atomic():
        assert await shown() == ("read committed", "off", "off")
    await assert_pool_is_clean()


async def test_they_end_with_the_block_inside_a_longer_operation():
    def work() -> None:
        async def block() -> None:
            async with atomic(read_only=True):
                assert (await shown())[1] == "on"

        async_to_sync(block)()
        Author.objects.create(name="written after")

    await run_sync(work)
    assert await Author.objects.acount() == 1


async def test_what_the_settings_say_comes_back_with_the_end(monkeypatch: pytest.MonkeyPatch):
    repeatable = psycopg.IsolationLevel.REPEATABLE_READ
    options = {**connections.settings["default"]["OPTIONS"], "isolation_level": repeatable}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)

    def work() -> list[str]:
        Author.objects.count()  # the connection is the operation's from here on
        return [async_to_sync(level)(given) for given in ("serializable", None)]

    async def level(given: str | None) -> str:
        async with atomic(isolation_level=given):
            return (await shown())[0]

    assert await run_sync(work) == ["serializable", "repeatable read"]


async def test_read_only_refuses_to_write():
    with pytest.raises(InternalError, match="read-only"):
        async with atomic(read_only=True):
            await Author.objects.acreate(name="x")


async def test_only_for_the_outermost_block():
    async with atomic():
        with pytest.raises(transaction.TransactionManagementError, match=r"isolation_level.*outermost"):
            async with atomic(isolation_level="serializable"):
                pass
        await Author.objects.acreate(name="still fine")
    assert await Author.objects.acount() == 1


def test_unknown_isolation_level():
    with pytest.raises(ValueError, match="'repeatable read'"):
        atomic(isolation_level="repeatable")


async def test_retry_after_a_serialization_failure():
    author = await Author.objects.acreate(name="x", age=0)
    attempts = []
    both_have_read = asyncio.Event()

    @atomic(isolation_level="serializable", retry=10)
    async def increment() -> int:
        attempts.append(1)
        found = await Author.objects.aget(pk=author.pk)
        if len(attempts) == 2:
            both_have_read.set()
        await both_have_read.wait()
        found.age += 1
        await found.asave()
        return found.age

    assert sorted(await asyncio.gather(increment(), increment())) == [1, 2]
    assert len(attempts) > 2
    assert (await Author.objects.aget(pk=author.pk)).age == 2
    await assert_pool_is_clean()


async def test_retry_after_a_deadlock():
    first, second = [await Author.objects.acreate(name=name, age=0) for name in "ab"]
    attempts = []
    both = asyncio.Event()

    @atomic(retry=10)
    async def update(one: Author, other: Author) -> None:
        attempts.append(1)
        await Author.objects.filter(pk=one.pk).aupdate(age=1)
        if len(attempts) == 2:
            both.set()
        await both.wait()
        await Author.objects.filter(pk=other.pk).aupdate(age=2)

    await asyncio.gather(update(first, second), update(second, first))
    assert len(attempts) > 2
    await assert_pool_is_clean()


async def test_retry_gives_up():
    attempts = []

    @atomic(retry=2)
    async def fail() -> None:
        attempts.append(1)
        await run_sync(_raise_serialization_failure)

    with pytest.raises(OperationalError):
        await fail()
    assert len(attempts) == 3


async def test_retry_is_for_these_errors_only():
    attempts = []

    @atomic(retry=5)
    async def fail() -> None:
        attempts.append(1)
        raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert len(attempts) == 1


async def test_no_retry_inside_a_block():
    attempts = []

    @atomic(retry=5)
    async def fail() -> None:
        attempts.append(1)
        await run_sync(_raise_serialization_failure)

    with pytest.raises(OperationalError):
        async with atomic():
            await fail()
    assert len(attempts) == 1


async def test_retry_needs_a_function():
    with pytest.raises(TypeError, match="decorate"):
        async with atomic(retry=1):
            pass


def _raise_serialization_failure() -> None:
    query("DO $$BEGIN RAISE EXCEPTION 'rivals' USING ERRCODE = '40001'; END$$")


def test_worth_retrying():
    assert is_worth_retrying(psycopg.errors.DeadlockDetected())
    assert not is_worth_retrying(psycopg.errors.UniqueViolation())
    assert not is_worth_retrying(LookupError())


@pytest.fixture
def atomic_requests(monkeypatch):
    from django.db import connections

    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    # Django before 5 shows the failed frame to its mail handler, and with it runs the querysets there.
    monkeypatch.setattr(logging.getLogger("django.request"), "disabled", True)
    with override_settings(ROOT_URLCONF=__name__):
        yield
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = False


async def view(request):
    await Author.objects.acreate(name="by a view")
    if "fail" in request.GET:
        raise LookupError
    return HttpResponse(str((await run_sync(_in_block), 1)[0]))


@transaction.non_atomic_requests
async def non_atomic_view(request):
    return HttpResponse(str(await run_sync(_in_block)))


async def refusing_view(request):
    """As Django REST framework's exception handler does, in async code."""
    from django.db import connections

    await Author.objects.acreate(name="by a view")
    for each in connections.all(initialized_only=True):
        if each.settings_dict["ATOMIC_REQUESTS"] and each.in_atomic_block:
            each.set_rollback(True)
    return HttpResponse("refused", status=400)


class ClassBasedView(View):
    async def get(self, request):
        return HttpResponse(str(await run_sync(_in_block)))


def _in_block() -> bool:
    from django.db import connection

    return connection.in_atomic_block


def _urlpatterns():
    from django.urls import path

    return [
        path("", view),
        path("non-atomic", non_atomic_view),
        path("refusing", refusing_view),
        path("class", ClassBasedView.as_view()),
    ]


urlpatterns = _urlpatterns()


@pytest.mark.threads  # Django's handler runs its sync parts in one
async def test_async_views_under_atomic_requests(atomic_requests):
    from django.core.handlers.asgi import ASGIHandler

    handler = ASGIHandler()
    make = AsyncRequestFactory()
    assert (await handler.get_response_async(make.get("/"))).content == b"True"
    assert await Author.objects.acount() == 1
    response = await handler.get_response_async(make.get("/?fail"))
    assert response.status_code == 500
    assert await Author.objects.acount() == 1
    assert (await handler.get_response_async(make.get("/non-atomic"))).content == b"False"
    assert (await handler.get_response_async(make.get("/class"))).content == b"True"


@pytest.mark.threads  # Django's handler runs its sync parts in one
async def test_a_response_that_rolls_back(atomic_requests):
    from django.core.handlers.asgi import ASGIHandler

    response = await ASGIHandler().get_response_async(AsyncRequestFactory().get("/refusing"))
    assert response.status_code == 400
    assert await Author.objects.acount() == 0


async def test_atomic_decorates_what_is_marked_as_async():
    @atomic
    @markcoroutinefunction
    def marked() -> Any:
        return run_sync(_in_block)

    assert await marked() is True
