"""Related managers in a block on the wire: what they ask its connection costs no wrapper."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import connections, router

from tests.project.library.models import Author, Book
from tests.runtime.parity.data import Snapshot
from turbo_orm import atomic
from turbo_orm.bridge.scopes import active_scope

pytestmark = pytest.mark.usefixtures("at_once", "verifying")


def on_the_wire() -> bool:
    scope = active_scope(asyncio.get_running_loop())
    return scope is not None and scope.root.wire_block is not None


async def test_the_block_stays_on_the_wire(snapshot: Snapshot):
    async with atomic():
        author, book = await Author.objects.aget(pk=2), await Book.objects.aget(pk=1)
        assert [found.pk async for found in author.edited.order_by("pk")] == [1, 3]
        assert await author.edited.acount() == 2
        assert await book.tags.acount() == 2
        await author.edited.aset([book])
        await author.edited.acreate(title="New", author=author)
        await book.tags.aclear()
        assert on_the_wire()
    assert await author.edited.acount() == 2
    assert not await book.tags.aexists()


@pytest.mark.parametrize("in_block", [False, True])
async def test_who_asks_for_more_gets_it(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, in_block: bool):
    seen: list[Any] = []

    class Router:
        def db_for_read(self, model: Any, **hints: Any) -> str:
            connection: Any = connections["default"]
            seen.append((connection.in_atomic_block, connection.features.has_select_for_update))
            connection.seen_by_router = connection.alias
            return "default"

    author = await Author.objects.aget(pk=2)
    monkeypatch.setattr(router, "routers", [Router()])
    if not in_block:
        assert await author.edited.acount() == 2
    else:
        async with atomic():
            await Author.objects.acreate(name="New")
            assert await author.edited.acount() == 2
            assert connections["default"].seen_by_router == "default"  # type: ignore[attr-defined]
    assert set(seen) == {(in_block, True)}
