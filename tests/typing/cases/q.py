"""Q, and the typed Q of a model."""

from django.db.models import Q
from shop.turbo import Book, BookQ, BookQuerySet
from typing_extensions import assert_type


def right() -> None:
    assert_type(BookQ(title="x"), Q)
    assert_type(Book.objects.filter(BookQ(title="x") | ~BookQ(title__icontains="y")), BookQuerySet[Book])
    Book.objects.filter(Q(title="x") | Q(meta__a__b=1), price=1)
    Book.objects.filter(BookQ(BookQ(title="x"), author__username="y") & Q(price=1))


def wrong() -> None:
    BookQ(titel="x")  # E: call-arg
    BookQ(title=1)  # E: arg-type
    BookQ(author__usrname="x")  # E: call-arg
    Book.objects.filter("title")  # E: arg-type
