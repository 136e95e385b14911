"""values(), values_list(), dates()."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Count, F
from shop.turbo import Book, BookQuerySet, BookRow, Review
from typing_extensions import assert_type


async def right() -> None:
    assert_type(await Book.objects.values_list("title", flat=True).alist(), list[str])
    assert_type(await Book.objects.values_list("price", flat=True).afirst(), Decimal | None)
    assert_type(await Book.objects.values_list("author", flat=True).alist(), list[int])
    assert_type(await Book.objects.values_list("published_on", flat=True).alist(), list[date | None])
    assert_type(await Book.objects.values_list("author__username", flat=True).alist(), list[str])
    assert_type(await Book.objects.values_list("editor__username", flat=True).alist(), list[str | None])
    assert_type(await Book.objects.values_list("pk", flat=True).filter(title="x").alist(), list[int])
    assert_type(await Book.objects.values_list("title", "price").alist(), list[tuple[Any, ...]])
    assert_type(Book.objects.values(), BookQuerySet[BookRow])
    async for row in Book.objects.values():
        assert_type(row["price"], Decimal)
        assert_type(row["author_id"], int)
    assert_type(await Book.objects.values("title", "author__username").alist(), list[dict[str, Any]])
    by_author = Book.objects.values("author").annotate(books=Count("id")).filter(books__gt=1).order_by("-books")
    assert_type(await by_author.alist(), list[dict[str, Any]])
    rated = Book.objects.values("author", n=Count("reviews")).filter(n__gt=1).order_by("-n", "author")
    assert_type(await rated.alist(), list[dict[str, Any]])
    Review.objects.values_list("stars", named=True)
    Review.objects.values_list("stars", "text", named=False)
    Review.objects.values_list("stars", flat=False)
    Book.objects.values_list(F("title"), "price")
    assert_type(await Book.objects.dates("published_on", "year").alist(), list[date])


async def wrong() -> None:
    Book.objects.values_list("titel", flat=True)  # E: arg-type
    Book.objects.values_list("title", "prize")  # E: arg-type
    Book.objects.values_list("titel", named=True)  # E: arg-type
    Book.objects.values_list("title", "price", flat=True)  # E: call-overload
    Book.objects.values("titel")  # E: arg-type
    Book.objects.values("titel", n=Count("reviews"))  # E: arg-type
    Book.objects.values("author", n="reviews")  # E: call-overload
    titles: list[int] = await Book.objects.values_list("title", flat=True).alist()  # E: assignment
    row = await Book.objects.values().aget(pk=1)
    row["titel"]  # E: typeddict-item
    await Book.objects.values_list("title", flat=True).filter(titel="x").alist()  # E: call-arg
    print(titles)
