"""Every way to build a queryset, fetched with `alist` and `aiterator`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import django
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, Subquery, Window
from django.db.models.functions import RowNumber, TruncYear

from tests.project.library.models import (
    Author,
    Book,
    Migrated,
    Note,
    Person,
    Place,
    Profile,
    Restaurant,
    Tag,
    Writer,
)
from tests.runtime.parity.outcome import Case, on

__all__ = ["CASES"]


def _evaluated_then_filtered() -> Any:
    books = Book.objects.all()
    len(books)
    return books.filter(price__lt=10)


CHAINS: dict[str, Callable[[], Any]] = {
    "filter": lambda: Book.objects.filter(author__name__startswith="A", price__lt=10),
    "exclude": lambda: Book.objects.exclude(tags__label="red").order_by("pk"),
    "Q": lambda: Book.objects.filter(Q(price__lt=6) | ~Q(editor=None)),
    "F": lambda: Book.objects.filter(author=F("editor")),
    "json": lambda: Book.objects.filter(meta__b=True),
    "json path": lambda: Book.objects.filter(meta__a__0=1),
    "array": lambda: Book.objects.filter(marks__contains=[1]),
    "order_by": lambda: Book.objects.order_by("-author__name", "title"),
    "reverse": lambda: Book.objects.reverse(),
    "slice": lambda: Book.objects.all()[1:3],
    "distinct": lambda: Book.objects.order_by("author").distinct("author"),
    "values": lambda: Book.objects.values("title", "author__name"),
    "all values": lambda: Book.objects.values(),
    "values_list": lambda: Book.objects.values_list("title", "price"),
    "values_list flat": lambda: Book.objects.values_list("title", flat=True),
    "values_list named": lambda: Book.objects.values_list("title", "price", named=True),
    "values groups": lambda: Book.objects.values("author").annotate(n=Count("pk")).order_by("author"),
    "dates": lambda: Book.objects.dates("published", "month"),
    "datetimes": lambda: Author.objects.datetimes("created", "day"),
    "select_related": lambda: Book.objects.select_related("author", "editor"),
    "select_related backwards": lambda: Author.objects.select_related("profile"),
    "prefetch_related": lambda: Book.objects.prefetch_related("tags", "author__groups", "notes"),
    "prefetch_related backwards": lambda: Tag.objects.prefetch_related("books__contributors").order_by("pk"),
    "prefetch_related of a queryset": lambda: Author.objects.prefetch_related(
        Prefetch("books", Book.objects.filter(price__gt=6), to_attr="dear")
    ),
    "prefetch_related of generic": lambda: Note.objects.prefetch_related("target").order_by("pk"),
    "prefetch_related to an unmanaged model": lambda: Author.objects.prefetch_related("plains", "likes"),
    "prefetch_related of nothing": lambda: Book.objects.prefetch_related("nofield"),
    "only": lambda: Book.objects.only("title"),
    "only across": lambda: Book.objects.select_related("author").only("title", "author__name"),
    "defer": lambda: Book.objects.defer("meta", "marks"),
    "annotate": lambda: Book.objects.annotate(n=Count("tags"), year=TruncYear("published")),
    "alias": lambda: Book.objects.alias(n=Count("tags")).filter(n__gt=0),
    "extra": lambda: Book.objects.extra(select={"twice": "price * 2"}),
    "subquery": lambda: Author.objects.annotate(
        last=Subquery(Book.objects.filter(author=OuterRef("pk")).order_by("-pk").values("title")[:1]),
        busy=Exists(Book.objects.filter(editor=OuterRef("pk"))),
    ),
    "window": lambda: Book.objects.annotate(
        row=Window(RowNumber(), partition_by=F("author"), order_by=F("pk").asc())
    ),
    "union": lambda: Tag.objects.filter(pk=1).union(Tag.objects.filter(pk=3)).order_by("label"),
    "intersection": lambda: Tag.objects.all().intersection(Tag.objects.filter(pk=2)),
    "difference": lambda: Tag.objects.all().difference(Tag.objects.filter(pk=2)).order_by("label"),
    "and": lambda: Book.objects.filter(price__lt=10) & Book.objects.filter(author=1),
    "or": lambda: Book.objects.filter(price__lt=6) | Book.objects.filter(author=3),
    "using": lambda: Book.objects.using("default"),
    "evaluated, then filtered": _evaluated_then_filtered,
    "two tables": lambda: Restaurant.objects.order_by("pk"),
    "parent of two tables": lambda: Place.objects.select_related("restaurant").order_by("pk"),
    "proxy": lambda: Writer.objects.grown_up(),
    "proxy's manager": lambda: Writer.objects.all(),
    "to itself": lambda: Person.everyone.select_related("parent").prefetch_related("friends", "children"),
    "first manager": lambda: Person.living.all(),
    "one to one": lambda: Profile.objects.select_related("author"),
    "custom queryset": lambda: Book.objects.cheap().cheap(),
    "custom queryset as manager": lambda: Book.as_books.cheap(),
    "manager used in migrations": lambda: Migrated.objects.all(),
    "pickled": lambda: pickle.loads(pickle.dumps(Book.objects.filter(price__lt=10))),
    "pickled with its rows": lambda: pickle.loads(pickle.dumps(Book.objects.prefetch_related("tags"))),
    "pickled query": lambda: _with_query(Book.objects.all(), Book.objects.filter(pk__lt=3).query),
    "pickled, of a related manager": lambda: pickle.loads(
        pickle.dumps(Author.objects.get(pk=1).groups.order_by("pk"))
    ),
    "deep copied": lambda: copy.deepcopy(Book.objects.filter(price__lt=10)),
    "locking": lambda: Book.objects.select_for_update(),
    "locking some": lambda: Book.objects.select_related("author").select_for_update(
        of=("self",), nowait=True
    ),
    "only of an annotation": lambda: Book.objects.annotate(x=Count("tags")).only("x"),
}


if django.VERSION < (6, 1):  # deprecated in 6.1
    CHAINS["select_related of all"] = lambda: Book.objects.select_related()


def _with_query(queryset: Any, query: Any) -> Any:
    queryset.query = pickle.loads(pickle.dumps(query))
    return queryset


CASES = [
    Case("QuerySet", verb, lambda chain=chain: on(chain()), note)  # type: ignore[misc]
    for verb in ("alist", "aiterator")
    for note, chain in CHAINS.items()
]
