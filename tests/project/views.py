"""The views `test_servers.py` requests."""

from __future__ import annotations

import asyncio

from django.db import connection
from django.http import HttpRequest, JsonResponse

from tests.project.library.models import Author
from turbo_orm import atomic, run_sync


async def authors(request: HttpRequest) -> JsonResponse:
    """Ten queries at once, then an iteration."""
    counts = await asyncio.gather(*(Author.objects.acount() for _ in range(10)))
    names = [author.name async for author in Author.objects.order_by("name").aiterator()]
    return JsonResponse({"counts": counts, "names": names})


async def write(request: HttpRequest) -> JsonResponse:
    async with atomic():
        author = await Author.objects.acreate(name=request.GET["name"])
        await author.arefresh_from_db()
    return JsonResponse({"pk": author.pk})


async def pid(request: HttpRequest) -> JsonResponse:
    """Holds a connection for a moment, and says which."""

    def query() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid() FROM pg_sleep(0.05)")
            return int(cursor.fetchone()[0])

    return JsonResponse({"pid": await run_sync(query)})


async def native(request: HttpRequest) -> JsonResponse:
    """Leaves a connection of django-async-backend open."""
    from django_async_backend.db import async_connections

    async with await async_connections["default"].cursor() as cursor:
        await cursor.execute("SELECT pg_backend_pid()")
        return JsonResponse({"pid": (await cursor.fetchone())[0]})


async def fail(request: HttpRequest) -> JsonResponse:
    async with atomic():
        await Author.objects.acreate(name="never")
        raise ValueError("on purpose")
