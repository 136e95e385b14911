"""The ``TURBO_ORM`` setting: one clear error for each thing that can be wrong with it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

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
        ({"OBSERVERS": ["library.trace"]}, r'\["OBSERVERS"\] names .library.trace.: No module named'),
        ({"OBSERVERS": [asyncio.sleep]}, r'\["OBSERVERS"\] must name functions that are not async'),
        ({"MAX_SHAPES": True}, r'TURBO_ORM\["MAX_SHAPES"\] must be a positive number, not True'),
    ],
)
def test_bad_settings(given: Any, message: str) -> None:
    with override_settings(TURBO_ORM=given), pytest.raises(ImproperlyConfigured, match=message):
        get_config()


@pytest.mark.parametrize("given", [3, {"conections": 4}, {"connections": 0}, {"connections": "4"}])
def test_bad_options_of_multiplexing(given: object):
    with (
        override_settings(TURBO_ORM={"MULTIPLEX": given}),
        pytest.raises(ImproperlyConfigured, match="MULTIPLEX"),
    ):
        get_config()
