"""Relations which can be read only where the query loaded them."""

from __future__ import annotations

from django.db import models

from turbo_orm import AsyncManager


class Parent(models.Model):
    objects = AsyncManager()


class Child(Parent):
    mother = models.ForeignKey(Parent, models.CASCADE, related_name="+")
    friends = models.ManyToManyField(Parent, related_name="+")

    objects = AsyncManager()
