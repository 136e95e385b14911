from __future__ import annotations

from django.db import models
from typing_extensions import Self

from turbo_orm import AsyncManager, AsyncQuerySet


class LoanQuerySet(AsyncQuerySet):
    def open(self) -> Self:
        return self.filter(returned_at__isnull=True)


class Loan(models.Model):
    book = models.ForeignKey("shop.Book", models.CASCADE, related_name="+")
    reader = models.ForeignKey("accounts.User", models.CASCADE, related_name="+")
    guarantor = models.ForeignKey("accounts.User", models.SET_NULL, null=True, related_name="+")
    extras = models.ManyToManyField("shop.Book", related_name="+")
    returned_at = models.DateTimeField(null=True)

    objects = AsyncManager.from_queryset(LoanQuerySet)()


class LongLoan(Loan):
    until = models.DateField()

    objects = AsyncManager()


class Receipt(models.Model):
    loan = models.OneToOneField(Loan, models.CASCADE, related_name="receipt")

    objects = AsyncManager()


class Reminder(models.Model):
    """Of the same app, but not strict."""

    loan = models.ForeignKey(Loan, models.CASCADE, related_name="reminders")

    objects = AsyncManager()
