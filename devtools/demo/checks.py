"""The demo's requests and what must come back, which is computed here by synchronous code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.db.models import Avg, F, Q, Sum
from shop.models import Author, Book, Category, Customer, Order, OrderLine, Review, Stock, User

__all__ = ["Check", "checks"]


@dataclass(frozen=True)
class Check:
    """A request, the status it must have, and a test of the body that returns what is wrong, if anything."""

    path: str
    status: int
    wrong: Callable[[str], str | None]
    body: dict[str, Any] | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


def _holds(expected: dict[str, Any]) -> Callable[[str], str | None]:
    """The body is JSON with at least these values."""

    def wrong(body: str) -> str | None:
        answer = json.loads(body)
        for key, value in expected.items():
            if answer.get(key) != value:
                return f"{key} is {answer.get(key)!r}, not {value!r}"
        return None

    return wrong


def _contains(text: str) -> Callable[[str], str | None]:
    return lambda body: None if text in body else f"{text!r} is missing"


def checks() -> Iterator[Check]:
    """Yield the checks; one that writes comes last, with a look at what it must have done."""
    yield Check("/", 200, _contains(f"{Book.objects.count()} books"))
    yield _list_of_books()
    yield _one_book()
    yield _one_author()
    yield _search()
    yield Check("/dashboard/", 200, _holds(_dashboard()))
    yield Check("/report/", 200, _holds(_report()))
    yield _reader()
    yield Check("/books/no-such-book/", 404, lambda body: None)
    yield from _order()


def _list_of_books() -> Check:
    books = Book.objects.filter(in_print=True, stock__copies__gt=0, categories__name="Crime", price__lte=20)
    slugs = list(books.order_by("price", "pk").values_list("slug", flat=True))

    def wrong(body: str) -> str | None:
        answer = json.loads(body)
        same = (answer["count"], [book["slug"] for book in answer["books"]]) == (len(slugs), slugs[:20])
        return None if same else f"expected {len(slugs)} books, {slugs[:3]} first"

    return Check("/books/?category=Crime&max_price=20", 200, wrong)


def _one_book() -> Check:
    book = Book.objects.filter(authors__isnull=False, stock__copies__gt=3).order_by("pk")[0]
    makers = book.authorships.order_by("position").values_list("author__name", "role")
    expected = {
        "title": book.title,
        "price": str(book.price),
        "publisher": book.publisher.name,
        "copies": book.stock.copies,
        "by": [{"name": name, "role": role} for name, role in makers],
        "categories": sorted(category.name for category in book.categories.all()),
    }
    return Check(f"/books/{book.slug}/", 200, _holds(expected))


def _one_author() -> Check:
    author = Author.objects.filter(books__isnull=False).order_by("pk")[0]
    slugs = [book.slug for book in author.books.order_by("pk")]

    def wrong(body: str) -> str | None:
        answer = json.loads(body)
        same = (answer["name"], [book["slug"] for book in answer["books"]]) == (author.name, slugs)
        return None if same else f"expected {author.name} with {slugs}"

    return Check(f"/authors/{author.pk}/", 200, wrong)


def _search() -> Check:
    author = Author.objects.filter(books__isnull=False).order_by("name")[0]
    name = author.name.split()[0]
    found = Q(title__icontains=name) | Q(authors__name__icontains=name) | Q(publisher__name__icontains=name)
    count = Book.objects.filter(found).values("pk").distinct().count()
    return Check(f"/search/?q={quote(name)}", 200, _holds({"count": count}))


def _dashboard() -> dict[str, Any]:
    stars = Review.objects.aggregate(stars=Avg("stars"))["stars"]
    return {
        "users": User.objects.count(),
        "active": User.objects.filter(is_active=True).count(),
        "books": Book.objects.count(),
        "available": Book.objects.filter(in_print=True, stock__copies__gt=0).count(),
        "authors": Author.objects.count(),
        "to_send": Order.objects.filter(status="paid", sent_at=None).count(),
        "newsletters": Customer.objects.filter(newsletter=True).count(),
        "to_reorder": Stock.objects.filter(copies__lt=F("reorder_level")).count(),
        "reviews": Review.objects.count(),
        "stars": round(stars, 3),
        "latest_buyer": Order.objects.order_by("-placed_at", "-pk")[0].buyer.username,
    }


def _report() -> dict[str, Any]:
    sold: dict[str, list[Any]] = {}
    for line in OrderLine.objects.select_related("order"):
        month = sold.setdefault(f"{line.order.placed_at:%Y-%m}", [0, 0])
        month[0] += line.quantity * line.unit_price
        month[1] += line.quantity
    months = [
        {"month": month, "revenue": str(sold[month][0]), "copies": sold[month][1]}
        for month in sorted(sold, reverse=True)[:6]
    ]
    shelves = {
        shelf.name: OrderLine.objects.filter(book__categories__parent=shelf).aggregate(sum=Sum("quantity"))[
            "sum"
        ]
        for shelf in Category.objects.filter(parent=None)
    }
    return {"months": months, "shelves": shelves}


def _reader() -> Check:
    user = User.objects.filter(orders__isnull=False).order_by("pk")[0]
    expected = {
        "name": f"{user.first_name} {user.last_name}",
        "city": user.customer.city,
        "spent": str(sum(order.total for order in user.orders.all())),
    }
    return Check(f"/readers/{user.username}/", 200, _holds(expected))


def _order() -> Iterator[Check]:
    """Two books are ordered; an order of too many copies must then change nothing."""
    buyer = User.objects.filter(is_active=True).order_by("pk")[0]
    first, second = Book.objects.filter(stock__copies__gte=3).order_by("pk").select_related("stock")[:2]
    orders = Order.objects.count()

    def state() -> tuple[int, int, int]:
        copies = {stock.pk: stock.copies for stock in Stock.objects.filter(pk__in=[first.pk, second.pk])}
        return (
            Order.objects.count() - orders,
            copies[first.pk] - first.stock.copies,
            copies[second.pk] - second.stock.copies,
        )

    def placed(body: str) -> str | None:
        total = first.price * 2 + second.price
        if json.loads(body)["total"] != str(total):
            return f"the total is not {total}"
        return None if state() == (1, -2, -1) else f"the tables changed by {state()}, not (1, -2, -1)"

    def refused(body: str) -> str | None:
        return None if state() == (1, -2, -1) else "the refused order left traces in the tables"

    wanted = {first.isbn: 2, second.isbn: 1}
    yield Check("/orders/", 201, placed, {"buyer": buyer.username, "books": wanted})
    yield Check("/orders/", 409, refused, {"buyer": buyer.username, "books": {**wanted, second.isbn: 10_000}})
