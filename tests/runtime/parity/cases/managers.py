"""The manager's shortcuts: every queryset verb on `Model.objects`."""

from __future__ import annotations

import uuid
from functools import partial

from django.db.models import Count

from tests.project.library.models import Author, Book, Person, Tag, Writer
from tests.runtime.parity.outcome import Case, on

__all__ = ["CASES"]

case = partial(Case, "Manager")

CASES = [
    case("alist", lambda: on(Author.objects)),
    case("araw", lambda: on(Author.objects, "SELECT * FROM library_author WHERE id < %s", [3])),
    case("aiterator", lambda: on(Author.objects, chunk_size=2)),
    case("aget", lambda: on(Author.objects, pk=1)),
    case("afirst", lambda: on(Author.objects)),
    case("alast", lambda: on(Author.objects)),
    case("aearliest", lambda: on(Book.objects, "pk")),
    case("alatest", lambda: on(Book.objects, "pk")),
    case("acount", lambda: on(Author.objects)),
    case("aexists", lambda: on(Author.objects)),
    case("acontains", lambda: on(Author.objects, Author.objects.get(pk=1))),
    case("aaggregate", lambda: on(Author.objects, n=Count("books"))),
    case("ain_bulk", lambda: on(Author.objects, [1])),
    case("aexplain", lambda: on(Author.objects, costs=False)),
    case("acreate", lambda: on(Tag.objects, label="x")),
    case("abulk_create", lambda: on(Tag.objects, [Tag(label="x")])),
    case("abulk_update", lambda: on(Author.objects, list(Author.objects.all()), ["age"])),
    case("aget_or_create", lambda: on(Tag.objects, label="x")),
    case("aupdate_or_create", lambda: on(Tag.objects, label="red", defaults={"label": "x"})),
    case("aupdate", lambda: on(Author.objects, age=1)),
    case("adelete", lambda: on(Tag.objects)),
    case("acount", lambda: on(Author.objects.db_manager("default")), "db_manager"),
    case("acount", lambda: on(Person.living), "own get_queryset"),
    case("acount", lambda: on(Person.everyone), "second manager"),
    case("acount", lambda: on(Person._default_manager), "default manager"),
    case("acount", lambda: on(Writer.objects), "proxy"),
    case("acount", lambda: on(Book.as_books), "as_manager"),
    case(
        "acreate",
        lambda: on(Person.living, pk=uuid.UUID(int=9), name="x", alive=False),
        "filtered",
    ),
]
