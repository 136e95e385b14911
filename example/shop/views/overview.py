"""Figures: many small queries at once, and one large one."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from django.db.models import Avg, Count, F, Sum
from django.db.models.functions import TruncMonth
from django.http import HttpRequest, JsonResponse

from shop.turbo import Author, Book, Category, Customer, Order, OrderLine, Review, Stock, User


async def dashboard(request: HttpRequest) -> JsonResponse:
    """Ten queries at the same time, each on a connection of its own."""
    counts, reviews, latest = await asyncio.gather(
        _all(
            users=User.objects.acount(),
            active=User.objects.filter(is_active=True).acount(),
            books=Book.objects.acount(),
            available=Book.objects.available().acount(),
            authors=Author.objects.acount(),
            to_send=Order.objects.filter(status=Order.Status.PAID, sent_at=None).acount(),
            newsletters=Customer.objects.filter(newsletter=True).acount(),
            to_reorder=Stock.objects.filter(copies__lt=F("reorder_level")).acount(),
        ),
        Review.objects.aaggregate(count=Count("pk"), stars=Avg("stars")),
        Order.objects.select_related("buyer").order_by("-placed_at", "-pk").afirst(),
    )
    return JsonResponse(
        {
            **counts,
            "reviews": reviews["count"],
            "stars": round(reviews["stars"] or 0, 3),
            "latest_buyer": latest.buyer.username if latest else None,
        }
    )


async def _all(**queries: Coroutine[Any, Any, int]) -> dict[str, int]:
    """Await queries at the same time, and name their results."""
    return dict(zip(queries, await asyncio.gather(*queries.values()), strict=True))


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
    rated = (
        Book.objects.annotate(rating=Avg("reviews__stars"), review_count=Count("reviews"))
        .filter(review_count__gte=5)
        .order_by("-rating", "-review_count", "pk")[:5]
    )

    def month(row: dict[str, Any]) -> dict[str, Any]:
        return {"month": f"{row['month']:%Y-%m}", "revenue": str(row["revenue"]), "copies": row["copies"]}

    return JsonResponse(
        {
            "months": [month(row) async for row in months],
            "shelves": {shelf.name: shelf.copies async for shelf in shelves.order_by("name")},
            "best": [{"title": book.title, "rating": round(book.rating, 2)} async for book in rated],
        }
    )
