"""aget_or_create() and aupdate_or_create()."""

from datetime import date

from django.db.models import F
from shop.turbo import Book, Review
from typing_extensions import assert_type


async def right(book: Book) -> None:
    assert_type(await Review.objects.aget_or_create(book=book, author_id=1), tuple[Review, bool])
    await Review.objects.aget_or_create(book=book, author_id=1, defaults={"stars": 1})
    await Review.objects.aupdate_or_create(book=book, author_id=1, defaults={"stars": F("stars") + 1})
    await Review.objects.aupdate_or_create({"stars": 2}, create_defaults={"stars": 1}, book=book)
    await Book.objects.aget_or_create(title__iexact="dune", defaults={"title": "Dune"})
    await Book.objects.aupdate_or_create(created_at__date=date(2026, 1, 1), pk=1, create_defaults={"title": "Dune"})
    review, created = Review.objects.get_or_create(book=book, author_id=1)
    assert_type(review, Review)
    assert_type(created, bool)


async def wrong(book: Book) -> None:
    await Review.objects.aget_or_create(bok=book)  # E: call-arg
    await Review.objects.aget_or_create(book=1)  # E: arg-type
    await Book.objects.aget_or_create(title__iexac="dune")  # E: call-arg
    await Book.objects.aget_or_create(title__iexact=1)  # E: arg-type
    await Review.objects.aget_or_create(book=book, defaults={"stras": 1})  # E: typeddict-unknown-key
    await Review.objects.aget_or_create(book=book, defaults={"stars": "x"})  # E: typeddict-item
    await Review.objects.aupdate_or_create(book=book, defaults={"stras": 1})  # E: typeddict-unknown-key
