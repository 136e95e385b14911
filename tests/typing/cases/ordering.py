"""order_by(), earliest(), latest(), distinct()."""

from django.db.models import F
from shop.turbo import Book, BookOrder, BookQuerySet
from typing_extensions import assert_type


async def right(order: BookOrder) -> None:
    assert_type(Book.objects.order_by("title", "-price", "?"), BookQuerySet[Book])
    Book.objects.order_by("author__username", "-author__score", "pk", "-pk", order)
    Book.objects.order_by(F("price").desc(nulls_last=True))
    assert_type(await Book.objects.alatest("created_at"), Book)
    assert_type(await Book.objects.aearliest("-price"), Book)
    Book.objects.distinct("title").reverse()
    newest: BookOrder = "-created_at"
    Book.objects.order_by(newest)


def wrong(order: str) -> None:
    Book.objects.order_by("titel")  # E: arg-type
    Book.objects.order_by("-titel")  # E: arg-type
    Book.objects.order_by("author__usrname")  # E: arg-type
    Book.objects.order_by(order)  # E: arg-type
    Book.objects.distinct("titel")  # E: arg-type
    newest: BookOrder = "-creatd_at"  # E: assignment
    print(newest)
