"""Every kind of relation, also to models without an async manager."""

from django.db import models

from turbo_orm import AsyncManager


class Country(models.Model):
    """Hand-written class only."""

    code = models.CharField(max_length=2, primary_key=True)


class School(models.Model):
    name = models.TextField()
    country = models.ForeignKey(Country, models.PROTECT, related_name="schools")
    head = models.OneToOneField("Pupil", models.SET_NULL, null=True, related_name="heads")
    partners = models.ManyToManyField("self", blank=True)
    objects = AsyncManager()


class Pupil(models.Model):
    school = models.ForeignKey(School, models.CASCADE, related_name="pupils")
    hidden = models.ForeignKey(School, models.CASCADE, related_name="+", null=True)
    friends = models.ManyToManyField("self", related_name="admirers", symmetrical=False, blank=True)
    visited = models.ManyToManyField(Country, related_name="visitors", related_query_name="visitor")
    objects = AsyncManager()
