"""The addresses of the book shop."""

from django.urls import include, path

urlpatterns = [path("", include("shop.urls"))]
