"""A field of each kind."""

from django.db import models

from turbo_orm import AsyncManager
from typed.fields import MoneyField, OpaqueField, Point, PointField, ShoutingField


class Everything(models.Model):
    class Colour(models.IntegerChoices):
        RED = 1
        GREEN = 2

    big = models.BigIntegerField()
    binary = models.BinaryField()
    boolean = models.BooleanField()
    maybe = models.BooleanField(null=True)
    char = models.CharField(max_length=1)
    colour = models.IntegerField(choices=Colour.choices)
    day = models.DateField()
    moment = models.DateTimeField(auto_now=True)
    decimal = models.DecimalField(max_digits=3, decimal_places=1)
    duration = models.DurationField()
    email = models.EmailField(blank=True)
    file = models.FileField(upload_to="x")
    real = models.FloatField(default=1.0)
    image_path = models.FilePathField(path="x")
    address = models.GenericIPAddressField()
    document = models.JSONField()
    small = models.PositiveSmallIntegerField()
    slug = models.SlugField()
    text = models.TextField()
    time = models.TimeField()
    url = models.URLField(null=True)
    identifier = models.UUIDField()
    money = MoneyField(max_digits=3, decimal_places=1)
    place = PointField(null=True)
    origin: "Point" = PointField()
    opaque = OpaqueField()
    loud = ShoutingField(max_length=3)
    objects = AsyncManager()
