"""The models of the book shop. Each has an `AsyncManager`: that is all django-turbo-orm asks of them."""

from shop.models.catalogue import Author, Authorship, Book, Category, Publisher, Stock
from shop.models.people import Customer, User
from shop.models.sales import Order, OrderLine, Review

__all__ = [
    "Author",
    "Authorship",
    "Book",
    "Category",
    "Customer",
    "Order",
    "OrderLine",
    "Publisher",
    "Review",
    "Stock",
    "User",
]
