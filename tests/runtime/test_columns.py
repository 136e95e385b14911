"""Columns as attributes: what `columns`, `select()` and conditions of columns give is Django's by name."""

from __future__ import annotations

import datetime as dt
import pickle
from decimal import Decimal
from typing import Any

import django
import pytest
from django.core.exceptions import FieldError
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Upper

from tests.project.library.models import Author, Book, Note, Place, Restaurant, Tag
from turbo_orm import AsyncQuerySet, Column, run_sync

b = Book.objects.columns


def sql(queryset: Any) -> str:
    return str(queryset.query)


@pytest.fixture
async def books(observer):
    ann = await Author.objects.acreate(name="Ann", age=40)
    bob = await Author.objects.acreate(name="Bob")
    tag = await Tag.objects.acreate(label="new")
    rows = [
        await Book.objects.acreate(
            title=title,
            author=author,
            editor=editor,
            price=price,
            published=dt.date(2000 + price, 5, 1) if price else None,
            meta={"colour": title.lower(), "size": {"pages": price}},
            marks=[price, 7],
        )
        for title, author, editor, price in [("A", ann, bob, 3), ("B", ann, None, 12), ("C", bob, ann, 0)]
    ]
    await rows[0].tags.aadd(tag)
    return rows


CONDITIONS = [
    (b.title.eq("A"), Q(title="A")),
    (b.title.ne("A"), ~Q(title="A")),
    (b.title.in_(["A", "B"]), Q(title__in=["A", "B"])),
    (b.title.icontains("a") | b.price.gt(3), Q(title__icontains="a") | Q(price__gt=3)),
    (b.price.range(1, 5) & ~b.price.lt(2), Q(price__range=(1, 5)) & ~Q(price__lt=2)),
    (b.price.gte(F("pk")), Q(price__gte=F("pk"))),
    (b.price.lte(b.pk), Q(price__lte=F("pk"))),
    (b.editor_id.isnull(), Q(editor_id__isnull=True)),
    (b.editor_id.range(1, 9), Q(editor__id__range=(1, 9))),
    (b.editor.name.isnull(False), Q(editor__name__isnull=False)),
    (b.author.name.startswith("A"), Q(author__name__startswith="A")),
    (b.author.name.istartswith("a"), Q(author__name__istartswith="a")),
    (b.author.name.endswith("n"), Q(author__name__endswith="n")),
    (b.author.name.iendswith("N"), Q(author__name__iendswith="N")),
    (b.author.name.iexact("ANN"), Q(author__name__iexact="ANN")),
    (b.author.name.contains("n"), Q(author__name__contains="n")),
    (b.author.name.regex("^A"), Q(author__name__regex="^A")),
    (b.author.name.iregex("^a"), Q(author__name__iregex="^a")),
    (b.author.pk.eq(1), Q(author__pk=1)),
    (b.tags.label.eq("new"), Q(tags__label="new")),
    (b.tags.pk.isnull(), Q(tags__pk__isnull=True)),
    (b.author.books.editor.age.gt(1), Q(author__books__editor__age__gt=1)),
    (b.published.year.gte(2010), Q(published__year__gte=2010)),
    (b.published.month.eq(5), Q(published__month=5)),
    (b.author.created.date.gt(dt.date(2020, 1, 1)), Q(author__created__date__gt="2020-01-01")),
    (b.author.created.date.year.gt(2020), Q(author__created__date__year__gt=2020)),
    (b.meta["colour"].eq("a"), Q(meta__colour="a")),
    (b.meta["size"]["pages"].gt(1), Q(meta__size__pages__gt=1)),
    (b.meta.lookup("has_key", "colour"), Q(meta__has_key="colour")),
    (b.marks[1].eq(7), Q(marks__1=7)),
    (b.marks.contains([7]), Q(marks__contains=[7])),
    (b.marks.len.eq(2), Q(marks__len=2)),
    (b.notes.text.eq("x"), Q(notes__text="x")),
]


@pytest.mark.parametrize(("made", "written"), CONDITIONS, ids=lambda q: str(q)[:50])
def test_conditions_are_those_of_the_path(made, written):
    def where(condition):
        return sql(Book.objects.filter(condition)), sql(Book.objects.exclude(condition))

    assert isinstance(made, Q)
    assert where(made) == where(written)


async def test_select_gives_tuples(books):
    assert await Book.objects.select(b.title, b.author.name, b.editor.age).alist() == [
        ("A", "Ann", None),
        ("B", "Ann", None),
        ("C", "Bob", 40),
    ]
    assert await Book.objects.select(b.tags.label).alist() == [("new",), (None,), (None,)]
    assert await Book.objects.select(b.title, flat=True).afirst() == "A"
    assert await Book.objects.filter(price__gt=5).select(b.price, b.pk).aget() == (Decimal(12), books[1].pk)
    assert [row async for row in Book.objects.select(b.published.year)] == [(2003,), (2012,), (None,)]
    assert [row async for row in Book.objects.select(b.title).aiterator()] == [("A",), ("B",), ("C",)]
    assert await Book.objects.select(b.meta["size"]["pages"], b.marks[0]).alist() == [
        (3, 3),
        (12, 12),
        (0, 0),
    ]
    assert await Book.objects.select(b.title, b.title).afirst() == ("A", "A")
    related = await Author.objects.aget(name="Ann")
    assert await related.books.select(related.books.columns.title, flat=True).alist() == ["A", "B"]
    assert await run_sync(lambda: list(Book.objects.all().select(b.title, flat=True))) == ["A", "B", "C"]


