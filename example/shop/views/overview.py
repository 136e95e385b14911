"""Figures: many small queries at once, and one large one."""

import asyncio
from typing import Any

from django.db.models import Avg, Count, F, Sum
from django.db.models.functions import TruncMonth
from django.http import HttpRequest, JsonResponse

from shop.turbo import Author, Book, Category, Customer, Order, OrderLine, Review, Stock, User


async def dashboard(request: HttpRequest) -> JsonResponse:
    """Ten queries at the same time, each on a connection of its own."""
    (users, active, books, available, authors, to_send, newsletters, to_reorder, reviews, latest) = await asyncio.gather(
        User.objects.acount(),
        User.objects.filter(is_active=True).acount(),
        Book.objects.acount(),
        Book.objects.available().acount(),
        Author.objects.acount(),
        Order.objects.filter(status=Order.Status.PAID, sent_at=None).acount(),
        Customer.objects.filter(newsletter=True).acount(),
        Stock.objects.filter(copies__lt=F("reorder_level")).acount(),
        Review.objects.aaggregate(count=Count("pk"), stars=Avg("stars")),
        Order.objects.select_related("buyer").order_by("-placed_at", "-pk").afirst(),
    )
    return JsonResponse(
        {
            "users": users,
            "active": active,
            "books": books,
            "available": available,
            "authors": authors,
            "to_send": to_send,
            "newsletters": newsletters,
            "to_reorder": to_reorder,
            "reviews": reviews["count"],
            "stars": round(reviews["stars"] or 0, 3),
            "latest_buyer": latest.buyer.username if latest else None,
        }
    )


async def report(request: HttpRequest) -> JsonResponse:
    """What was sold: by shelf and by month, and the best rated books."""
    revenue = Sum(F("quantity") * F("unit_price"))
    months = (
        OrderLine.objects.annotate(month=TruncMonth("order__placed_at"))
        .values("month")
        .annotate(revenue=revenue, copies=Sum("quantity"))
        .order_by("-month")[:6]
    )
    shelves = Category.objects.filter(parent=None).annotate(
        copies=Sum("children__books__lines__quantity"),
    )
    rated = Book.objects.with_rating().filter(review_count__gte=5).order_by("-rating", "-review_count", "pk")[:5]

    def month(row: dict[str, Any]) -> dict[str, Any]:
        return {"month": f"{row['month']:%Y-%m}", "revenue": str(row["revenue"]), "copies": row["copies"]}

    return JsonResponse(
        {
            "months": [month(row) async for row in months],
            "shelves": {shelf.name: shelf.copies async for shelf in shelves.order_by("name")},
            "best": [{"title": book.title, "rating": round(book.rating, 2)} async for book in rated],
        }
    )
