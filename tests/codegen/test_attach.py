"""Making the managers of models which cannot be edited async."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from turbo_orm import AsyncManager, AsyncQuerySet
from turbo_orm.generated import attach_manager, manager_class, queryset_class


class ThingQuerySet(models.QuerySet[Any, Any]):
    def big(self) -> ThingQuerySet:
        return self.filter(size__gt=9)


class ThingManager(models.Manager[Any]):
    def get_queryset(self) -> ThingQuerySet:
        return ThingQuerySet(self.model, using=self._db)


@pytest.mark.parametrize(
    "manager",
    [
        models.Manager(),
        ThingQuerySet.as_manager(),
        ThingManager(),
        ThingManager.from_queryset(ThingQuerySet)(),
    ],
    ids=["plain", "as_manager", "own get_queryset", "from_queryset"],
)
@isolate_apps("tests.project.library")
def test_manager_becomes_async_and_keeps_its_methods(manager: Any) -> None:
    class Thing(models.Model):
        size = models.IntegerField()
        objects = manager

        class Meta:
            app_label = "library"

    attach_manager(Thing, "objects")
    assert isinstance(Thing.objects, AsyncManager)
    assert isinstance(Thing.objects, type(manager))
    assert Thing._default_manager is Thing.objects
    assert isinstance(Thing.objects.filter(size=1), AsyncQuerySet)
    assert isinstance(Thing.objects.all(), AsyncQuerySet)
    if type(manager) is not models.Manager:
        assert isinstance(Thing.objects.all().big(), AsyncQuerySet)
        assert manager == Thing.objects
    assert hasattr(Thing, "afetch")


@isolate_apps("tests.project.library")
def test_inherited_manager_is_attached_to_the_model_only() -> None:
    class Base(models.Model):
        objects = ThingManager()

        class Meta:
            app_label = "library"
            abstract = True

    class One(Base):
        class Meta:
            app_label = "library"

    class Two(Base):
        class Meta:
            app_label = "library"

    attach_manager(One, "objects")
    assert isinstance(One.objects, AsyncManager)
    assert not isinstance(Two.objects, AsyncManager)
    assert [manager.name for manager in One._meta.managers] == ["objects"]


@isolate_apps("tests.project.library")
def test_managers_that_may_not_be_mutated() -> None:
    class Thing(models.Model):
        objects = ThingManager()

        class Meta:
            app_label = "library"

    options: Any = Thing._meta
    options.local_managers = options.managers  # as django-modeltranslation does
    attach_manager(Thing, "objects")
    assert isinstance(Thing.objects, AsyncManager)
    assert options.managers == (Thing.objects,)


@isolate_apps("tests.project.library")
def test_migrations_see_the_manager_it_was() -> None:
    class Thing(models.Model):
        objects = ThingManager()

        class Meta:
            app_label = "library"

    attach_manager(Thing, "objects")
    assert Thing.objects.deconstruct() == ThingManager().deconstruct()


@isolate_apps("tests.project.library")
def test_async_manager_is_left_alone() -> None:
    class Thing(models.Model):
        objects = AsyncManager()

        class Meta:
            app_label = "library"

    before = Thing.objects
    attach_manager(Thing, "objects")
    assert Thing.objects is before
    assert manager_class(Thing, "objects") is AsyncManager
    assert queryset_class(Thing, "objects") is AsyncQuerySet


@isolate_apps("tests.project.library")
def test_missing_manager_is_named() -> None:
    class Thing(models.Model):
        class Meta:
            app_label = "library"

    with pytest.raises(ImportError, match=r"library\.Thing has no manager 'rows'.*turbo_generate library"):
        attach_manager(Thing, "rows")
