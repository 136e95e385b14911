"""The ``TURBO_ORM`` setting: one clear error for each thing that can be wrong with it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from tests.runtime.support import query
from turbo_orm import run_sync
from turbo_orm.checks import check_settings
from turbo_orm.conf import get_config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["POOL"], "must be a dictionary"),
        (None, "must be a dictionary"),
        ({"POOLS": {}}, "unknown keys: POOLS.*POOL"),
        ({"POOL": None}, r'TURBO_ORM\["POOL"\] must be a dictionary such as .*, not None'),
        ({"POOL": {"maxsize": 3}}, r'TURBO_ORM\["POOL"\] has unknown keys: maxsize. Known are: .*max_size'),
        ({"POOL": {"min_size": "3"}}, r'\["min_size"\] must be a number from 0 on, not .3.'),
        ({"POOL": {"num_workers": 0}}, r'\["num_workers"\] must be a number from 1 on, not 0'),
        ({"POOL": {"timeout": None}}, r'\["timeout"\] must be a number from 0 on, not None'),
        ({"POOL": {"min_size": 3, "max_size": 2}}, r'\["max_size"\] is less than "min_size"'),
        ({"POOL": {"reset": print}}, "is for async connections, and its reset for sync ones"),
        ({"POOL": {"connection_class": psycopg.Connection}}, "and its connection_class for sync ones"),
        ({"OBSERVERS": "a.b"}, r'\["OBSERVERS"\] must be a list of functions or their dotted paths, not'),
        ({"OBSERVERS": [3]}, r'\["OBSERVERS"\] must be a list of functions or their dotted paths, not'),
        ({"MAX_SHAPES": True}, r'TURBO_ORM\["MAX_SHAPES"\] must be a positive number, not True'),
    ],
)
def test_bad_settings(given: Any, message: str) -> None:
    with override_settings(TURBO_ORM=given), pytest.raises(ImproperlyConfigured, match=message):
        get_config()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("library.trace", r'\["OBSERVERS"\] names .library.trace.: No module named'),
        (
            "django.VERSION",
            r'\["OBSERVERS"\] must name functions that are not async; .django.VERSION. is none',
        ),
        (asyncio.sleep, r'\["OBSERVERS"\] must name functions that are not async'),
    ],
)
async def test_bad_observers(given: Any, message: str) -> None:
    """They are imported when they are needed: models may be imported before."""
    with override_settings(TURBO_ORM={"OBSERVERS": [given]}):
        get_config()
        with pytest.raises(ImproperlyConfigured, match=message):
            await run_sync(query, "SELECT 1")
        [error] = check_settings(None)
        assert error.id == "turbo_orm.E001"


@pytest.mark.parametrize("given", [3, {"conections": 4}, {"connections": 0}, {"connections": "4"}])
def test_bad_options_of_multiplexing(given: object):
    with (
        override_settings(TURBO_ORM={"MULTIPLEX": given}),
        pytest.raises(ImproperlyConfigured, match="MULTIPLEX"),
    ):
        get_config()
