from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings

from tests.runtime.conftest import _emptying

if TYPE_CHECKING:
    from tests.runtime.parity.data import Snapshot

# pytest may load this file before the root one has set Django up: models are imported later.


@pytest.fixture(scope="session")
def snapshot(janitors: list[psycopg.Connection[Any]]) -> Iterator[Snapshot]:
    """The rows of `data.fill()`, to be restored before each run of a case."""
    from tests.runtime.parity.data import Snapshot, fill

    fill()
    connections.close_all()
    snapshot = Snapshot(janitors[0])
    yield snapshot
    snapshot.drop()


@pytest.fixture(scope="session")
def empty_tables() -> Callable[[], None]:
    """Leave the rows where they are between two cases: most of them only read."""
    return lambda: None


@pytest.fixture(scope="module", autouse=True)
def _empty_afterwards(janitors: list[psycopg.Connection[Any]]) -> Iterator[None]:
    yield
    janitors[0].execute(_emptying())


@pytest.fixture
def verified_plans() -> Iterator[None]:
    """Plans for shapes that are seen for the first time, each compared with Django's statement."""
    from turbo_orm.plans import shapes

    with override_settings(TURBO_ORM={**settings.TURBO_ORM, "VERIFY_PLANS": True}):
        before = shapes.trie.at_once
        shapes.build_at_once()
        yield
        shapes.build_at_once(before)
