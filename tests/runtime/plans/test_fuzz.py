"""Random chains of queryset methods do in plan mode what they do in Django."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from django.db import connections
from django.utils import timezone, translation
from hypothesis import assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.runtime.plans.fuzzing.chains import Chain, chains, other_values
from tests.runtime.plans.fuzzing.models import tables
from tests.runtime.plans.fuzzing.outcomes import TERMINALS, Tally, differences, differences_in_rows
from tests.runtime.random_cases import PROFILE, SECONDS, seeds
from turbo_orm import close_pools
from turbo_orm.plans import shapes

_TIME_ZONES = (None, None, "Africa/Nairobi", "America/New_York", "Asia/Kathmandu")
_LANGUAGES = ("en", "en", "de", "ar")
_PROFILE = settings(PROFILE, max_examples=25)
_ROUNDS = 8
#: Seeds of the slow test.
_SEEDS = 3


@pytest.fixture(scope="module")
def loop(django_databases: None) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop whose pools stay open from one example to the next."""
    loop = asyncio.new_event_loop()
    try:
        with tables():
            yield loop
            connections.close_all()
    finally:
        loop.close()


@pytest.fixture(autouse=True)
def _pools_closed(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    yield
    loop.run_until_complete(close_pools())


@pytest.fixture(params=[True, False], ids=["built at once", "built on second use"])
def _fresh_shapes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes.trie, "at_once", request.param)
    shapes.clear()


def _settle(chance: random.Random) -> None:
    name = chance.choice(_TIME_ZONES)
    timezone.deactivate() if name is None else timezone.activate(ZoneInfo(name))
    translation.activate(chance.choice(_LANGUAGES))


def check_statements(chain: Chain, seed: int) -> None:
    """Compare the statements of *chain*, with several values, under several time zones."""
    chance = random.Random(seed)
    try:
        for number in range(_ROUNDS):
            changing = chain if number == 0 else other_values(chain, chance)
            _settle(chance)
            terminal = chance.choice(("list", *TERMINALS))
            at = -1 if chance.random() < 0.8 else chance.randrange(len(chain.steps) + 1)
            found = differences(changing, terminal, changed=chance.random() < 0.2, at=at)
            assert not found, "\n".join([f"{terminal} of {changing} at {at}", *found])
    finally:
        timezone.deactivate()
        translation.deactivate()


def check_rows(chain: Chain, seed: int, loop: asyncio.AbstractEventLoop) -> None:
    """Compare what comes from the database."""
    chance = random.Random(seed)
    try:
        for number in range(_ROUNDS // 2):
            changing = chain if number == 0 else other_values(chain, chance)
            _settle(chance)
            terminal = chance.choice(TERMINALS)
            as_arguments = terminal == "get" and chance.random() < 0.5
            found = differences_in_rows(
                changing,
                terminal,
                loop.run_until_complete,
                as_arguments=as_arguments,
                in_block=chance.random() < 0.3,
            )
            assert not found, "\n".join([f"{terminal} of {changing}, {as_arguments=}", *found])
    finally:
        timezone.deactivate()
        translation.deactivate()


@pytest.mark.usefixtures("_fresh_shapes")
def test_same_statements(loop: asyncio.AbstractEventLoop) -> None:
    _know_server(loop)

    @_PROFILE
    @given(chains(), st.integers(0, 2**32))
    def check(chain: Chain, seed: int) -> None:
        check_statements(chain, seed)

    check()


@pytest.mark.usefixtures("_fresh_shapes")
def test_same_rows(loop: asyncio.AbstractEventLoop) -> None:
    @_PROFILE
    @given(chains(), st.integers(0, 2**32))
    def check(chain: Chain, seed: int) -> None:
        # Rows in a random order differ from each other.
        assume("'?'" not in repr(chain) and "'-?'" not in repr(chain))
        check_rows(chain, seed, loop)

    check()


@pytest.mark.slow
@pytest.mark.timeout(600 + (SECONDS or 0) * 2)
@pytest.mark.usefixtures("_fresh_shapes")
def test_for_long(loop: asyncio.AbstractEventLoop, capsys: pytest.CaptureFixture[str]) -> None:
    _know_server(loop)
    Tally.clear()
    for number in seeds(_SEEDS, runs=2):

        @seeded(number)
        @settings(_PROFILE, max_examples=200)
        @given(chains(), st.integers(0, 2**32))
        def check(chain: Chain, seed: int) -> None:
            if seed % 4:
                check_statements(chain, seed)
            elif "'?'" not in repr(chain) and "'-?'" not in repr(chain):
                check_rows(chain, seed, loop)

        check()
    with capsys.disabled():
        cases = Tally["chains"] + Tally["refused steps"] + Tally["executed"]
        print(f"\n{cases} cases: {dict(Tally.most_common())}")


def _know_server(loop: asyncio.AbstractEventLoop) -> None:
    """Connect once, for without the server's version there are no plans."""
    from tests.runtime.plans.fuzzing.models import Shelf

    loop.run_until_complete(Shelf.objects.acount())
