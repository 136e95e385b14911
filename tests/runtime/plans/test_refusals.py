"""Code of a project that runs while a statement is prepared, queries, and survives the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations.state import AppConfigStub

from turbo_orm import AsyncManager

REGISTRY = Apps([AppConfigStub("refusals")])  # type: ignore[list-item]


class Setting(models.Model):
    value = models.IntegerField(default=7)

    objects = AsyncManager()

    class Meta:
        app_label = "refusals"
        apps = REGISTRY


def setting() -> int:
    """As projects write it, for a database without its tables yet."""
    try:
        return Setting.objects.get().value
    except Exception:
        return -1


class Resolving(models.IntegerField):
    def get_prep_value(self, value: Any) -> Any:
        return setting() if value == "setting" else super().get_prep_value(value)


class Row(models.Model):
    code = models.IntegerField(default=setting)
    number = Resolving(default=0)
    other = models.IntegerField(default=0)

    objects = AsyncManager()

    class Meta:
        app_label = "refusals"
        apps = REGISTRY

    @property
    def same_as(self) -> int:
        return self.other

    @same_as.setter
    def same_as(self, name: str) -> None:
        self.other = setting()


class Keyed(models.Model):
    id = models.IntegerField(primary_key=True, default=setting)

    objects = AsyncManager()

    class Meta:
        app_label = "refusals"
        apps = REGISTRY


MODELS = (Setting, Row, Keyed)


@pytest.fixture(autouse=True, scope="module")
def made_tables(django_databases: None) -> Iterator[None]:
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)
    connection.close()
    yield
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.delete_model(model)
    connection.close()


@pytest.fixture(autouse=True)
def filled(made_tables: None) -> Iterator[None]:
    Setting.objects.create()
    connection.close()
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE refusals_setting, refusals_row, refusals_keyed")
    connection.close()


async def test_defaults():
    for _ in range(3):
        assert (await Row.objects.acreate()).code == 7


async def test_keys():
    keyed = Keyed(id=None)
    await keyed.asave()
    assert keyed.id == 7


async def test_properties():
    for _ in range(3):
        assert (await Row.objects.acreate(code=1, same_as="setting")).other == 7


async def test_values_that_are_created():
    for _ in range(3):
        made = await Row.objects.acreate(code=1, number="setting")
        await made.arefresh_from_db()
        assert made.number == 7


async def test_values_that_are_saved():
    row = await Row.objects.acreate(code=1)
    for number in range(3):
        await Row.objects.filter(pk=row.pk).aupdate(number=number)
        row.number = "setting"
        await row.asave()
        await row.arefresh_from_db()
        assert row.number == 7


async def test_values_that_are_updated():
    row = await Row.objects.acreate(code=1)
    for number in range(4):
        await Row.objects.filter(pk=row.pk).aupdate(number=number)
        await Row.objects.filter(pk=row.pk).aupdate(number="setting")
        await row.arefresh_from_db()
        assert row.number == 7


async def test_values_of_several():
    for _ in range(4):
        rows = await Row.objects.abulk_create([Row(code=1, number="setting"), Row(code=1, number="setting")])
        assert await Row.objects.filter(pk__in=[row.pk for row in rows], number=7).acount() == 2
        await Row.objects.aupdate(number=0)
        await Row.objects.abulk_update(rows, ["number"])
        assert await Row.objects.filter(pk__in=[row.pk for row in rows], number=7).acount() == 2
