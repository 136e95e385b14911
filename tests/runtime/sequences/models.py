"""Models with every kind of relation; `twins` loads this file twice, for Django's managers and for ours.

Both have the same tables, so that each reads what the other would.
"""

from __future__ import annotations

import uuid
from itertools import count
from typing import Any

import django
from django.apps.registry import Apps
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.migrations.state import AppConfigStub
from django.db.models.functions import Length

from turbo_orm import AsyncManager, AsyncQuerySet

_ARE_OURS = __name__.endswith("of_ours")
Manager: Any = AsyncManager if _ARE_OURS else models.Manager
QuerySet: Any = AsyncQuerySet if _ARE_OURS else models.QuerySet

registry = Apps([AppConfigStub("sequences")])


#: The next keys of places: each run begins with the same.
keys = count(100)


def next_key() -> uuid.UUID:
    return uuid.UUID(int=next(keys))


class Living(Manager):  # type: ignore[misc]
    """A manager that filters."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(alive=True)


class Counting(QuerySet):  # type: ignore[misc]
    """A queryset that does something of its own when it writes."""

    def update(self, **kwargs: Any) -> Any:
        return super().update(**{"version": models.F("version") + 10, **kwargs})


class Diaries(Manager.from_queryset(Counting)):  # type: ignore[misc]
    """A manager with a column of its own, and which does something of its own as well."""

    def get_queryset(self) -> Any:
        return super().get_queryset().annotate(length=Length("title"))

    def create(self, **kwargs: Any) -> Any:
        return super().create(**{"words": 77, **kwargs})


class Place(models.Model):
    """Others point to a column of it which is not its key."""

    id = models.UUIDField(primary_key=True, default=next_key)
    code = models.CharField(max_length=9, unique=True)
    size = models.IntegerField(default=0)
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["code"]


class Author(models.Model):
    name = models.CharField(max_length=50)
    age = models.IntegerField(null=True)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")
    home = models.ForeignKey(Place, models.SET_NULL, null=True, to_field="code", related_name="residents")
    friends = models.ManyToManyField("self")
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Poet(Author):
    """A child with a table of its own."""

    stars = models.IntegerField(default=0)
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Scribe(Author):
    """A proxy."""

    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        proxy = True
        ordering = ["pk"]


class Tag(models.Model):
    label = models.CharField(max_length=20, unique=True)
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["label"]


class Book(models.Model):
    title = models.CharField(max_length=50)
    pages = models.IntegerField(default=0)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    editor = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="edited")
    poet = models.ForeignKey(Poet, models.SET_NULL, null=True, related_name="verses")
    tags = models.ManyToManyField(Tag, related_name="books")
    readers = models.ManyToManyField(Author, through="Reading", related_name="reads")
    notes = GenericRelation("Note")
    if django.VERSION >= (5, 0):
        double = models.GeneratedField(
            expression=models.F("pages") * 2, output_field=models.IntegerField(), db_persist=True
        )
        weight = models.IntegerField(db_default=7)
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Reading(models.Model):
    book = models.ForeignKey(Book, models.CASCADE)
    author = models.ForeignKey(Author, models.CASCADE)
    stars = models.IntegerField(default=0)
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Profile(models.Model):
    author = models.OneToOneField(Author, models.CASCADE, null=True, related_name="profile")
    bio = models.CharField(max_length=20, default="")
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Passport(models.Model):
    """Its key is another object's."""

    author = models.OneToOneField(Author, models.CASCADE, primary_key=True, related_name="passport")
    number = models.IntegerField(default=0)
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Note(models.Model):
    text = models.CharField(max_length=20)
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True)
    object_id = models.PositiveIntegerField(null=True)
    target = GenericForeignKey()
    objects = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Draft(models.Model):
    """Its default manager filters; what Django follows relations with does not."""

    title = models.CharField(max_length=20)
    alive = models.BooleanField(default=True)
    book = models.ForeignKey(Book, models.CASCADE, null=True, related_name="drafts")
    authors = models.ManyToManyField(Author, related_name="drafts")
    objects = Living()
    every = Manager()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]


class Member(models.Model):
    """What Django follows relations with filters as well."""

    name = models.CharField(max_length=20)
    alive = models.BooleanField(default=True)
    place = models.ForeignKey(Place, models.CASCADE, null=True, related_name="members")
    patron = models.ForeignKey("self", models.SET_NULL, null=True, related_name="protected")
    objects = Living()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]
        base_manager_name = "objects"


class Diary(models.Model):
    """It is saved and deleted in ways of its own."""

    title = models.CharField(max_length=20)
    words = models.IntegerField(default=0)
    version = models.IntegerField(default=0)
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="diaries")
    objects = Diaries()

    class Meta:
        apps = registry
        app_label = "sequences"
        ordering = ["pk"]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.version += 1
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        Tag.objects.filter(label=self.title).delete()
        return super().delete(*args, **kwargs)
