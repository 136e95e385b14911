"""`values_as()`: rows as dataclasses, NamedTuples and TypedDicts, checked when the query is made."""

from __future__ import annotations

import datetime as dt
import pickle
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import pytest
from django.db.models import Count, F
from django.db.models.functions import Upper
from typing_extensions import NotRequired, TypedDict

from tests.project.library.models import Author, Book
from turbo_orm import run_sync

if TYPE_CHECKING:
    from elsewhere import Unknown  # noqa: F401  (named in an annotation, in a string)

b = Book.objects.columns


@dataclass
class Card:
    title: str
    price: Decimal


@dataclass
class Full:
    title: str
    author__name: str
    pages: int = 1
    marks: list[int] = field(default_factory=list)
    made: bool = field(default=True, init=False)


@dataclass
class ByName:
    title: str
    _: KW_ONLY
    price: Decimal


class Pair(NamedTuple):
    title: str
    editor: Optional[str] = None  # noqa: UP045  (both spellings are understood)


class Brief(TypedDict):
    pk: int
    title: str
    note: NotRequired[str]


@pytest.fixture
async def books(observer):
    ann = await Author.objects.acreate(name="Ann", age=40)
    bob = await Author.objects.acreate(name="Bob")
    return [
        await Book.objects.acreate(title="A", author=ann, editor=bob, price=3, marks=[1]),
        await Book.objects.acreate(title="B", author=bob, price=12),
    ]


async def test_each_kind_of_class(books):
    assert await Book.objects.values_as(Card).alist() == [Card("A", Decimal(3)), Card("B", Decimal(12))]
    assert await Book.objects.values_as(Full).afirst() == Full("A", "Ann", marks=[1])
    assert await Book.objects.values_as(ByName).alast() == ByName("B", price=Decimal(12))
    assert await Book.objects.values_as(Brief).alist() == [
        {"pk": books[0].pk, "title": "A"},
        {"pk": books[1].pk, "title": "B"},
    ]
    assert await Book.objects.values_as(Pair, editor=b.editor.name).alist() == [
        Pair("A", "Bob"),
        Pair("B", None),
    ]


async def test_after_select(books):
    rows = Book.objects.order_by(b.title.desc()).select(b.title, b.price).values_as(Card)
    assert await rows.alist() == [Card("B", Decimal(12)), Card("A", Decimal(3))]
    assert await Book.objects.select(b.author.name).values_as(Pair).alist() == [Pair("Ann"), Pair("Bob")]
    assert await Book.objects.select(b.author.name, b.editor.name).values_as(Pair).afirst() == Pair(
        "Ann", "Bob"
    )
    assert await Book.objects.select(b.author.name, b.price).values_as(ByName).afirst() == ByName(
        "Ann", price=Decimal(3)
    )


async def test_expressions_and_annotations(books):
    class Writer(NamedTuple):
        name: str
        books: int
        loud: str

    a = Author.objects.columns
    rows = Author.objects.annotate(loud=Upper(a.name)).values_as(Writer, books=Count(a.books.pk))
    assert sorted(await rows.alist()) == [("Ann", 1, "ANN"), ("Bob", 1, "BOB")]
    assert type(await rows.afirst()) is Writer


async def test_every_way_to_the_rows(books):
    cards = Book.objects.values_as(Card)
    assert [card async for card in cards] == await cards.alist()
    assert [card async for card in cards.aiterator()] == await cards.alist()
    assert await run_sync(lambda: list(cards.all())) == await cards.alist()
    assert await run_sync(lambda: list(cards.iterator())) == await cards.alist()
    assert await cards.filter(price__gt=5).aget() == Card("B", Decimal(12))
    assert await cards.order_by("-price").afirst() == Card("B", Decimal(12))
    assert await cards.all()[:1].alist() == [Card("A", Decimal(3))]
    assert await cards.acount() == 2
    related = await Author.objects.aget(name="Ann")
    assert await related.books.values_as(Card).alist() == [Card("A", Decimal(3))]


async def test_the_same_columns_give_each_kind_of_row(books):
    plain = Book.objects.values_list("title", "price")
    for _ in range(4):  # a query's shape is remembered
        assert await plain.all().alist() == [("A", Decimal(3)), ("B", Decimal(12))]
        assert await Book.objects.values_as(Card).alist() == [Card("A", Decimal(3)), Card("B", Decimal(12))]
        assert await Book.objects.values_as(ByName).filter(price=3).aget() == ByName("A", price=Decimal(3))
        assert await Book.objects.values_as(Card).filter(price=3).aget() == Card("A", Decimal(3))
        assert await Book.objects.filter(price=3).values_as(Card).afirst() == Card("A", Decimal(3))
        assert await Book.objects.filter(price=3).afirst() == books[0]
        assert await Book.objects.filter(price=3).select(b.title, b.price).afirst() == ("A", Decimal(3))
        assert await Book.objects.filter(b.price.eq(3)).select(b.title, flat=True).aget() == "A"


