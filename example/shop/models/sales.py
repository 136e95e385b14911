"""What happens in the shop."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from shop.models.catalogue import Book
from shop.models.people import User
from turbo_orm import AsyncManager


class Order(models.Model):
    class Status(models.TextChoices):
        PLACED = "placed", "Placed"
        PAID = "paid", "Paid"
        SENT = "sent", "Sent"
        RETURNED = "returned", "Returned"

    buyer = models.ForeignKey(User, on_delete=models.PROTECT, related_name="orders")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.PLACED, db_index=True)
    placed_at = models.DateTimeField(default=timezone.now, db_index=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    total = models.DecimalField(max_digits=9, decimal_places=2, default=0)

    objects = AsyncManager()

    def __str__(self) -> str:
        return f"order {self.pk}"


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="lines")
    quantity = models.PositiveSmallIntegerField(default=1)
    unit_price = models.DecimalField(max_digits=7, decimal_places=2)

    objects = AsyncManager()

    def __str__(self) -> str:
        return f"{self.quantity} of {self.book_id}"


class Review(models.Model):
    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="reviews")
    reader = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="reviews")
    stars = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    text = models.TextField(blank=True)
    written_at = models.DateTimeField(default=timezone.now)

    objects = AsyncManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["book", "reader"], name="one_review_each")]

    def __str__(self) -> str:
        return f"{self.stars} stars for {self.book_id}"
