"""``TURBO_ORM = {"MULTIPLEX": True}``: reads of all tasks on a few connections."""

from __future__ import annotations

import asyncio
import contextvars

from django.test.utils import override_settings

from tests.project.library.models import Author
from tests.runtime.support import author_names, pool
from turbo_orm import atomic, close_pools, pool_stats


@override_settings(TURBO_ORM={"MULTIPLEX": {"connections": 2, "in_flight": 200, "slow_after": 30}})
async def test_reads_of_many_tasks_share_two_connections():
    for number in range(10):
        await Author.objects.acreate(name=f"a{number}")
    for _ in range(3):
        await Author.objects.filter(name="a3").aget()
    found = await asyncio.gather(*(Author.objects.filter(name=f"a{n % 10}").aget() for n in range(200)))
    assert [author.name for author in found] == [f"a{n % 10}" for n in range(200)]
    assert pool()._nconns <= 3
    assert pool().multiplexer is not None
    assert pool_stats()["default"].pool_shared == 2
    await close_pools()


@override_settings(TURBO_ORM={"MULTIPLEX": True})
async def test_blocks_and_writes_have_connections_of_their_own():
    for _ in range(3):
        await author_names()
    async with atomic():
        await Author.objects.acreate(name="inside")
        assert await author_names() == ["inside"]
        outside = contextvars.Context().run(asyncio.ensure_future, author_names())
        assert await outside == []
    assert await author_names() == ["inside"]
    await close_pools()
