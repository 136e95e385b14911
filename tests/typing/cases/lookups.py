"""filter(), exclude(), get(), aget(): names of fields and lookups, and their values."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import accounts.models
from accounts.turbo import User
from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Lower
from psycopg.types.range import Range
from shop.turbo import Book, BookQuerySet, Review, Tag
from typing_extensions import assert_type


async def right(user: User, options: dict[str, Any]) -> None:
    assert_type(Book.objects.filter(title="x"), BookQuerySet[Book])
    assert_type(Book.objects.exclude(title__icontains="x"), BookQuerySet[Book])
    assert_type(await Book.objects.aget(pk=1), Book)
    assert_type(Book.objects.get(id=1), Book)
    Book.objects.filter(title__in=["x", "y"])
    Book.objects.filter(pk__in=[1, 2], id__range=(1, 9), id__gte=2)
    Book.objects.filter(price__gte=Decimal("1.5"), price__lt=10)
    Book.objects.filter(published_on=None, published_on__isnull=True)
    Book.objects.filter(published_on__year=2020, published_on__year__gte=2020, published_on__month=1)
    Book.objects.filter(id__contained_by=Range(1, 5), price__contained_by=Range(1, 5))
    Book.objects.filter(published_on__contained_by=(date.today(), None), id__contained_by=[1, 5])
    Book.objects.filter(id__range=[1, 5], price__range=[1, Decimal("1.5")])
    Book.objects.filter(published_on__range=(date(2020, 1, 1), date.today() - timedelta(1)))
    Book.objects.filter(created_at__date=date.today(), created_at__date__gte=date.today())
    Book.objects.filter(author=user, editor=None)
    Book.objects.filter(author=accounts.models.User(), author_id=3)
    Book.objects.filter(author=1, author__in=[user, accounts.models.User()], author_id__in=[1, 2])
    Book.objects.filter(author__in=User.objects.filter(is_active=True), editor__in=[user, 3, F("author")])
    Book.objects.filter(author__username__startswith="x", author__score__isnull=False)
    Book.objects.filter(tags__name="x", tags__in=[UUID(int=1)], reviews__stars__gte=3)
    Book.objects.filter(title=F("author__username"), price__lt=F("price") * 2)
    Book.objects.filter(title=Lower("title"), id__in=Review.objects.values("book"))
    Book.objects.filter(Exists(Review.objects.filter(book=OuterRef("pk"))))
    Book.objects.filter(Case(When(Q(title="x"), then=Value(True)), default=Value(False)))
    Book.objects.filter(price=Subquery(Book.objects.values("price")[:1]))
    Book.objects.filter(meta={"a": 1}, meta__has_key="a", meta__contains={"a": 1})
    Book.objects.filter(kind=Book.Kind.NOVEL, kind__in=[Book.Kind.NOVEL])
    Book.objects.filter(**options)
    Tag.objects.filter(id=UUID(int=1), books__title="x")
    User.objects.filter(books__title="x", profile__bio__icontains="y", books=None, groups__name="staff")


async def wrong(book: Book, user: User) -> None:
    Book.objects.filter(titel="x")  # E: call-arg
    Book.objects.filter(title__icontain="x")  # E: call-arg
    Book.objects.exclude(titel="x")  # E: call-arg
    await Book.objects.aget(titel="x")  # E: call-arg
    Book.objects.filter(title=1)  # E: arg-type
    Book.objects.filter(title__icontains=b"x")  # E: arg-type
    Book.objects.filter(title__in="x", pk__in=3)  # E: arg-type
    Book.objects.filter(pk__in=["x"])  # E: list-item
    Book.objects.filter(title=None)  # E: arg-type
    Book.objects.filter(author=None)  # E: arg-type
    Book.objects.filter(author__usrname="x")  # E: call-arg
    Book.objects.filter(author__username=1)  # E: arg-type
    Book.objects.filter(author__username=None)  # E: arg-type
    Book.objects.filter(author="x")  # E: arg-type
    Book.objects.filter(author=book)  # E: arg-type
    Book.objects.filter(author_id=user)  # E: arg-type
    Book.objects.filter(author__in=[book])  # E: list-item
    Book.objects.filter(published_on__year="x")  # E: arg-type
    Book.objects.filter(published_on__isnull="x")  # E: arg-type
    Book.objects.filter(id__contained_by=3)  # E: arg-type
    Book.objects.filter(id__range=(1, 2, 3))  # E: arg-type
    Book.objects.filter(tags__name=3)  # E: arg-type
    Book.objects.filter(is_active=True)  # E: call-arg
    Book.objects.filter(F("author__is_active"))  # E: arg-type
    Book.objects.exclude(OuterRef("author__is_active"))  # E: arg-type
