"""The least there can be."""

from django.db import models

from turbo_orm import AsyncManager


class Note(models.Model):
    """A note.

    It has a "docstring" of two paragraphs.
    """

    text = models.CharField(max_length=10, help_text='What is "noted".')
    objects = AsyncManager()


class Ignored(models.Model):
    """Has no async manager."""
