"""Generic relations: the way back has a name in lookups only where one is given, and never an attribute."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models

from turbo_orm import AsyncManager


class Note(models.Model):
    """Of anything; only prizes can be asked for."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveIntegerField()
    about = GenericForeignKey()
    objects = AsyncManager()


class Line(models.Model):
    """Its place among the lines of a note is not given, but found."""

    note = models.ForeignKey(Note, models.CASCADE)
    text = models.TextField()
    objects = AsyncManager()

    class Meta:
        order_with_respect_to = "note"


class Prize(models.Model):
    notes = GenericRelation(Note)
    remarks = GenericRelation(Note, related_query_name="prize")
