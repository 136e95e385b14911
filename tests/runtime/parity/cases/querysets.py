"""Every async method of QuerySet: what it returns, changes and raises."""

from __future__ import annotations

from functools import partial

import django
from django.db.models import Avg, Count, F, Max, Q, Sum
from django.db.models.functions import Upper

from tests.project.library.models import Author, Book, Place, Restaurant, Tag
from tests.runtime.parity.outcome import Call, Case, on

__all__ = ["CASES"]

case = partial(Case, "QuerySet")


def _changed_ages() -> Call:
    found = list(Author.objects.all())
    for number, author in enumerate(found):
        author.age = number
    return on(Author.objects.all(), found, ["age"])


def _contains(saved: bool) -> Call:
    return on(Author.objects.filter(age__gt=1), Author.objects.get(pk=1) if saved else Author(name="new"))


def _three() -> int:
    return 3


CASES = [
    # Reading
    case("alist", lambda: on(Author.objects.all())),
    case("alist", lambda: on(Author.objects.none()), "none"),
    case("alist", lambda: on(Author.objects.filter(name__regex="(")), "database error"),
    case("araw", lambda: on(Author.objects.all(), "SELECT id, name FROM library_author ORDER BY id")),
    case("__aiter__", lambda: on(Author.objects.all())),
    case("__aiter__", lambda: on(Author.objects.none()), "none"),
    case("aiterator", lambda: on(Author.objects.all())),
    case("aiterator", lambda: on(Author.objects.all(), chunk_size=1), "chunks of 1"),
    case("aiterator", lambda: on(Author.objects.all(), 2), "chunks of 2"),
    case("aiterator", lambda: on(Author.objects.all(), chunk_size=3), "one full chunk"),
    case("aiterator", lambda: on(Author.objects.prefetch_related("books"), 2), "prefetching"),
    case("aiterator", lambda: on(Author.objects.values_list("pk", flat=True), 2), "flat"),
    case("aiterator", lambda: on(Author.objects.none()), "none"),
    case("aiterator", lambda: on(Author.objects.all(), 0), "no chunk size"),
    case("aiterator", lambda: on(Author.objects.filter(name__regex="(")), "database error"),
    case("aget", lambda: on(Author.objects.all(), name="Ada")),
    case("aget", lambda: on(Author.objects.all(), Q(name="Ada"), age=36), "Q"),
    case("aget", lambda: on(Author.objects.filter(pk=2)), "no arguments"),
    case("aget", lambda: on(Author.objects.all(), name="Nobody"), "missing"),
    case("aget", lambda: on(Author.objects.all()), "too many"),
    case("aget", lambda: on(Author.objects.all(), nofield=1), "no such field"),
    case("aget", lambda: on(Author.objects.values("name"), pk=1), "values"),
    case("aget", lambda: on(Author.objects.all()[:2], pk=1), "slice"),
    case("afirst", lambda: on(Author.objects.all())),
    case("afirst", lambda: on(Tag.objects.all()), "unordered"),
    case("afirst", lambda: on(Author.objects.filter(pk=0)), "nothing"),
    case("afirst", lambda: on(Author.objects.order_by("-age", "pk")), "ordered"),
    case("afirst", lambda: on(Tag.objects.values("label").annotate(n=Count("books"))), "unordered groups"),
    case("alast", lambda: on(Author.objects.all())),
    case("alast", lambda: on(Author.objects.filter(pk=0)), "nothing"),
    case("alast", lambda: on(Author.objects.all()[:2]), "slice"),
    case("aearliest", lambda: on(Book.objects.filter(published__isnull=False))),
    case("aearliest", lambda: on(Book.objects.all(), "price", "-pk"), "fields"),
    case("aearliest", lambda: on(Book.objects.none()), "nothing"),
    case("aearliest", lambda: on(Tag.objects.all()), "no field to go by"),
    case("alatest", lambda: on(Book.objects.filter(published__isnull=False))),
    case("alatest", lambda: on(Book.objects.all(), "-price"), "fields"),
    case("alatest", lambda: on(Book.objects.filter(pk=0)), "nothing"),
    case("acount", lambda: on(Author.objects.all())),
    case("acount", lambda: on(Author.objects.all()[1:]), "slice"),
    case("acount", lambda: on(Book.objects.values("author").distinct()), "distinct"),
    case("aexists", lambda: on(Author.objects.filter(age=36))),
    case("aexists", lambda: on(Author.objects.filter(age=37)), "nothing"),
    case("acontains", lambda: _contains(saved=True)),
    case("acontains", lambda: _contains(saved=False), "unsaved"),
    case("acontains", lambda: on(Author.objects.values("pk"), Author.objects.get(pk=1)), "values"),
    case("acontains", lambda: on(Author.objects.all(), "Ada"), "not an instance"),
    case("aaggregate", lambda: on(Book.objects.all(), Avg("price"), top=Max("price"), n=Count("pk"))),
    case("aaggregate", lambda: on(Book.objects.all()), "nothing asked"),
    case("aaggregate", lambda: on(Book.objects.all()[:2], Sum("price")), "slice"),
    case("aaggregate", lambda: on(Author.objects.annotate(n=Count("books")), Max("n")), "of an annotation"),
    case("aaggregate", lambda: on(Book.objects.all(), Sum("nofield")), "no such field"),
    case("aaggregate", lambda: on(Book.objects.none(), n=Count("pk"), most=Max("price")), "none"),
    case("ain_bulk", lambda: on(Author.objects.all(), [1, 3, 99])),
    case("ain_bulk", lambda: on(Author.objects.all()), "all"),
    case("ain_bulk", lambda: on(Author.objects.all(), []), "no ids"),
    case("ain_bulk", lambda: on(Author.objects.all(), ["Ada"], field_name="name"), "by name"),
    case("ain_bulk", lambda: on(Author.objects.all(), [1], field_name="age"), "not unique"),
    case("ain_bulk", lambda: on(Author.objects.all()[:1], [1]), "slice"),
    case("aexplain", lambda: on(Author.objects.filter(pk=1), costs=False)),
    case("aexplain", lambda: on(Author.objects.all(), format="json", costs=False), "json"),
    case("aexplain", lambda: on(Author.objects.all(), format="nonsense"), "unknown format"),
    case("aexplain", lambda: on(Author.objects.all(), **{"a b": True}), "unknown option"),
    # Writing
    case("acreate", lambda: on(Author.objects.all(), name="Dot", age=1)),
    case("acreate", lambda: on(Author.objects.all(), name="Ada"), "conflict"),
    case("acreate", lambda: on(Author.objects.all(), nofield=1), "no such field"),
    case("acreate", lambda: on(Restaurant.objects.all(), name="Bar", stars=2), "two tables"),
    case("acreate", lambda: on(Author.objects.all(), pk=77, name=Upper("name")), "expression of no row"),
    case("abulk_create", lambda: on(Tag.objects.all(), [Tag(label="x"), Tag(label="y")])),
    case(
        "abulk_create",
        lambda: on(Tag.objects.all(), [Tag(pk=50, label="x"), Tag(label="y")]),
        "some keys",
    ),
    case("abulk_create", lambda: on(Tag.objects.all(), [Tag(label=c) for c in "abcde"], 2), "batches"),
    case("abulk_create", lambda: on(Tag.objects.all(), []), "nothing"),
    case("abulk_create", lambda: on(Tag.objects.all(), [Tag(label="red")]), "conflict"),
    case(
        "abulk_create",
        lambda: on(Tag.objects.all(), [Tag(label="red"), Tag(label="new")], ignore_conflicts=True),
        "ignoring conflicts",
    ),
    case(
        "abulk_create",
        lambda: on(
            Author.objects.all(),
            [Author(name="Ada", age=99), Author(name="Zoe", age=5)],
            update_conflicts=True,
            update_fields=["age"],
            unique_fields=["name"],
        ),
        "updating conflicts",
    ),
    case(
        "abulk_create",
        lambda: on(Tag.objects.all(), [Tag(label="x")], ignore_conflicts=True, update_conflicts=True),
        "both kinds of conflict",
    ),
    case("abulk_create", lambda: on(Tag.objects.all(), [Tag(label="x")], batch_size=-1), "bad batch size"),
    case("abulk_create", lambda: on(Restaurant.objects.all(), [Restaurant(name="x")]), "two tables"),
    case("abulk_update", _changed_ages),
    case(
        "abulk_update",
        lambda: on(Book.objects.all(), list(Book.objects.all()), ["price", "meta"], batch_size=3),
        "batches",
    ),
    case("abulk_update", lambda: on(Author.objects.all(), [Author(name="x")], ["age"]), "unsaved"),
    case("abulk_update", lambda: on(Author.objects.all(), list(Author.objects.all()), ["pk"]), "the key"),
    case("abulk_update", lambda: on(Author.objects.all(), [], ["age"]), "nothing"),
    case("abulk_update", lambda: on(Author.objects.all(), list(Author.objects.all()), []), "no fields"),
    case("aget_or_create", lambda: on(Author.objects.all(), name="Ada", defaults={"age": 1}), "found"),
    case("aget_or_create", lambda: on(Author.objects.all(), name="Dot", defaults={"age": 1}), "created"),
    case("aget_or_create", lambda: on(Author.objects.all(), name="x", defaults={"age": _three}), "callable"),
    case("aget_or_create", lambda: on(Author.objects.filter(age=0), name="Ada"), "conflict"),
    case("aget_or_create", lambda: on(Author.objects.all(), pk__in=[1, 2]), "too many"),
    case("aget_or_create", lambda: on(Author.objects.all(), nofield=2), "no such field"),
    case("aupdate_or_create", lambda: on(Author.objects.all(), name="Ada", defaults={"age": 1}), "updated"),
    case("aupdate_or_create", lambda: on(Author.objects.all(), name="Dot", defaults={"age": 1}), "created"),
    case("aupdate_or_create", lambda: on(Author.objects.filter(age=0), name="Ada"), "conflict"),
    case("aupdate_or_create", lambda: on(Author.objects.all(), {"age": 5}, name="Ada"), "by position"),
    case("aupdate", lambda: on(Book.objects.filter(price__lt=10), price=F("price") * 2)),
    case("aupdate", lambda: on(Book.objects.filter(author__name="Ada"), title="x"), "through a join"),
    case("aupdate", lambda: on(Restaurant.objects.all(), name="x", stars=9), "two tables"),
    case("aupdate", lambda: on(Book.objects.none(), title="x"), "none"),
    case("aupdate", lambda: on(Book.objects.all()[:1], title="x"), "slice"),
    case("aupdate", lambda: on(Author.objects.all(), name="same"), "conflict"),
    case("aupdate", lambda: on(Book.objects.all(), tags=1), "a relation"),
    case("adelete", lambda: on(Author.objects.filter(name="Ada")), "cascade"),
    case("adelete", lambda: on(Tag.objects.filter(books=None)), "unused"),
    case("adelete", lambda: on(Place.objects.all()), "two tables"),
    case("adelete", lambda: on(Book.objects.none()), "none"),
    case("adelete", lambda: on(Book.objects.all()[:1]), "slice"),
    case("adelete", lambda: on(Book.objects.values("pk")), "values"),
    case("adelete", lambda: on(Book.objects.distinct("author")), "distinct"),
]

if django.VERSION >= (5, 0):
    CASES += [
        case(
            "aupdate_or_create",
            lambda name=name: on(  # type: ignore[misc]
                Author.objects.all(), name=name, defaults={"age": 1}, create_defaults={"age": 2}
            ),
            f"create_defaults, {name}",
        )
        for name in ("Ada", "Dot")
    ]
