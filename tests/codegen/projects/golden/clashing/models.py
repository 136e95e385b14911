"""Names which generated code uses itself."""

from datetime import date

from django.db import models

from turbo_orm import AsyncManager


class Book(models.Model):
    """`BookRow` is a model too, so what is generated for this one begins with `Book_`."""

    date: "models.DateField[date, date]" = models.DateField()
    when = models.DateField(null=True)
    self = models.CharField(max_length=1)
    args = models.CharField(max_length=1)
    str = models.CharField(max_length=1)
    int = models.IntegerField()
    defaults = models.IntegerField()
    objects = AsyncManager()


class BookRow(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="rows")
    objects = AsyncManager()


class Expr(models.Model):
    Literal = models.CharField(max_length=1)
    objects = AsyncManager()


class Q(models.Model):
    """Django's has this name too."""

    book = models.ForeignKey(Book, models.CASCADE, related_name="qs")
    objects = AsyncManager()
