"""Random programs of blocks that are cancelled, time out, or lose sessions: nothing is done by half."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import psycopg
import pytest
from django.test import override_settings

from devtools.pgbouncer import MISSING, PgBouncer, find_pgbouncer
from tests.project.library.models import Author, Tag
from tests.runtime.interrupted.afterwards import Complaints, found_after
from tests.runtime.interrupted.programs import program_of
from tests.runtime.interrupted.refusing import Refusing
from tests.runtime.interrupted.runner import Run
from tests.runtime.interrupted.servers import Server
from tests.runtime.random_cases import SECONDS, seeds
from tests.runtime.sql.proxy import reached_by
from turbo_orm import atomic, close_pools, run_sync

#: How many tests there are, and the programs of each.
_TESTS = 8
_PROGRAMS = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 + (SECONDS or 0) / _TESTS)]

#: Enough for the streams a program keeps, its block, and what looks from outside; as many may be shared.
_POOLS = {"min_size": 0, "max_size": 8, "timeout": 10}

LOOPS = {"asyncio": asyncio.new_event_loop}
if find_spec("uvloop") is not None:  # not on Windows
    LOOPS["uvloop"] = import_module("uvloop").new_event_loop


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest, django_databases: None) -> Iterator[asyncio.AbstractEventLoop]:
    loop = LOOPS[request.param]()
    yield loop
    loop.run_until_complete(close_pools())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _run(
    server: Server,
    around: AbstractAsyncContextManager[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    complaints = Complaints()
    server.begin()
    counts = {"programs": 0, "cancelled": 0, "waits": 0}
    async with around:
        await _become_known()
        with complaints.heard(asyncio.get_running_loop()):
            for seed in seeds(_PROGRAMS, runs=_TESTS):
                capsys.readouterr()
                print(f"program {seed}")  # is told if a clock ends the test
                run = Run(program_of(seed, refuses=server.refuses), server)
                await run.go()
                found = await asyncio.wait_for(found_after(run, server, complaints), 60)
                assert not found, "\n".join([*found, str(run)])
                counts["programs"] += 1
                counts["cancelled"] += bool(run.cancelled)
                counts["waits"] += run.waited
    with capsys.disabled():
        print(f"\n{counts}")


async def _become_known() -> None:
    """Do some of what programs do, so that it has plans."""
    for number in range(3):
        async with atomic():
            await Author.objects.acount()
            tag = await Tag.objects.acreate(label=f"known {number}")
            await Tag.objects.values_list("label", flat=True).alist()
            await run_sync(tag.delete)


@pytest.mark.parametrize("multiplexed", [False, True])
def test_for_long(
    loop: asyncio.AbstractEventLoop,
    multiplexed: bool,
    observer: psycopg.Connection[Any],
    janitors: list[psycopg.Connection[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with override_settings(TURBO_ORM={"POOL": _POOLS, "MULTIPLEX": multiplexed}):
        loop.run_until_complete(_run(Server(observer, janitors[0]), nullcontext(), capsys))


def test_transactions_that_do_not_begin(
    loop: asyncio.AbstractEventLoop,
    observer: psycopg.Connection[Any],
    janitors: list[psycopg.Connection[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusing = Refusing()
    server = Server(observer, janitors[0], refusing=refusing)
    with override_settings(TURBO_ORM={"POOL": _POOLS}):
        loop.run_until_complete(_run(server, refusing.between(monkeypatch), capsys))


@pytest.mark.skipif(find_pgbouncer() is None, reason=MISSING)
def test_behind_pgbouncer(
    loop: asyncio.AbstractEventLoop,
    observer: psycopg.Connection[Any],
    janitors: list[psycopg.Connection[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = Server(observer, janitors[0], pooler=True)
    with (
        PgBouncer(os.environ["DATABASE_URL"], "transaction", servers=8) as pooler,
        override_settings(TURBO_ORM={"POOL": _POOLS}),
    ):
        loop.run_until_complete(_run(server, reached_by(monkeypatch, pooler.port), capsys))