def test_select_is_values_list():
    for columns, names in [
        ((b.title, b.author.name), ("title", "author__name")),
        ((b.published.year, b.tags.label), ("published__year", "tags__label")),
        ((b.pk, b.editor_id), ("pk", "editor_id")),
        ((b.author.groups.name,), ("author__groups__name",)),
        ((b.meta["colour"],), ("meta__colour",)),
    ]:
        assert sql(Book.objects.select(*columns)) == sql(Book.objects.values_list(*names))


def test_columns_are_expressions():
    assert sql(Book.objects.order_by(b.author.name, b.price.desc(nulls_last=True))) == sql(
        Book.objects.order_by("author__name", F("price").desc(nulls_last=True))
    )
    assert sql(Book.objects.annotate(x=Upper(b.author.name), y=b.price * 2 + b.pk)) == sql(
        Book.objects.annotate(x=Upper("author__name"), y=F("price") * 2 + F("pk"))
    )
    assert sql(Book.objects.values(b.author.name.name).annotate(n=Count(b.pk), s=Sum(b.price))) == sql(
        Book.objects.values("author__name").annotate(n=Count("pk"), s=Sum("price"))
    )


def test_expressions_of_different_columns_differ():
    queryset = Book.objects.values("pk").annotate(
        x=Upper(b.author.name), y=Upper(b.title), n=Count(b.tags.pk)
    )
    assert Upper(b.title) != Upper(b.author.name)
    assert (b.title == b.title) is True
    assert (b.title == b.author.name) is False
    assert sql(queryset) == sql(
        Book.objects.values("pk").annotate(x=Upper("author__name"), y=Upper("title"), n=Count("tags__pk"))
    )


@pytest.mark.skipif(django.VERSION < (5, 1), reason="expressions can be sliced since Django 5.1")
async def test_slices(books):
    assert await Author.objects.annotate(two=Author.objects.columns.name[:2]).values_list(
        "two", flat=True
    ).alist() == ["An", "Bo"]


def test_inherited_columns_and_proxies():
    r = Restaurant.objects.columns
    assert sql(Restaurant.objects.select(r.name, r.stars)) == sql(
        Restaurant.objects.values_list("name", "stars")
    )
    assert sql(Restaurant.objects.select(Place.objects.columns.name)) == sql(
        Restaurant.objects.values_list("name")
    )
    assert sql(Restaurant.objects.filter(r.pk.range(1, 2))) == sql(
        Restaurant.objects.filter(place_ptr__id__range=(1, 2))
    )


def test_columns_are_copied_and_pickled():
    for column in (b.author.name, b.published.year, b.meta["colour"]):
        again = pickle.loads(pickle.dumps(column))
        assert (again, repr(again)) == (column, repr(column))
        assert sql(Book.objects.filter(again.isnull())) == sql(Book.objects.filter(column.isnull()))


def test_what_they_look_like():
    assert repr(b.author.name) == "Column(Book.author.name)"
    assert repr(b.author) == "<columns of Book.author>"
    assert repr(b) == "<columns of Book>"
    assert {"pk", "title", "author", "author_id", "tags", "notes"} <= set(dir(b))
    assert isinstance(Book.objects.all().columns.title, Column)
    assert Column[Book, int] is Column


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (
            lambda: b.titel,
            AttributeError,
            "Book has no column or relation 'titel'. It has: author, author_id, ",
        ),
        (lambda: b.author.nam, AttributeError, "Author has no column or relation 'nam'"),
        (lambda: Note.objects.columns.target, AttributeError, r"use content_type_id and object_id"),
        (lambda: b.title.year, AttributeError, "'?Column.Book.title. has no transform 'year'"),
        (
            lambda: b.meta.lookup("nonsense", 1),
            TypeError,
            "Book.meta. has no lookup 'nonsense'. It has: contained_",
        ),
        (lambda: b.price < 3, TypeError, "is compared by methods: .eq"),
        (lambda: b.title.in_("abc"), TypeError, r"takes a list of values, not the text 'abc': \['abc'\]"),
        (lambda: b.title["x"], TypeError, "Column.Book.title. has no item 'x'"),
        (lambda: b.meta["a__b"], ValueError, r"Use KeyTransform\('a__b', 'meta'\)"),
        (lambda: 7 in b.marks, TypeError, "not iterable"),
        (lambda: list(b.marks), TypeError, "not iterable"),
        (lambda: Book.objects.select(), TypeError, r"select\(\) takes at least one column, not 0"),
        (lambda: Book.objects.select(b.pk, b.pk, flat=True), TypeError, "takes exactly one column, not 2"),
        (lambda: Book.objects.select("title"), TypeError, r"such as Book.objects.columns.pk, not 'title'"),
        (lambda: Book.objects.select(F("title")), TypeError, "values_list.. takes names and expressions"),
        (lambda: Book.objects.select(b.author), TypeError, "<columns of Book.author> are many"),
        (
            lambda: Book.objects.select(Author.objects.columns.name),
            TypeError,
            r"select\(\) of Book got Column\(Author.name\), a column of another model",
        ),
        (lambda: Book.objects.filter(b.title == "A"), (FieldError, TypeError), "Cannot parse|cannot unpack"),
    ],
)
def test_mistakes_are_explained(mistake, error, message):
    with pytest.raises(error, match=message):
        mistake()


def test_models_take_what_is_loaded_as_a_type_argument():
    assert Book["author"] is Book
    assert Author[Any] is Author


def test_a_queryset_may_have_methods_of_these_names():
    class Selecting(AsyncQuerySet):
        def select(self, *columns, flat=False):
            return "mine"

    assert Selecting(Book).select(b.title) == "mine"
