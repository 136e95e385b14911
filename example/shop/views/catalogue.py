"""Browsing: lists with filters, one book, one author, search."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponseBadRequest, JsonResponse
from django.http.response import HttpResponseBase

from shop.turbo import Author, Book

PAGE_SIZE = 20


def _brief(book: Book) -> dict[str, Any]:
    return {
        "title": book.title,
        "slug": book.slug,
        "price": str(book.price),
        "publisher": book.publisher.name,
    }


async def books(request: HttpRequest) -> HttpResponseBase:
    """A page of the available books, filtered by what the address asks for."""
    asked = request.GET
    found = Book.objects.available().select_related("publisher")
    if category := asked.get("category"):
        found = found.filter(categories__name=category)
    if kind := asked.get("format"):
        found = found.filter(format=kind)
    try:
        if ceiling := asked.get("max_price"):
            found = found.filter(price__lte=Decimal(ceiling))
        page = max(1, int(asked.get("page", "1")))
    except (InvalidOperation, ValueError):
        return HttpResponseBadRequest("max_price and page are numbers.")
    first = (page - 1) * PAGE_SIZE
    shown = await found.order_by("price", "pk")[first : first + PAGE_SIZE].alist()
    return JsonResponse(
        {"count": await found.acount(), "page": page, "books": [_brief(book) for book in shown]}
    )


async def book(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Everything about one book."""
    try:
        book = await Book.objects.select_related("publisher", "stock").aget(slug=slug)
    except Book.DoesNotExist:
        raise Http404(f"There is no book {slug}.") from None
    makers = [
        {"name": authorship.author.name, "role": authorship.role}
        async for authorship in book.authorships.select_related("author").order_by("position")
    ]
    reviews = book.reviews.order_by("-written_at", "pk")[:3]
    return JsonResponse(
        {
            **_brief(book),
            "reduced": str(book.reduced_price(20)),
            "language": book.details["language"],
            "copies": book.stock.copies,
            "by": makers,
            "categories": await book.categories.order_by("name").values_list("name", flat=True).alist(),
            "reviews": [{"stars": review.stars, "text": review.text} async for review in reviews],
        }
    )


async def author(request: HttpRequest, pk: int) -> HttpResponseBase:
    """One author and the books they had a part in."""
    author = await Author.objects.filter(pk=pk).prefetch_related("books__publisher").afirst()
    if author is None:
        raise Http404(f"There is no author {pk}.")
    works = sorted(author.books.all(), key=lambda book: book.pk)
    return JsonResponse({"name": author.name, "born": author.born, "books": [_brief(book) for book in works]})


async def search(request: HttpRequest) -> HttpResponseBase:
    """Books whose title, author or publisher contains the words asked for."""
    words = request.GET.get("q", "").split()
    if not words:
        return HttpResponseBadRequest("Ask for something: /search/?q=lighthouse")
    wanted = Q()
    for word in words:
        wanted &= (
            Q(title__icontains=word) | Q(authors__name__icontains=word) | Q(publisher__name__icontains=word)
        )
    found = Book.objects.filter(wanted).select_related("publisher").distinct().order_by("title", "pk")
    return JsonResponse({"count": await found.acount(), "books": [_brief(book) async for book in found[:10]]})
