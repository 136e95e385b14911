from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.db import connections
from django.test import override_settings

from tests.runtime.conftest import _emptying

if TYPE_CHECKING:
    from tests.runtime.parity.data import Snapshot

# pytest may load this file before the root one has set Django up: models are imported later.


@pytest.fixture(scope="module")
def filled(janitors: list[psycopg.Connection[Any]]) -> Iterator[Snapshot]:
    """The rows of the parity tests' `fill()`, for fixtures of modules; tests have `snapshot`."""
    from tests.runtime.parity.data import Snapshot, fill

    janitors[0].execute(_emptying())
    fill()
    connections.close_all()
    snapshot = Snapshot(janitors[0], "plans")
    yield snapshot
    snapshot.drop()
    janitors[0].execute(_emptying())


@pytest.fixture
def snapshot(filled: Snapshot) -> Iterator[Snapshot]:
    """The rows of the parity tests' `fill()`; what the test wrote is undone after it."""
    yield filled
    filled.restore()


@pytest.fixture(scope="session")
def empty_tables() -> Callable[[], None]:
    """Leave the rows where they are between two tests: most of them only read."""
    return lambda: None


@pytest.fixture
async def verifying(snapshot: Snapshot) -> AsyncIterator[None]:
    """Compare each planned statement with Django's."""
    from tests.project.library.models import Tag

    await Tag.objects.acount()  # then the server's version is known
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": {"min_size": 1, "max_size": 5}}):
        yield


@pytest.fixture
def shapes(django_databases: None) -> Iterator[Any]:
    """The module, with no shape in it, on a server whose version is known; before and after."""
    import asyncio

    from tests.project.library.models import Tag
    from turbo_orm import close_pools
    from turbo_orm.bridge.readiness import server_versions
    from turbo_orm.plans import shapes

    async def connect() -> None:
        await Tag.objects.acount()
        await close_pools()

    if "default" not in server_versions:
        asyncio.run(connect())
    before = shapes.trie.at_once
    shapes.clear()
    yield shapes
    shapes.build_at_once(before)
    shapes.clear()


@pytest.fixture
def at_once(shapes: Any) -> None:
    """Plans for shapes that are seen for the first time."""
    shapes.build_at_once()


@pytest.fixture
def bridged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What goes through the bridge."""
    from turbo_orm.bridge import greenlets, run

    found: list[Any] = []
    drive = greenlets.drive

    def noting(scope: Any, function: Any, *args: Any) -> Any:
        found.append(function)
        return drive(scope, function, *args)

    monkeypatch.setattr(run, "drive", noting)
    return found
