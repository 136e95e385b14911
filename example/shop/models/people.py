"""Who uses the shop."""

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models

from turbo_orm import AsyncManager


class ShopUserManager(AsyncManager, UserManager["User"]):
    """Django's user manager (`create_user` and the rest) with async queries."""


class User(AbstractUser):
    """Someone with an account."""

    objects = ShopUserManager()


class Customer(models.Model):
    """What the shop knows about a user who buys."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="customer")
    city = models.CharField(max_length=80)
    birthday = models.DateField(null=True, blank=True)
    newsletter = models.BooleanField(default=False)
    preferences = models.JSONField(default=dict, blank=True)

    objects = AsyncManager()

    def __str__(self) -> str:
        return f"{self.user_id} in {self.city}"
