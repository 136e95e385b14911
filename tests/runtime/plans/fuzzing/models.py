"""Models of a registry of their own: every kind of field, and relations in both directions.

Their tables exist only while `tables()` is entered, so that no other test sees them.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.apps.registry import Apps
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, IntegerRangeField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.db.migrations.state import AppConfigStub

from turbo_orm import AsyncManager

__all__ = ["MODELS", "Author", "Book", "Color", "Kit", "Level", "Shelf", "Signed", "tables"]

_registry = Apps([AppConfigStub("fuzzing")])


class Color(models.TextChoices):
    RED = "r"
    GREEN = "g"


class Level(models.IntegerChoices):
    LOW = 1
    HIGH = 2


class Shout(models.Field):
    """A project's own field: no value for ``""``, and another one than was given for the rest."""

    def get_internal_type(self) -> str:
        return "TextField"

    def get_prep_value(self, value: Any) -> Any:
        # Addresses are no part of a value.
        return None if value == "" else re.sub("0x[0-9a-f]+", "", str(value)).upper()


class Doubled(models.IntegerField):
    """A project's own field, which prepares for the database in the second step."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        return None if value is None else value * 2

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else value // 2


class NotEqual(models.Lookup):
    """A project's own lookup."""

    lookup_name = "ne"

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} <> {right}", [*left_params, *right_params]


class Folded(models.Transform):
    """A project's own transform of both sides."""

    lookup_name = "folded"
    function = "UPPER"
    bilateral = True


Shout.register_lookup(NotEqual)
Shout.register_lookup(Folded)


class Shelf(models.Model):
    """Its key is no number, and others point to a column which is not its key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    code = models.CharField(max_length=9, unique=True)
    objects = AsyncManager()

    class Meta:
        apps = _registry
        app_label = "fuzzing"
        ordering = ["-code"]


class Author(models.Model):
    name = models.CharField(max_length=50)
    active = models.BooleanField(default=True)
    age = models.IntegerField(null=True)
    born = models.DateTimeField(null=True)
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")
    objects = AsyncManager()

    class Meta:
        apps = _registry
        app_label = "fuzzing"
        ordering = ["name"]


class Signed(Author):
    """A child with a table of its own."""

    stars = models.SmallIntegerField(default=0)

    class Meta:
        apps = _registry
        app_label = "fuzzing"


class Book(models.Model):
    title = models.CharField(max_length=50)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    editor = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="edited")
    shelf = models.ForeignKey(Shelf, models.SET_NULL, null=True, to_field="code", related_name="books")
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    pages = models.PositiveIntegerField(default=0)
    shut = models.BooleanField(null=True)
    created = models.DateTimeField(null=True)
    tags = models.ManyToManyField("Kit", related_name="tagged")
    objects = AsyncManager()

    class Meta:
        apps = _registry
        app_label = "fuzzing"


class Kit(models.Model):
    array = ArrayField(models.IntegerField(), default=list)
    words = ArrayField(models.CharField(max_length=9), null=True)
    big = models.BigIntegerField(default=0)
    blob = models.BinaryField(default=b"")
    flag = models.BooleanField(null=True)
    color = models.CharField(max_length=3, choices=Color.choices, default="r")
    day = models.DateField(null=True)
    at = models.DateTimeField(null=True)
    amount = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    doubled = Doubled(default=0)
    span = models.DurationField(null=True)
    mail = models.EmailField(default="")
    path = models.FilePathField(path=".", default="")
    file = models.FileField(default="")
    ratio = models.FloatField(default=0)
    ip = models.GenericIPAddressField(null=True)
    level = models.IntegerField(choices=Level.choices, default=1)
    data = models.JSONField(null=True)
    encoded = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    count = models.PositiveIntegerField(default=0)
    large = models.PositiveBigIntegerField(default=0)
    tiny = models.PositiveSmallIntegerField(default=0)
    small = models.SmallIntegerField(default=0)
    slug = models.SlugField(default="")
    text = models.TextField(default="")
    clock = models.TimeField(null=True)
    link = models.URLField(default="")
    key = models.UUIDField(default=uuid.uuid4)
    whens = DateTimeRangeField(null=True)
    numbers = IntegerRangeField(null=True)
    shout = Shout(default="-")
    owner = models.OneToOneField(Author, models.CASCADE, null=True, related_name="kit")
    book = models.ForeignKey(Book, models.CASCADE, null=True, related_name="kits")
    objects = AsyncManager()

    class Meta:
        apps = _registry
        app_label = "fuzzing"


MODELS: tuple[type[models.Model], ...] = (Kit, Book, Author, Shelf, Signed)


@contextmanager
def tables() -> Iterator[None]:
    """Make the tables, with some rows."""
    with connection.schema_editor() as editor:
        for model in (Shelf, Author, Signed, Book, Kit):
            editor.create_model(model)
    _fill()
    connection.close()
    yield
    with connection.schema_editor() as editor:
        editor.deferred_sql.clear()
        for model in (Kit, Book, Signed, Author, Shelf):
            editor.delete_model(model)
    connection.close()


def _fill() -> None:
    utc = dt.timezone.utc
    shelves = [Shelf.objects.create(id=uuid.UUID(int=number), code=f"c{number}") for number in (1, 2)]
    ada = Author.objects.create(name="Ada", age=36, born=dt.datetime(1999, 12, 31, 23, 30, tzinfo=utc))
    bob = Author.objects.create(name="Bob", active=False, mentor=ada)
    cyd = Signed.objects.create(name="abc", age=5, stars=3, mentor=bob)
    books = [
        Book.objects.create(
            title=title,
            author=author,
            editor=editor,
            shelf=shelf,
            price=Decimal(pages),
            pages=pages,
            shut=shut,
            created=dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=utc),
        )
        for title, author, editor, shelf, pages, shut in (
            ("abc", ada, bob, shelves[0], 1, True),
            ("a%b_c", ada, None, None, 5, False),
            ("5", bob, cyd, shelves[1], 9, None),
        )
    ]
    kits = [
        Kit.objects.create(
            array=[1, 2],
            words=["a", "b"],
            blob=b"xx",
            flag=True,
            day=dt.date(2024, 5, 6),
            at=dt.datetime(2024, 12, 31, 22, 0, tzinfo=utc),
            amount=Decimal("1.50"),
            doubled=1,
            span=dt.timedelta(days=1),
            ip="127.0.0.1",
            data={"a": 1},
            encoded={"a": {"b": [1]}},
            clock=dt.time(7, 8, 9),
            key=uuid.UUID(int=5),
            shout="abc",
            owner=ada,
            book=books[0],
            small=5,
            text="abc",
            slug="abc",
        ),
        Kit.objects.create(flag=False, color="g", level=2, data=[1, 2], owner=bob, at=books[0].created),
        Kit.objects.create(data=None, encoded="a", book=books[2], text="a%b_c\\"),
    ]
    books[0].tags.set(kits[:2])
    books[1].tags.set(kits[1:])
