"""What the shop sells."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from django.db import models
from django.utils import timezone

from turbo_orm import AsyncManager, AsyncQuerySet


class Publisher(models.Model):
    name = models.CharField(max_length=120, unique=True)
    country = models.CharField(max_length=2)
    founded = models.PositiveSmallIntegerField(null=True, blank=True)

    objects = AsyncManager()

    def __str__(self) -> str:
        return self.name


class Category(models.Model):
    """A shelf; shelves stand inside other shelves."""

    name = models.CharField(max_length=80, unique=True)
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="children"
    )

    objects = AsyncManager()

    class Meta:
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class Author(models.Model):
    name = models.CharField(max_length=120)
    born = models.DateField(null=True, blank=True)
    country = models.CharField(max_length=2)

    objects = AsyncManager()

    def __str__(self) -> str:
        return self.name


class BookQuerySet(AsyncQuerySet):
    """Questions the shop often asks about books. They mix freely with Django's own methods."""

    def available(self) -> BookQuerySet:
        """Books in print with at least one copy on the shelf."""
        return self.filter(in_print=True, stock__copies__gt=0)

    def published_between(self, first: date, last: date) -> BookQuerySet:
        return self.filter(published__range=(first, last))


class Book(models.Model):
    class Format(models.TextChoices):
        HARDCOVER = "hard", "Hardcover"
        PAPERBACK = "paper", "Paperback"
        EBOOK = "ebook", "E-book"

    title = models.CharField(max_length=200)
    slug = models.SlugField(max_length=220, unique=True)
    isbn = models.CharField(max_length=13, unique=True)
    format = models.CharField(max_length=5, choices=Format.choices, default=Format.PAPERBACK)
    price = models.DecimalField(max_digits=7, decimal_places=2)
    pages = models.PositiveIntegerField()
    published = models.DateField(null=True, blank=True, db_index=True)
    in_print = models.BooleanField(default=True)
    details = models.JSONField(default=dict, blank=True)
    added_at = models.DateTimeField(default=timezone.now)
    publisher = models.ForeignKey(Publisher, on_delete=models.PROTECT, related_name="books")
    categories = models.ManyToManyField(Category, related_name="books", blank=True)
    authors = models.ManyToManyField(Author, through="Authorship", related_name="books")

    objects = AsyncManager.from_queryset(BookQuerySet)()

    def __str__(self) -> str:
        return self.title

    def reduced_price(self, percent: int) -> Decimal:
        """The price after a reduction, in whole cents."""
        return (self.price * (100 - percent) / 100).quantize(Decimal("0.01"))


class Authorship(models.Model):
    """Who did what for a book."""

    class Role(models.TextChoices):
        WRITER = "writer", "Writer"
        TRANSLATOR = "translator", "Translator"
        ILLUSTRATOR = "illustrator", "Illustrator"

    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="authorships")
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="authorships")
    role = models.CharField(max_length=11, choices=Role.choices, default=Role.WRITER)
    position = models.PositiveSmallIntegerField(default=1)

    objects = AsyncManager()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["book", "author", "role"], name="authorship_once")]

    def __str__(self) -> str:
        return f"{self.author_id} as {self.role} of {self.book_id}"


class Stock(models.Model):
    """How many copies of a book lie in the store room."""

    book = models.OneToOneField(Book, on_delete=models.CASCADE, primary_key=True, related_name="stock")
    copies = models.PositiveIntegerField(default=0)
    reorder_level = models.PositiveIntegerField(default=5)
    counted_on = models.DateField()

    objects = AsyncManager()

    class Meta:
        verbose_name_plural = "stock"

    def __str__(self) -> str:
        return f"{self.copies} of {self.book_id}"
