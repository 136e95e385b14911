"""acreate(), constructors, bulk_create()."""

from decimal import Decimal

import shop.models
from accounts.turbo import User
from shop.turbo import Book, BookCreate, BookInit
from typing_extensions import assert_type


async def right(user: User) -> None:
    assert_type(await Book.objects.acreate(title="x", price=Decimal(1), author=user), Book)
    await Book.objects.acreate(title="x", price=1, author_id=1, kind=Book.Kind.ESSAY, published_on=None)
    assert_type(Book.objects.create(title="x", price=1, author=user), Book)
    given: BookCreate = {"title": "x", "price": Decimal(1)}
    await Book.objects.acreate(**given)
    book = Book(title="x", author=user, meta={"a": 1})
    part: BookInit = {"title": "x"}
    Book(**part)
    assert_type(await Book.objects.abulk_create([book, shop.models.Book(title="y")]), list[Book])
    await Book.objects.abulk_create([book], update_conflicts=True, update_fields=["title"], unique_fields=("id",))


async def wrong(user: User, book: Book) -> None:
    await Book.objects.acreate(titel="x", title="x", price=1)  # E: call-arg
    await Book.objects.acreate(title="x", author=user)  # E: call-arg
    await Book.objects.acreate(title=1, price=1)  # E: arg-type
    await Book.objects.acreate(title=None, price=1)  # E: arg-type
    await Book.objects.acreate(title="x", price=1, author=book)  # E: arg-type
    await Book.objects.acreate(title="x", price="1")  # E: arg-type
    Book(titel="x")  # E: call-arg
    Book(title=1)  # E: arg-type
    given: BookCreate = {"title": "x"}  # E: typeddict-item
    extra: BookInit = {"titel": "x"}  # E: typeddict-unknown-key
    await Book.objects.abulk_create([user])  # E: list-item
    await Book.objects.abulk_create([book], update_fields=["titel"])  # E: list-item
    print(given, extra)
