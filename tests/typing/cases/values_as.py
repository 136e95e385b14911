"""values_as(): rows as dataclasses, NamedTuples and TypedDicts."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Count, F
from shop.turbo import Book, BookQuerySet, Review
from typing_extensions import TypedDict, assert_type


@dataclass
class Card:
    title: str
    price: Decimal


class Pair(NamedTuple):
    id: int
    editor: str | None


class Brief(TypedDict):
    id: int
    title: str


b = Book.objects.columns


async def right() -> None:
    assert_type(await Book.objects.values_as(Card).alist(), list[Card])
    assert_type(await Book.objects.filter(title="x").values_as(Card).afirst(), Card | None)
    assert_type(Book.objects.values_as(Pair, editor=b.editor.username), BookQuerySet[Pair])
    assert_type(await Book.objects.values_as(Brief).alist(), list[Brief])
    assert_type(await Book.objects.values_as(Card, title=F("author__username"), price=Count("id")).alist(), list[Card])
    assert_type(await Book.objects.select(b.title, b.price).values_as(Card).alist(), list[Card])
    assert_type(await Book.objects.select(b.id, b.editor.username).values_as(Pair).aget(pk=1), Pair)
    assert_type(await Book.objects.select(b.id, b.title).values_as(Pair).filter(title="x").alist(), list[Pair])
    assert_type(await Book.objects.published().values_as(Card).order_by(b.title).alist(), list[Card])
    counted = Book.objects.annotate(tags_=Count("tags"))
    assert_type(await counted.values_as(Card).alist(), list[Card])
    assert_type(await counted.values_as(Brief).alist(), list[Brief])
    assert_type(await counted.select(b.id, b.title).values_as(Pair).alist(), list[Pair])
    assert_type(await Review.objects.annotate(n=Count("book")).values_as(Pair, editor=F("text")).afirst(), Pair | None)
    async for card in Book.objects.values_as(Card):
        assert_type(card.price, Decimal)


async def wrong() -> None:
    Book.objects.select(b.title, b.id).values_as(Card)  # E: arg-type
    Book.objects.select(b.title).values_as(Card)  # E: arg-type
    Book.objects.select(b.title, b.price, b.id).values_as(Card)  # E: arg-type
    Book.objects.select(b.editor.username, b.price).values_as(Card)  # E: arg-type
    Book.objects.values_as("Card")  # E: arg-type
    Book.objects.values_as(Card, title="author__username")  # E: arg-type
    cards: list[Pair] = await Book.objects.values_as(Card).alist()  # E: assignment
    (await Book.objects.values_as(Card).aget(pk=1)).titel  # E: attr-defined
    (await Book.objects.values_as(Brief).aget(pk=1))["titel"]  # E: typeddict-item
    Book.objects.values_as(Card).filter(titel="x")  # E: call-arg
    print(cards)