async def test_unions_and_other_forms(books):
    cards = Book.objects.values_as(Card)
    assert (
        await cards.filter(price=3).union(cards.filter(price=12)).order_by("title").alist()
        == await cards.alist()
    )
    assert await cards.values("title").alist() == [{"title": "A"}, {"title": "B"}]


async def test_querysets_are_pickled(books):
    cards = Book.objects.values_as(Card)
    again = pickle.loads(await run_sync(pickle.dumps, cards))
    assert await again.alist() == await again.all().alist() == await cards.alist()


def test_it_selects_no_more_than_it_needs():
    assert str(Book.objects.values_as(Card).query) == str(Book.objects.values_list("title", "price").query)


def row(**types: Any) -> type[Any]:
    return type("Row", (), {"__annotations__": types})


@pytest.mark.parametrize(
    "types",
    [
        {"title": Any, "price": object, "published": "dt.date | None"},
        {"author_id": int, "author__age": "int | None", "author": int, "editor__pk": "int | None"},
        {"published__year": "int | None", "author__created__date": dt.date},
        {"meta": "dict[str, Any]", "marks": "list[int]", "tags__label": "str | None"},
        {"title": "Unknown", "price": str},  # nothing can be said where an annotation cannot be evaluated
    ],
)
def test_types_which_fit(types):
    Book.objects.values_as(dataclass(row(**types)))


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"titel": str}, r"Row.titel is not a field of Book. Say what it is of: values_as\(Row, titel=...\)"),
        ({"author__nam": str}, r"Row.author__nam is not a field of Book"),
        ({"title__year": int}, r"Row.title__year is not a field of Book"),
        ({"price": float}, r"Row.price is float, but Book.price is Decimal"),
        ({"author_id": str}, r"Row.author_id is str, but Book.author_id is int"),
        (
            {"published": dt.date},
            r"Row.published is date, but Book.published may be NULL: make it `date \| No",
        ),
        ({"editor__name": str}, r"Row.editor__name is str, but Book.editor.name may be NULL"),
        ({"tags__label": str}, r"Row.tags__label is str, but Book.tags.label may be NULL"),
        ({"author__age": "str | None"}, r"Row.author__age is str \| None, but Book.author.age is int"),
    ],
)
def test_types_which_do_not_fit(types, message):
    with pytest.raises(TypeError, match=message):
        Book.objects.values_as(dataclass(row(**types)))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            lambda: Book.objects.values_as(dict),
            "makes dataclasses, NamedTuples and TypedDicts, and dict is none",
        ),
        (lambda: Book.objects.values_as("Card"), "takes a class, not 'Card'"),
        (
            lambda: Book.objects.values_as(Card, titel=b.title),
            "got 'titel', but Card has no such field. It has: title",
        ),
        (lambda: Book.objects.values_as(Card, title=b.author), "are many: name one of them"),
        (lambda: Book.objects.values_as(Card, title=b.pk), "Card.title is str, but Book.pk is int"),
        (
            lambda: Book.objects.values_as(Card, title=Author.objects.columns.name),
            "a column of another model",
        ),
        (lambda: Book.objects.values("title").values_as(Card), "cannot be made of dictionaries"),
        (lambda: Book.objects.values_list("pk", flat=True).values_as(Card), "cannot be made of flat values"),
        (
            lambda: Book.objects.select(b.title).values_as(Card),
            "has 2 fields, and the query selects 1 columns: title",
        ),
        (
            lambda: Book.objects.select(b.price, b.title).values_as(Card),
            "Card.title is str, but Book.price is Dec",
        ),
        (
            lambda: Book.objects.select(b.pk, b.title).values_as(Brief),
            "is a TypedDict, whose keys have no order",
        ),
        (lambda: Book.objects.select(b.title).values_as(Card, price=b.price), "with more columns"),
    ],
)
def test_mistakes_are_explained(mistake, message):
    with pytest.raises(TypeError, match=message):
        mistake()


def test_an_expression_is_taken_at_its_word():
    class Named(NamedTuple):
        name: str

    assert "editor" not in str(Book.objects.values_as(Named, name=b.author.name).query)
    Book.objects.values_as(Named, name=F("editor__name"))
