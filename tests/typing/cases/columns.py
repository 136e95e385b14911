"""columns: select(), conditions, ordering, expressions."""

from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts.turbo import User
from django.db.models import BooleanField, Case, Count, Exists, F, Q, Sum, When
from django.db.models.functions import Coalesce, Upper
from django.db.models.lookups import Exact
from shop.turbo import Book, BookQ, BookQuerySet, Review, Tag
from typing_extensions import assert_type

from turbo_orm import Column

b = Book.objects.columns
u = User.objects.columns


async def right(book: Book, user: User) -> None:
    assert_type(await Book.objects.select(b.id, b.title, b.author.score).alist(), list[tuple[int, str, int | None]])
    assert_type(Book.objects.select(b.id), BookQuerySet[tuple[int]])
    assert_type(await Book.objects.select(b.published_on, b.price).afirst(), tuple[date | None, Decimal] | None)
    assert_type(await Book.objects.filter(title="x").select(b.pk, b.kind).aget(pk=1), tuple[int, str])
    assert_type(await Book.objects.select(b.title).filter(title__icontains="x").alist(), list[tuple[str]])
    assert_type(await Book.objects.select(b.title, flat=True).alist(), list[str])
    assert_type(await Book.objects.select(b.editor.username, flat=True).alist(), list[str | None])
    assert_type(await Book.objects.select(b.author_id, b.editor_id).alist(), list[tuple[int, int | None]])
    assert_type(await Book.objects.select(b.author.profile.bio).alist(), list[tuple[str | None]])
    assert_type(await Book.objects.select(b.publisher.books.author.username).alist(), list[tuple[str | None]])
    assert_type(await Book.objects.select(b.tags.id, b.reviews.stars).alist(), list[tuple[UUID | None, int | None]])
    assert_type(await Book.objects.select(b.created_at.date, b.published_on.year).alist(), list[tuple[date, int | None]])
    assert_type(await Book.objects.select(b.meta, b.id).alist(), list[tuple[Any, int]])
    assert_type(await Book.objects.select(b.meta["colour"], b.id).alist(), list[tuple[Any, int]])
    assert_type(
        await Book.objects.select(b.id, b.id, b.id, b.id, b.title, b.title, b.price, b.author.is_active).alist(),
        list[tuple[int, int, int, int, str, str, Decimal, bool]],
    )
    nine = Book.objects.select(b.id, b.id, b.id, b.id, b.id, b.id, b.id, b.id, b.title)
    assert_type(await nine.alist(), list[tuple[Any, ...]])
    assert_type(await user.books.select(b.id, b.title).alist(), list[tuple[int, str]])
    assert_type(await Book.objects.published().select(b.title, flat=True).alist(), list[str])
    assert_type(await book.reviews.select(book.reviews.columns.stars, flat=True).alist(), list[int])
    async for number, title in Book.objects.select(b.id, b.title):
        assert_type(title, str)
        assert_type(number, int)
    for stars, username in Review.objects.select(Review.objects.columns.stars, Review.objects.columns.author.username):
        assert_type((stars, username), tuple[int, str])
    assert_type(Book.objects.annotate(n=Count("tags")).select(b.id, b.title).first(), tuple[int, str] | None)

    assert_type(b.title.eq("x"), Q)
    Book.objects.filter(b.title.eq("x") | ~b.author.username.icontains("y"), b.price.lt(3), title="x")
    Book.objects.filter(b.price.range(1, Decimal(3)), b.published_on.isnull(), b.published_on.year.gte(2020))
    Book.objects.exclude(b.author.score.in_([1, 2]), b.id.in_(Book.objects.select(b.id)))
    Book.objects.filter(b.created_at.gt(datetime.now(timezone.utc)), b.created_at.date.lte(date.today()))
    Book.objects.filter(b.title.eq(b.author.username), b.price.gt(F("id") + 1), price__lt=b.id)
    Book.objects.filter(BookQ(title="x") | b.title.ne("y"), b.meta["colour"].eq("red"), b.meta.lookup("has_key", "x"))
    await Book.objects.aget(b.id.eq(1))
    User.objects.filter(Exact(Upper("username"), "X"), ~Exists(Book.objects.filter(pk=1)), u.is_active.eq(True))
    User.objects.exclude(Case(When(pk=1, then=True), output_field=BooleanField()))
    Tag.objects.filter(Tag.objects.columns.id.eq("c0ffee"), Tag.objects.columns.books.title.startswith("x"))
    Book.objects.order_by(b.title, b.price.desc(nulls_last=True), b.author.username.asc(), "-id", F("x"), "?")
    Book.objects.order_by(Upper(b.title).desc(), b.price * 2 - 1, Coalesce(b.editor_id, b.author_id))
    await Book.objects.alatest(b.created_at)
    await Book.objects.annotate(n=Count(b.tags.pk), loud=Upper(b.title), twice=b.price * 2).alist()
    await Book.objects.aaggregate(total=Sum(b.price))
    await Book.objects.aupdate(price=b.price + 1)


def titled(column: Column[Book, str]) -> BookQuerySet[tuple[str]]:
    return Book.objects.select(column)


titled(b.title)
titled(b.author.username)


async def wrong() -> None:
    Book.objects.filter(b.title)  # E: arg-type
    BookQ(b.author.is_active)  # E: arg-type
    await User.objects.aget(u.is_active)  # E: arg-type
    BookQ(b.meta["colour"])  # E: arg-type
    Book.objects.filter(User.objects.all())  # E: arg-type
    Book.objects.select(b.titel)  # E: attr-defined
    Book.objects.select(b.author.user_name)  # E: attr-defined
    Book.objects.select("title")  # E: call-overload
    Book.objects.select(F("title"))  # E: call-overload
    Book.objects.select(b.author)  # E: call-overload
    Book.objects.select(b.id, u.id)  # E: arg-type
    Book.objects.select(b.id, b.title, flat=True)  # E: call-overload
    rows: list[tuple[int, int]] = await Book.objects.select(b.id, b.title).alist()  # E: assignment
    names: list[str] = await Book.objects.select(b.editor.username, flat=True).alist()  # E: assignment
    row = await Book.objects.select(b.id, b.title).aget(pk=1)
    row[2]  # E: misc
    row.title  # E: attr-defined
    Book.objects.select(b.id).filter(titel="x")  # E: call-arg
    Book.objects.filter(b.title.eq(3))  # E: arg-type
    Book.objects.filter(b.price.lt("3"))  # E: arg-type
    Book.objects.filter(b.author.score.in_(["x"]))  # E: list-item
    Book.objects.filter(b.published_on.gt("2020-01-01"))  # E: arg-type
    Book.objects.filter(b.id.icontains("1"))  # E: attr-defined
    Book.objects.filter(b.author.is_active.gt(False))  # E: attr-defined
    Book.objects.filter(b.title.year.eq(1))  # E: attr-defined
    Book.objects.filter(b.published_on.year.eq("2020"))  # E: arg-type
    Book.objects.filter(b.title == "x")  # E: comparison-overlap
    print(b.price < 3)  # E: operator
    Book.objects.order_by(b.titel)  # E: attr-defined
    Book.objects.order_by(u.username)  # E: arg-type
    Book.objects.order_by(u.username.desc())  # E: arg-type
    titled(b.id)  # E: arg-type
    titled(u.username)  # E: arg-type
    print(rows, names)
