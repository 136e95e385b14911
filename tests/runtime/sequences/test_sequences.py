"""Random sequences of what views do with objects are the same by our async methods as by Django's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings as projects
from django.db import connections
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import seed as seeded

from tests.runtime.random_cases import PROFILE, SECONDS, seeds
from tests.runtime.sequences.comparing import difference
from tests.runtime.sequences.steps import Script
from tests.runtime.sequences.strategies import scripts
from tests.runtime.sequences.twins import Rows, tables
from turbo_orm import close_pools

#: Seeds of the slow test.
_SEEDS = 1


@pytest.fixture(scope="module")
def loop(django_databases: None) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop whose pools stay open from one example to the next."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def rows(django_databases: None, janitors: list[psycopg.Connection[Any]]) -> Iterator[Rows]:
    with tables():
        rows = Rows(janitors[0])
        yield rows
        rows.drop()
        connections.close_all()


@pytest.fixture(autouse=True)
def _pools_closed(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    yield
    loop.run_until_complete(close_pools())


def test_same_sequences(loop: asyncio.AbstractEventLoop, rows: Rows) -> None:
    @settings(PROFILE, max_examples=40)
    @given(scripts())
    def check(script: Script) -> None:
        found = difference(script, rows, loop)
        assert not found, found

    check()


@pytest.mark.slow
@pytest.mark.timeout(1200 + (SECONDS or 0) * 2)
@pytest.mark.parametrize("multiplexed", [False, True])
def test_for_long(
    multiplexed: bool, loop: asyncio.AbstractEventLoop, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 0
    for number in seeds(_SEEDS, runs=2):

        @seeded(number)
        @settings(PROFILE, max_examples=100)
        @given(scripts(longest=16))
        def check(script: Script) -> None:
            nonlocal count
            count += 1
            found = difference(script, rows, loop)
            assert not found, found

        with override_settings(TURBO_ORM={**projects.TURBO_ORM, "MULTIPLEX": multiplexed}):
            check()
    with capsys.disabled():
        print(f"\n{count} scripts")
