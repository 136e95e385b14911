"""One model for each thing the ORM can do differently."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.fields import ArrayField
from django.db import models

from turbo_orm import AsyncManager, AsyncQuerySet


class Timestamped(models.Model):
    created = models.DateTimeField(auto_now_add=True)

    objects = AsyncManager()

    class Meta:
        abstract = True


class Author(Timestamped):
    name = models.CharField(max_length=100, unique=True)
    age = models.IntegerField(null=True)
    groups = models.ManyToManyField(Group, related_name="authors")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    label = models.SlugField(unique=True)

    objects = AsyncManager()


class BookQuerySet(AsyncQuerySet):
    def cheap(self) -> BookQuerySet:
        return self.filter(price__lt=10)

    async def acheapest(self) -> Book | None:
        return await self.order_by("price").afirst()


class Book(models.Model):
    title = models.CharField(max_length=200)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    editor = models.ForeignKey(Author, models.SET_NULL, related_name="edited", null=True, blank=True)
    tags = models.ManyToManyField(Tag, related_name="books")
    contributors = models.ManyToManyField(Author, through="Contribution", related_name="contributed")
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    published = models.DateField(null=True)
    meta = models.JSONField(default=dict)
    marks = ArrayField(models.IntegerField(), default=list)
    notes = GenericRelation("Note")

    objects = AsyncManager.from_queryset(BookQuerySet)()
    as_books = BookQuerySet.as_manager()

    class Meta:
        ordering = ["title"]
        get_latest_by = "published"

    def __str__(self) -> str:
        return self.title


class Contribution(models.Model):
    book = models.ForeignKey(Book, models.CASCADE)
    author = models.ForeignKey(Author, models.CASCADE)
    role = models.CharField(max_length=20, default="author")

    objects = AsyncManager()


class Note(models.Model):
    text = models.TextField()
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveIntegerField()
    target = GenericForeignKey()

    objects = AsyncManager()


class Place(models.Model):
    name = models.CharField(max_length=50)

    objects = AsyncManager()


class Restaurant(Place):
    stars = models.IntegerField(default=0)


class Profile(models.Model):
    author = models.OneToOneField(Author, models.CASCADE, related_name="profile")
    bio = models.TextField(blank=True)

    objects = AsyncManager()


class Shouter(models.Model):
    """Overrides what Django calls on its own: save() and adelete()."""

    name = models.CharField(max_length=50)
    saves = models.IntegerField(default=0)

    objects = AsyncManager()

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.name = self.name.upper()
        self.saves = type(self).objects.count() + 1
        super().save(*args, **kwargs)

    async def adelete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        await type(self).objects.acreate(name=f"{self.name} was here")
        return await super().adelete(*args, **kwargs)


class MigratedManager(AsyncManager):
    use_in_migrations = True


class Migrated(models.Model):
    name = models.CharField(max_length=50)

    objects = MigratedManager()


class Plain(models.Model):
    """Has no AsyncManager: everything about it stays Django's."""

    name = models.CharField(max_length=50)
    author = models.ForeignKey(Author, models.CASCADE, related_name="plains", null=True)
    fans = models.ManyToManyField(Author, related_name="likes")


class WriterQuerySet(AsyncQuerySet):
    def grown_up(self) -> WriterQuerySet:
        return self.filter(age__gte=18)


class Writer(Author):
    """A proxy with a manager of its own."""

    objects = WriterQuerySet.as_manager()

    class Meta:
        proxy = True
        ordering = ["-name"]


class LivingManager(AsyncManager):
    def get_queryset(self) -> AsyncQuerySet:
        return super().get_queryset().filter(alive=True)


class Person(models.Model):
    """Several managers, relations to itself, and a key the database does not make."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)
    alive = models.BooleanField(default=True)
    parent = models.ForeignKey("self", models.SET_NULL, related_name="children", null=True)
    friends = models.ManyToManyField("self")
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")

    living = LivingManager()
    everyone = AsyncManager()
    plain = models.Manager()

    class Meta:
        default_manager_name = "everyone"
        ordering = ["name"]
