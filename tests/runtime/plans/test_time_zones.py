"""Time zones and plans: what moments are read as."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import ExtractDay, TruncHour
from django.test import override_settings

from tests.project.library.models import Author
from tests.runtime.support import query
from turbo_orm import AsyncQuerySet, atomic, cursor, run_sync
from turbo_orm.plans.verify import Verified

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")


async def test_settings_that_change() -> None:
    """Also on connections that were opened before."""
    expected: dict[Any, Any] = {
        ("UTC", True): dt.timezone.utc,
        ("UTC", False): None,
        ("Asia/Tokyo", True): dt.timezone.utc,
        ("Asia/Tokyo", False): None,
    }
    for _ in range(2):
        for (name, use_tz), zone in expected.items():
            with override_settings(USE_TZ=use_tz, TIME_ZONE=name):
                for rows in (
                    AsyncQuerySet(Author),
                    AsyncQuerySet(Author).annotate(day=ExtractDay("created"), hour=TruncHour("created")),
                ):
                    same = Verified.same
                    found = [await rows.afirst(), await rows.aget(pk=1), *await rows.alist()]
                    assert Verified.same == same + 3
                    async with atomic():
                        found += await rows.all().alist()
                    found += await run_sync(list, rows.all())
                    assert {author.created.tzinfo for author in found} == {zone}


async def test_the_current_time_zone() -> None:
    hours = set()
    for name in ("Asia/Tokyo", "Asia/Kathmandu", "Asia/Tokyo"):
        zone = zoneinfo.ZoneInfo(name)
        with override_settings(TIME_ZONE=name):
            author: Any = await AsyncQuerySet(Author).annotate(hour=TruncHour("created")).aget(pk=1)
        local = author.created.astimezone(zone)
        assert author.hour == local.replace(minute=0, second=0, microsecond=0)
        hours.add((author.hour.utcoffset(), name))
    assert len(hours) == 2


async def test_a_time_zone_that_somebody_left_behind() -> None:
    how = "SELECT set_config('TimeZone', 'Asia/Tokyo', false)"
    made = await Author.objects.acreate(name="in Tokyo")
    for _ in range(3):
        assert (await Author.objects.aget(name="in Tokyo")).created == made.created
    await run_sync(query, how)
    assert (await Author.objects.aget(name="in Tokyo")).created == made.created
    async with cursor() as cur:
        await cur.execute(how)
    async with atomic():
        assert (await Author.objects.aget(name="in Tokyo")).created == made.created


async def test_settings_that_change_in_a_block() -> None:
    """As in a test case that is one block, and has other settings for some of its lines."""

    def zones() -> set[Any]:
        same = Verified.same
        rows = AsyncQuerySet(Author)
        found = [rows.get(pk=1), *rows.all(), *rows.iterator()]
        assert Verified.same == same + 3
        return {author.created.tzinfo for author in found}

    def in_sync_code() -> None:
        with transaction.atomic():
            assert zones() == {dt.timezone.utc}
            with override_settings(USE_TZ=False):
                assert zones() == {None}
            assert zones() == {dt.timezone.utc}

    await run_sync(in_sync_code)
    assert await run_sync(zones) == {dt.timezone.utc}
