"""only(), defer(), select_related(), prefetch_related(), select_for_update()."""

from django.db.models import Prefetch
from lending.turbo import Loan, Receipt
from shop.turbo import Book, BookQuerySet, Review
from typing_extensions import assert_type

from turbo_orm.fetch_modes import FETCH_ONE, FETCH_PEERS, FETCH_RAISE


def right() -> None:
    assert_type(Book.objects.only("title", "author__username"), BookQuerySet[Book])
    Book.objects.defer("meta").defer(None)
    assert_type(Book.objects.select_related("author", "author__profile"), BookQuerySet[Book])
    Book.objects.select_related().select_related(None)
    Book.objects.prefetch_related("tags", "reviews", "reviews__author", "author__profile")
    Book.objects.prefetch_related(Prefetch("reviews", queryset=Review.objects.filter(stars=5), to_attr="best"))
    Book.objects.select_for_update(of=("self",), skip_locked=True)
    Book.objects.select_for_update(of=["self", "author"], no_key=True)
    assert_type(Book.objects.fetch_mode(FETCH_PEERS), BookQuerySet[Book])
    assert_type(Book.objects.filter(title="x").fetch_mode(FETCH_RAISE).fetch_mode(FETCH_ONE)[0], Book)


def added_by_a_prefetch(loan: Loan) -> None:
    """Annotated in the model, with a class of the facade."""
    assert_type(loan.receipts, list[Receipt])


def wrong() -> None:
    Book.objects.fetch_mode("peers")  # E: arg-type
    Book.objects.only("titel")  # E: arg-type
    Book.objects.defer("titel")  # E: arg-type
    Book.objects.select_related("tags")  # E: arg-type
    Book.objects.select_related("auther")  # E: arg-type
    Book.objects.prefetch_related("tag")  # E: arg-type
    Book.objects.select_for_update(of=("tags",))  # E: arg-type
