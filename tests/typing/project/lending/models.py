from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models
from shop.models import Book
from typing_extensions import Self

from turbo_orm import AsyncManager, AsyncQuerySet

if TYPE_CHECKING:
    from accounts.models import User as Account

    from lending import turbo


M = TypeVar("M", bound=models.Model)
Key = TypeVar("Key")


class AnyQuerySet(AsyncQuerySet[M]):
    """The base of those of several models."""

    async def or_none(self, **lookups: Any) -> M | None:
        return await self.filter(**lookups).afirst()

    async def by(self, key: Callable[[M], Key]) -> dict[Key, list[M]]:
        found: dict[Key, list[M]] = {}
        async for row in self:
            found.setdefault(key(row), []).append(row)
        return found

    async def others(self, row: M) -> list[M]:
        return await self.exclude(pk=row.pk).alist()

    def locked(self) -> AsyncQuerySet[M]:
        return self.select_for_update()


class LoanQuerySet(AsyncQuerySet):
    def open(self) -> Self:
        return self.filter(returned_at__isnull=True)


class Loan(models.Model):
    book = models.ForeignKey("shop.Book", models.CASCADE, related_name="+")
    reader = models.ForeignKey("accounts.User", models.CASCADE, related_name="+")
    guarantor = models.ForeignKey("accounts.User", models.SET_NULL, null=True, related_name="+")
    extras = models.ManyToManyField("shop.Book", related_name="+")
    witnesses = models.ManyToManyField("accounts.User", through="Witness", related_name="+")
    returned_at = models.DateTimeField(null=True)
    reminders: models.Manager[Reminder]
    receipts: list[turbo.Receipt]  # what a Prefetch adds

    objects = AsyncManager.from_queryset(LoanQuerySet)()


class Witness(models.Model):
    loan = models.ForeignKey(Loan, models.CASCADE, related_name="+")
    user = models.ForeignKey("accounts.User", models.CASCADE, related_name="+")
    note = models.CharField(max_length=20)

    objects = AsyncManager()


class LongLoan(Loan):
    until = models.DateField()

    objects = AsyncManager()


class Receipt(models.Model):
    loan = models.OneToOneField(Loan, models.CASCADE, related_name="receipt")

    objects = AsyncManager()


class ReminderQuerySet(AsyncQuerySet["Reminder"]):
    def about(self, loan: Loan) -> ReminderQuerySet:
        return self.filter(loan=loan)


class ReminderManager(AsyncManager["Reminder"]):
    def get_queryset(self):  # type: ignore[no-untyped-def]
        return ReminderQuerySet(self.model, using=self._db).exclude(loan__returned_at__isnull=False)

    def about(self, loan: Loan) -> ReminderQuerySet:
        return self.get_queryset().about(loan)  # type: ignore[no-any-return]

    async def newest(self) -> Reminder:
        return await self.alatest("pk")


class Reminder(models.Model):
    """Of the same app, but not strict."""

    loan = models.ForeignKey(Loan, models.CASCADE, related_name="reminders")

    objects = ReminderManager()


class FineQuerySet(AnyQuerySet["Fine"]):
    def books(self) -> AsyncQuerySet[Book]:
        return Book.objects.filter(fines__in=self)

    def plain_books(self) -> models.QuerySet[Book]:
        return self.books()

    def small(self) -> AsyncQuerySet[Fine]:
        return self.filter(amount__lt=100)

    def amounts(self) -> models.QuerySet[Fine, int]:
        return self.values_list("amount", flat=True)

    def halves(self) -> tuple[Self, Self]:
        return self.filter(amount__lt=50), self.exclude(amount__lt=50)

    def counted(self) -> AsyncQuerySet:
        return self.annotate(number=models.Count("pk"))

    async def newest(self) -> Fine | None:
        return await self.order_by("-pk").afirst()

    async def each(self) -> AsyncIterator[Fine]:
        async for fine in self:
            yield fine

    @asynccontextmanager
    async def waived(self, reason: str) -> AsyncIterator[Fine]:
        yield await self.filter(reason=reason).aget()

    async def acreate(self, *, notify: bool, **fields: Any) -> Fine:
        return await super().acreate(**fields)

    def payer(self, account: Account) -> Account:
        return account


class Fine(models.Model):
    """Its methods are of every kind there is."""

    book = models.ForeignKey("shop.Book", models.CASCADE, related_name="fines")
    amount = models.IntegerField()
    reason = models.CharField(max_length=20)

    objects = AsyncManager.from_queryset(FineQuerySet)()

    @property
    def payer(self) -> Account | None:
        return None

    @cached_property
    def first(self) -> Fine:
        return self

    def lent(self) -> Book:
        return self.book

    def earlier(self, than: Fine | None = None) -> FineQuerySet:
        return Fine.objects.filter(pk__lt=(than or self).pk)

    async def readers(self) -> list[Account]:
        return []

    def loans(self) -> models.QuerySet[Loan]:
        return Loan.objects.filter(book=self.book)

    @classmethod
    async def made(cls, amount: int) -> tuple[Self, Fine]:
        fine = await cls.objects.acreate(amount=amount)
        return fine, fine

    async def adelete(self, *args: Any, refund: bool = False, **kwargs: Any) -> tuple[int, dict[str, int]]:
        return await super().adelete(*args, **kwargs)
