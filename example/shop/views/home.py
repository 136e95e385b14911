"""The front page: where everything is."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from shop.turbo import Author, Book


async def home(request: HttpRequest) -> HttpResponse:
    """Link to one example of each view."""
    context = {
        "books": await Book.objects.acount(),
        "book": await Book.objects.order_by("pk").afirst(),
        "author": await Author.objects.order_by("pk").afirst(),
    }
    return render(request, "shop/home.html", context)
