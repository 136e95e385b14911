"""annotate() and alias(): rows keep their fields and gain what was annotated."""

from typing import Any

from django.db.models import Count, F
from shop.turbo import Book, Review
from typing_extensions import assert_type


async def right() -> None:
    async for book in Book.objects.annotate(stars=Count("reviews")).filter(stars__gt=1).order_by("-stars"):
        assert_type(book.title, str)
        assert_type(book.stars, Any)
    for found in await Book.objects.annotate(stars=Count("reviews")).published().alist():
        assert_type(found.title, str)
    for rated in await Book.objects.rated().filter(average__gt=3).alist():
        assert_type(rated.title, str)
        assert_type(rated.average, Any)
    assert_type(await Book.objects.alias(stars=Count("reviews")).filter(stars__gt=1).alist(), list[Book])
    async for review in Review.objects.annotate(double=F("stars") * 2):
        assert_type(review.stars, int)
        assert_type(review.double, Any)


async def wrong() -> None:
    Book.objects.annotate(stars=3)  # E: call-overload
    Book.objects.annotate("reviews")  # E: call-overload
    async for book in Book.objects.annotate(stars=Count("reviews")):
        title: int = book.title  # E: assignment
        print(title)
    async for plain in Book.objects.alias(stars=Count("reviews")):
        plain.stars  # E: attr-defined
