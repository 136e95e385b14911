"""Abstract bases, multi-table inheritance, proxies."""

from django.db import models

from turbo_orm import AsyncManager


class Named(models.Model):
    name = models.CharField(max_length=10)
    objects = AsyncManager()

    class Meta:
        abstract = True


class Place(Named):
    owner = models.ForeignKey("inherited.Place", models.CASCADE, null=True, related_name="%(class)s_owned")


class Restaurant(Place):
    stars = models.IntegerField(null=True)


class Starred(Restaurant):
    class Meta:
        proxy = True

    def shine(self) -> str:
        return "*" * (self.stars or 0)
