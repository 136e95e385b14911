from __future__ import annotations

from django.db import models
from typing_extensions import Self

from turbo_orm import AsyncManager, AsyncQuerySet


class Stamped(models.Model):
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Publisher(models.Model):
    name = models.CharField(max_length=100)

    objects = AsyncManager()


class BookQuerySet(AsyncQuerySet):
    def published(self) -> Self:
        return self.filter(published_on__isnull=False)

    def costing(self, least: int, most: int | None = None) -> Self:
        found = self.filter(price__gte=least)
        return found if most is None else found.filter(price__lte=most)

    def rated(self) -> AsyncQuerySet:
        return self.annotate(average=models.Avg("reviews__stars"))


class Book(Stamped):
    class Kind(models.TextChoices):
        NOVEL = "novel"
        ESSAY = "essay"

    title = models.CharField(max_length=200)
    author = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="books")
    editor = models.ForeignKey(
        "accounts.User", on_delete=models.SET_NULL, null=True, related_name="edited_books"
    )
    publisher = models.ForeignKey(Publisher, on_delete=models.PROTECT, null=True, related_name="books")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.NOVEL)
    published_on = models.DateField(null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    meta = models.JSONField(default=dict)
    tags = models.ManyToManyField("Tag", related_name="books", blank=True)

    objects = AsyncManager.from_queryset(BookQuerySet)()


class Tag(models.Model):
    id = models.UUIDField(primary_key=True)
    name = models.SlugField(unique=True)

    objects = AsyncManager()


class Review(Stamped):
    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="reviews")
    author = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="reviews")
    stars = models.PositiveSmallIntegerField()
    text = models.TextField(blank=True)

    objects = AsyncManager()
