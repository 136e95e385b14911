"""The addresses of the shop's views."""

from django.urls import path

from shop.views import catalogue, home, overview, sales

urlpatterns = [
    path("", home.home, name="home"),
    path("books/", catalogue.books, name="books"),
    path("books/<slug:slug>/", catalogue.book, name="book"),
    path("authors/<int:pk>/", catalogue.author, name="author"),
    path("search/", catalogue.search, name="search"),
    path("dashboard/", overview.dashboard, name="dashboard"),
    path("report/", overview.report, name="report"),
    path("orders/", sales.place_order, name="orders"),
    path("readers/<str:username>/", sales.reader, name="reader"),
]
