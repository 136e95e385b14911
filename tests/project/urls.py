from __future__ import annotations

from django.urls import path

from tests.project import views

urlpatterns = [
    path("authors", views.authors),
    path("write", views.write),
    path("pid", views.pid),
    path("native", views.native),
    path("fail", views.fail),
]
