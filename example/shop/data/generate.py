"""Rows for every table, in the order in which they can be inserted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random

from django.db.models import Model
from django.utils.text import slugify

from shop.data import words
from shop.models import (
    Author,
    Authorship,
    Book,
    Category,
    Customer,
    Order,
    OrderLine,
    Publisher,
    Review,
    Stock,
    User,
)

__all__ = ["DEFAULT_SIZE", "TODAY", "Size", "batches"]

# Nothing here may read the clock: the rows are the same whenever they are made.
TODAY = date(2026, 6, 1)
NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
_NO_PASSWORD = "!" + "x" * 40  # what Django stores for an account nobody can log in to


@dataclass(frozen=True)
class Size:
    """How many rows to make of the tables that grow."""

    books: int = 2000
    authors: int = 500
    users: int = 1000
    orders: int = 3000
    reviews: int = 4000
    seed: int = 20260601

    @classmethod
    def with_rows(cls, rows: int) -> Size:
        """A shop of about this many rows in all, in the usual proportions."""
        scale = rows / DEFAULT_ROWS
        usual = cls()
        return cls(
            books=max(50, round(usual.books * scale)),
            authors=max(20, round(usual.authors * scale)),
            users=max(50, round(usual.users * scale)),
            orders=max(50, round(usual.orders * scale)),
            reviews=max(50, round(usual.reviews * scale)),
        )


DEFAULT_SIZE = Size()
DEFAULT_ROWS = 28_000


def batches(size: Size = DEFAULT_SIZE) -> Iterator[list[Model]]:
    """Yield lists of unsaved rows, one list a table; rows refer to rows of earlier lists.

    The caller saves each list before it asks for the next: later rows need the earlier ones' keys.
    """
    random = Random(size.seed)
    publishers = [_publisher(random, name) for name in words.PUBLISHERS]
    yield [*publishers]
    shelves = [Category(name=name) for name in words.SHELVES]
    yield [*shelves]
    categories = [
        Category(name=name, parent=shelf) for shelf in shelves for name in words.SHELVES[shelf.name]
    ]
    yield [*categories]
    authors = [_author(random) for _ in range(size.authors)]
    yield [*authors]
    books = [_book(random, number, random.choice(publishers)) for number in range(size.books)]
    yield [*books]
    yield [link for book in books for link in _shelved(random, book, categories)]
    yield [link for book in books for link in _authorships(random, book, authors)]
    yield [_stock(random, book) for book in books]
    users = [_user(random, number) for number in range(size.users)]
    yield [*users]
    yield [_customer(random, user) for user in users]
    baskets = [_basket(random, books) for _ in range(size.orders)]
    orders = [_order(random, random.choice(users), basket) for basket in baskets]
    yield [*orders]
    yield [
        OrderLine(order=order, book=book, quantity=quantity, unit_price=book.price)
        for order, basket in zip(orders, baskets, strict=True)
        for book, quantity in basket
    ]
    yield [*_reviews(random, books, users, size.reviews)]


def _person(random: Random) -> tuple[str, str]:
    return random.choice(words.FIRST_NAMES), random.choice(words.LAST_NAMES)


def _day(random: Random, first: date, last: date) -> date:
    return first + timedelta(days=random.randrange((last - first).days))


def _moment(random: Random, days: int) -> datetime:
    return NOW - timedelta(seconds=random.randrange(days * 86_400))


def _publisher(random: Random, name: str) -> Publisher:
    founded = random.choice([None, random.randrange(1850, 2020)])
    return Publisher(name=f"{name} Press", country=random.choice(words.COUNTRIES), founded=founded)


def _author(random: Random) -> Author:
    born = None if random.random() < 0.2 else _day(random, date(1920, 1, 1), date(2000, 1, 1))
    return Author(name=" ".join(_person(random)), born=born, country=random.choice(words.COUNTRIES))


def _book(random: Random, number: int, publisher: Publisher) -> Book:
    title = f"The {random.choice(words.ADJECTIVES)} {random.choice(words.NOUNS)}"
    if random.random() < 0.5:
        title += f" of {random.choice(words.PLACES)}"
    return Book(
        title=title,
        slug=f"{slugify(title)}-{number + 1}",
        isbn=f"978{number + 1:010}",
        format=random.choice(Book.Format.values),
        price=Decimal(random.randrange(590, 4990)) / 100,
        pages=random.randrange(48, 900),
        published=None if random.random() < 0.05 else _day(random, date(1990, 1, 1), TODAY),
        in_print=random.random() < 0.85,
        details={"language": random.choice(words.LANGUAGES), "edition": random.randrange(1, 6)},
        added_at=_moment(random, 900),
        publisher=publisher,
    )


def _shelved(random: Random, book: Book, categories: list[Category]) -> list[Model]:
    link = Book.categories.through
    return [
        link(book=book, category=category) for category in random.sample(categories, random.randrange(1, 4))
    ]


def _authorships(random: Random, book: Book, authors: list[Author]) -> list[Authorship]:
    people = random.sample(authors, random.choice((1, 1, 1, 2, 3)))
    roles = [Authorship.Role.WRITER, Authorship.Role.TRANSLATOR, Authorship.Role.ILLUSTRATOR]
    return [
        Authorship(book=book, author=author, role=role, position=position)
        for position, (author, role) in enumerate(zip(people, roles, strict=False), start=1)
    ]


def _stock(random: Random, book: Book) -> Stock:
    counted = _day(random, TODAY - timedelta(days=60), TODAY)
    return Stock(book=book, copies=random.choice((0, *range(3, 60))), reorder_level=5, counted_on=counted)


def _user(random: Random, number: int) -> User:
    first, last = _person(random)
    return User(
        username=f"reader{number + 1}",
        first_name=first,
        last_name=last,
        email=f"reader{number + 1}@example.com",
        password=_NO_PASSWORD,
        is_active=random.random() < 0.95,
        date_joined=_moment(random, 1500),
    )


def _customer(random: Random, user: User) -> Customer:
    return Customer(
        user=user,
        city=random.choice(words.CITIES),
        birthday=None if random.random() < 0.3 else _day(random, date(1940, 1, 1), date(2010, 1, 1)),
        newsletter=random.random() < 0.4,
        preferences={"language": random.choice(words.LANGUAGES), "gift_wrap": random.random() < 0.2},
    )


def _basket(random: Random, books: list[Book]) -> list[tuple[Book, int]]:
    return [(book, random.choice((1, 1, 1, 2, 3))) for book in random.sample(books, random.randrange(1, 5))]


def _order(random: Random, buyer: User, basket: list[tuple[Book, int]]) -> Order:
    placed = _moment(random, 730)
    status = random.choice(Order.Status.values)
    sent = placed + timedelta(days=2) if status in (Order.Status.SENT, Order.Status.RETURNED) else None
    total = sum((book.price * quantity for book, quantity in basket), Decimal(0))
    return Order(buyer=buyer, status=status, placed_at=placed, sent_at=sent, total=total)


def _reviews(random: Random, books: list[Book], users: list[User], count: int) -> Iterator[Review]:
    seen: set[tuple[str, str]] = set()
    while len(seen) < count:
        book, reader = random.choice(books), random.choice(users)
        if (book.isbn, reader.username) not in seen:
            seen.add((book.isbn, reader.username))
            stars = random.choice((1, 2, 3, 4, 4, 5, 5))
            remark = random.choice(words.REMARKS)
            yield Review(book=book, reader=reader, stars=stars, text=remark, written_at=_moment(random, 700))
