"""Random sequences of what views do with objects are the same by our async methods as by Django's."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings as projects
from django.db import connections
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded

from tests.runtime.sequences.comparing import difference
from tests.runtime.sequences.steps import Script
from tests.runtime.sequences.strategies import scripts
from tests.runtime.sequences.twins import Rows, tables
from turbo_orm import close_pools

#: As in `tests/runtime/plans/test_fuzz.py`: for so many seconds the slow test looks for differences, in
#: other cases each time. None: in the same ones, so that a change fails for what it does.
SECONDS = float(os.environ.get("TURBO_FUZZ_SECONDS", "0")) or None

_PROFILE = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[*HealthCheck],
    report_multiple_bugs=False,
    print_blob=True,
)
#: Seeds of the slow test.
_SEEDS = 2


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
    @_PROFILE
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
    for number in _seeds():

        @seeded(number)
        @settings(_PROFILE, max_examples=100)
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


def _seeds() -> Iterator[int]:
    if SECONDS is None:
        yield from range(_SEEDS)
        return
    until = time.monotonic() + SECONDS / 2  # the test runs twice
    while time.monotonic() < until:
        yield random.getrandbits(32)
