"""Slices, set operations, hand-written querysets, conditional rebuilding."""

from shop.turbo import Book, BookManager, BookQuerySet
from typing_extensions import assert_type


async def right(flag: bool) -> None:
    assert_type(Book.objects.filter(title="x")[0], Book)
    assert_type(Book.objects.filter(title="x")[:5], BookQuerySet[Book])
    assert_type(Book.objects.filter(title="x") | Book.objects.filter(price=1), BookQuerySet[Book])
    assert_type(Book.objects.published(), BookQuerySet[Book])
    assert_type(Book.objects.filter(title="x").published().filter(price=1), BookQuerySet[Book])
    assert_type(Book.objects.costing(1, most=2).exclude(title="x"), BookQuerySet[Book])
    assert_type(Book.objects.union(Book.objects.published(), all=True), BookQuerySet[Book])
    assert_type(Book.objects.none(), BookQuerySet[Book])
    assert_type(Book.objects.using("other"), BookQuerySet[Book])
    assert_type(Book.objects, BookManager)
    books = Book.objects.all()
    if flag:
        books = books.filter(title="x")
    books = books.order_by("title")[:3]
    assert_type(await books.alist(), list[Book])


async def wrong() -> None:
    Book.objects.publishd()  # E: attr-defined
    Book.objects.costing("x")  # E: arg-type
    Book.objects.costing(1, 2, 3)  # E: call-arg
    Book.objects.published().filter(titel="x")  # E: call-arg
    Book.objects[0]  # E: index
    books: list[Book] = Book.objects.all()  # E: assignment
    print(books)
