"""Buying, and looking back at what was bought."""

import json
import logging
from decimal import Decimal
from typing import Any

from django.db.models import F, Sum
from django.http import Http404, HttpRequest, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase

from shop.turbo import Order, OrderLine, Stock, User
from turbo_orm import atomic, on_commit

logger = logging.getLogger(__name__)


class OutOfStock(Exception):
    """Not enough copies of a book are there."""


async def place_order(request: HttpRequest) -> HttpResponseBase:
    """Take an order: `{"buyer": "reader1", "books": {"9780000000001": 2}}`. All of it or nothing."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        wanted = json.loads(request.body)
        buyer_name, copies = str(wanted["buyer"]), {str(isbn): int(n) for isbn, n in wanted["books"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return JsonResponse({"error": "Send a buyer and a number of copies for each ISBN."}, status=400)
    try:
        order = await _place(buyer_name, copies)
    except User.DoesNotExist:
        return JsonResponse({"error": f"There is no reader {buyer_name}."}, status=404)
    except OutOfStock as error:
        return JsonResponse({"error": str(error)}, status=409)
    return JsonResponse({"order": order.pk, "status": order.status, "total": str(order.total)}, status=201)


async def _place(buyer_name: str, copies: dict[str, int]) -> Order:
    async with atomic():
        buyer = await User.objects.aget(username=buyer_name, is_active=True)
        order = await Order.objects.acreate(buyer=buyer)
        # Locked in the order of their keys, so that two orders for the same books can't wait for each other.
        shelf = (
            Stock.objects.select_for_update(of=["self"]).filter(book__isbn__in=list(copies)).order_by("pk")
        )
        in_stock = {stock.book.isbn: stock async for stock in shelf.select_related("book")}
        total = Decimal(0)
        for isbn, number in copies.items():
            stock = in_stock.get(isbn)
            if stock is None or stock.copies < number:
                raise OutOfStock(f"There are not {number} copies of {isbn}.")
            await OrderLine.objects.acreate(
                order=order, book=stock.book, quantity=number, unit_price=stock.book.price
            )
            await Stock.objects.filter(pk=stock.pk).aupdate(copies=F("copies") - number)
            total += stock.book.price * number
        order.total = total
        await order.asave(update_fields=["total"])
        await on_commit(lambda: logger.info("order %s: %s", order.pk, total))
    return order


async def reader(request: HttpRequest, username: str) -> JsonResponse:
    """A reader, their latest orders and what they spent."""
    user = await User.objects.select_related("customer").filter(username=username).afirst()
    if user is None:
        raise Http404(f"There is no reader {username}.")
    orders = user.orders.order_by("-placed_at", "pk")
    spent = await orders.aaggregate(total=Sum("total"))

    def brief(order: Order) -> dict[str, Any]:
        return {"order": order.pk, "status": order.get_status_display(), "total": str(order.total)}

    return JsonResponse(
        {
            "name": user.get_full_name(),
            "city": user.customer.city,
            "spent": str(spent["total"] or 0),
            "orders": [brief(order) async for order in orders[:5]],
        }
    )
