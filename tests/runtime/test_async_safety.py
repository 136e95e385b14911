"""A sync method that is called in async code: the error names its async twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import Group
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import AsyncRequestFactory
from django.utils.functional import SimpleLazyObject

from tests.project.library.models import Author, Book, Shouter, Tag
from turbo_orm.errors import NotLoadedError, SyncCallError

ADA = Author(pk=1, name="Ada")
BOOK = Book(pk=1, author=ADA, title="Algebra")


def _within_code_of_the_project() -> None:
    ADA.save()


def first_group(name: str) -> Any:
    return Group.objects.get(name=name)


async def afirst_group(name: str) -> Any:
    return await Group.objects.aget(name=name)


#: What is called, and what the error says of it.
CALLS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "count": (lambda: Author.objects.count(), "AsyncQuerySet.count() of Author", "await queryset.acount()"),
    "get": (lambda: Author.objects.get(pk=1), "AsyncQuerySet.get() of Author", "await queryset.aget()"),
    "first": (lambda: Author.objects.first(), "AsyncQuerySet.first() of Author", "await queryset.afirst()"),
    "exists": (
        lambda: Author.objects.filter(pk=1).exists(),
        "exists() of Author",
        "await queryset.aexists()",
    ),
    "latest": (lambda: Book.objects.latest(), "BookQuerySet.latest() of Book", "await queryset.alatest()"),
    "create": (lambda: Author.objects.create(name="x"), "create() of Author", "await queryset.acreate()"),
    "update": (lambda: Author.objects.update(age=1), "update() of Author", "await queryset.aupdate()"),
    "delete": (lambda: Author.objects.all().delete(), "delete() of Author", "await queryset.adelete()"),
    "in_bulk": (lambda: Author.objects.in_bulk([1]), "in_bulk() of Author", "await queryset.ain_bulk()"),
    "bulk_create": (
        lambda: Tag.objects.bulk_create([Tag()]),
        "bulk_create() of Tag",
        "await queryset.abulk_create()",
    ),
    "get_or_create": (
        lambda: Author.objects.get_or_create(name="x"),
        "get_or_create() of Author",
        "await queryset.aget_or_create()",
    ),
    "iterator": (
        lambda: next(Author.objects.iterator()),
        "AsyncQuerySet.iterator() of Author",
        "async for row in queryset.aiterator():",
    ),
    "save": (lambda: ADA.save(), "Author.save()", "await author.asave()"),
    "save, of its own": (lambda: Shouter(name="x").save(), "Shouter.save()", "await shouter.asave()"),
    "save, further in": (_within_code_of_the_project, "Author.save()", "await author.asave()"),
    "delete an object": (lambda: ADA.delete(), "Author.delete()", "await author.adelete()"),
    "refresh": (lambda: ADA.refresh_from_db(), "Author.refresh_from_db()", "await author.arefresh_from_db()"),
    "validate": (lambda: ADA.full_clean(), "Author.full_clean()", "await author.afull_clean()"),
    "add": (lambda: BOOK.tags.add(1), "ManyRelatedManager.add() of Tag", "await manager.aadd()"),
    "set": (lambda: BOOK.tags.set([1]), "ManyRelatedManager.set() of Tag", "await manager.aset()"),
    "create, related": (
        lambda: ADA.books.create(title="x"),
        "RelatedManager.create() of Book",
        "await manager.acreate()",
    ),
    "a function": (lambda: first_group("x"), f"{__name__}.first_group()", "await afirst_group()"),
    "begin a block": (
        lambda: transaction.atomic().__enter__(),
        "transaction.atomic()",
        "async with turbo_orm.atomic():",
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_the_error_names_the_twin(name: str):
    call, called, instead = CALLS[name]
    with pytest.raises(SynchronousOnlyOperation) as caught:
        call()
    assert type(caught.value) is SyncCallError
    assert f"{called} would block the event loop" in str(caught.value)
    assert f"Use `{instead}`" in str(caught.value)
    assert "run_sync" in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: list(Author.objects.all()),
        lambda: len(Author.objects.all()),
        lambda: list(Author.objects.raw("SELECT * FROM library_author")),
        lambda: Author.objects.raw("SELECT * FROM library_author")[0],
        lambda: BOOK.editor,
        lambda: [*BOOK.tags.all()],
    ],
)
async def test_what_is_not_loaded_says_so(call: Callable[[], Any]):
    BOOK.editor_id = 1
    with pytest.raises(NotLoadedError):
        call()


@pytest.mark.skipif(django.VERSION < (5, 1), reason="sessions have async methods since Django 5.1")
@pytest.mark.parametrize(
    ("call", "called", "instead"),
    [
        (lambda request: str(request.user), "request.user", "await request.auser()"),
        (lambda request: request.session.get("x"), "request.session.get()", "await request.session.aget()"),
        (lambda request: request.session["x"], "request.session.get()", "await request.session.aget()"),
        (lambda request: "x" in request.session, "has_key()", "await request.session.ahas_key()"),
        (lambda request: request.session.save(), "save()", "await request.session.asave()"),
    ],
)
async def test_what_the_middleware_gives_a_request(call: Callable[[Any], Any], called: str, instead: str):
    request = AsyncRequestFactory().get("/", headers={"cookie": f"{settings.SESSION_COOKIE_NAME}=abcdefgh"})
    SessionMiddleware(lambda request: HttpResponse()).process_request(request)
    AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    with pytest.raises(SyncCallError) as caught:
        call(request)
    assert f"{called} would block the event loop" in str(caught.value)
    assert f"Use `{instead}`" in str(caught.value)


async def test_a_lazy_object_is_not_asked_what_it_stands_for():
    """As `request.user` is one: to look at it is the query that is refused."""
    asked: list[object] = []

    def load() -> Author:
        asked.append(None)
        return Author.objects.get(pk=1)

    with pytest.raises(SyncCallError, match=r"AsyncQuerySet\.get"):
        str(SimpleLazyObject(load))
    assert len(asked) == 1


@pytest.mark.parametrize("call", [lambda: Group.objects.count(), lambda: connection.cursor()])
async def test_others_have_djangos_message_and_the_way_out(call: Callable[[], Any]):
    with pytest.raises(SynchronousOnlyOperation, match="use a thread or sync_to_async") as caught:
        call()
    assert type(caught.value) is SynchronousOnlyOperation
    assert "`await run_sync(function)`" in str(caught.value)
