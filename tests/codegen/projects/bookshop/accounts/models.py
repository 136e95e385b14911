from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import models

from turbo_orm import AsyncManager


class User(models.Model):
    """Somebody who writes, or buys."""

    username = models.CharField(max_length=150, unique=True, help_text="Shown beside reviews.")
    is_active = models.BooleanField(default=True)
    score = models.IntegerField(null=True)
    joined_at = models.DateTimeField(auto_now_add=True)
    groups = models.ManyToManyField(Group, related_name="members", blank=True)
    favourites = models.ManyToManyField("shop.Book", related_name="fans", blank=True)

    objects = AsyncManager()

    def shout(self) -> str:
        return f"{self.username}!"


class Profile(models.Model):
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="profile")
    bio = models.TextField(blank=True)

    objects = AsyncManager()
