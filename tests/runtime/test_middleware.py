"""`InBridge`: Django's middleware on the async connection, without a thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.template.response import SimpleTemplateResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin

from tests.project.library.models import Tag
from turbo_orm import run_sync
from turbo_orm.middleware import InBridge
from turbo_orm.testing import capture_queries

seen: list[tuple[str, int]] = []


def note(where: str) -> None:
    seen.append((where, threading.get_ident()))


class Noting(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        note(f"request {Tag.objects.count()}")
        return HttpResponse("early") if "early" in request.GET else None

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        note(f"view {Tag.objects.count()}")

    def process_template_response(self, request: HttpRequest, response: Any) -> Any:
        note(f"template {Tag.objects.count()}")
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        note("exception")
        return HttpResponse(str(exception))

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        note(f"response {Tag.objects.count()}")
        return response


class Bridged(InBridge, Noting):
    pass


class Sessions(InBridge, SessionMiddleware):
    pass


class Users(InBridge, AuthenticationMiddleware):
    pass


class Languages(InBridge, LocaleMiddleware):
    pass


async def view(request: HttpRequest) -> HttpResponse:
    if "fail" in request.GET:
        raise LookupError("lost")
    return SimpleTemplateResponse("none.html") if "template" in request.GET else HttpResponse("ok")


async def visit(request: Any) -> HttpResponse:
    request.session.update({"visits": 1})
    return HttpResponse("ok")


async def language(request: HttpRequest) -> HttpResponse:
    return HttpResponse(translation.get_language())


def sync_view(request: Any) -> HttpResponse:
    if "visit" in request.GET:
        request.session["visits"] = 2
    return HttpResponse("ok")


urlpatterns = [path("", view), path("visit", visit), path("language", language), path("sync", sync_view)]

bridged = override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[f"{__name__}.Bridged"])


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@pytest.mark.parametrize(
    ("query", "expected", "answer"),
    [
        ("", ["request 0", "view 0", "response 0"], b"ok"),
        ("?early", ["request 0", "response 0"], b"early"),
    ],
)
@pytest.mark.threads  # Django's own, for signals of requests
async def test_methods_run_in_the_thread_of_the_event_loop(query: str, expected: list[str], answer: bytes):
    with bridged:
        response = await AsyncClient().get(f"/{query}")
    assert response.content == answer
    assert seen == [(where, threading.get_ident()) for where in expected]


@pytest.mark.threads
async def test_exceptions_are_djangos():
    with bridged:
        response = await AsyncClient().get("/?fail")
    assert response.content == b"lost"
    assert [where for where, _ in seen] == ["request 0", "view 0", "exception", "response 0"]


@pytest.mark.threads
async def test_template_responses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "shown")
    with bridged:
        response = await AsyncClient().get("/?template")
    assert response.content == b"shown"
    assert ("template 0", threading.get_ident()) in seen


def test_sync_requests_are_djangos():
    with bridged:
        response = Client().get("/sync")
    assert response.content == b"ok"
    assert [where for where, _ in seen] == ["request 0", "view 0", "response 0"]


@pytest.mark.threads
@pytest.mark.parametrize(("address", "visits"), [("/visit", 1), ("/sync?visit", 2)])
async def test_sessions_are_saved_on_the_async_connection(address: str, visits: int):
    names = [f"{__name__}.{name}" for name in ("Sessions", "Users")]
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=names), capture_queries() as queries:
        response = await AsyncClient().get(address)
    [kept] = await run_sync(list, Session.objects.all())
    assert response.cookies["sessionid"].value == kept.pk
    assert kept.get_decoded() == {"visits": visits}
    assert any(each["sql"].startswith("INSERT") for each in queries)
    await run_sync(SessionStore(kept.pk).delete)


@pytest.mark.threads
async def test_what_methods_activate_is_the_requests_own():
    async def ask(name: str) -> str:
        response = await AsyncClient().get("/language", headers={"accept-language": name})
        return response.content.decode()

    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[f"{__name__}.Languages"], USE_I18N=True):
        found = await asyncio.gather(*(ask(name) for name in ("de", "fr", "de", "nl")))
    assert found == ["de", "fr", "de", "nl"]


def test_what_has_a_way_of_its_own_is_refused():
    class Own(MiddlewareMixin):
        async def __acall__(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

    with pytest.raises(TypeError, match=r"Both would not call __acall__\(\) of Own"):
        type("Both", (InBridge, Own), {})

    def plain(self: Any, request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    with pytest.raises(TypeError, match=r"Both would not call __call__\(\) of Plain"):
        type("Both", (InBridge, type("Plain", (), {"__call__": plain})), {})
