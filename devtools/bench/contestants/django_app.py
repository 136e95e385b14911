"""The app of the models in `django_models`: relations backwards are only found in installed apps."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["BenchConfig"]


class BenchConfig(AppConfig):
    """Label ``bench``; its models are declared after the set-up."""

    name = "devtools.bench.contestants"
    label = "bench"
