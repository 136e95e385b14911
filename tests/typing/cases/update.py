"""aupdate(), abulk_update(), asave(), arefresh_from_db(), adelete()."""

from accounts.turbo import User
from django.db.models import F
from django.db.models.functions import Now
from shop.turbo import Book
from typing_extensions import assert_type


async def right(book: Book, user: User) -> None:
    assert_type(await Book.objects.filter(pk=1).aupdate(title="x", price=F("price") + 1), int)
    await Book.objects.aupdate(author=user, editor=None, published_on=Now(), publisher_id=3)
    assert_type(await Book.objects.abulk_update([book], ["title", "price"]), int)
    await book.asave(update_fields=["title", "author"])
    await book.asave(force_insert=True, using="other")
    await book.arefresh_from_db(fields=["title"])
    assert_type(await book.adelete(), tuple[int, dict[str, int]])
    book.save(update_fields=("title",))


async def wrong(book: Book) -> None:
    await Book.objects.aupdate(titel="x")  # E: call-arg
    await Book.objects.aupdate(title=1)  # E: arg-type
    await Book.objects.aupdate(title=None)  # E: arg-type
    await Book.objects.aupdate(author=book)  # E: arg-type
    await Book.objects.abulk_update([book], ["titel"])  # E: list-item
    await book.asave(update_fields=["titel"])  # E: list-item
    await book.arefresh_from_db(fields=["titel"])  # E: list-item
