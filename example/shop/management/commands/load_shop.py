"""`manage.py load_shop`: fill an empty shop with sample data."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.db.models import Model

from shop.data import DEFAULT_SIZE, Size, batches
from shop.management.progress import Progress
from shop.models import Publisher

_CHUNK = 1000
_TABLES = 13  # lists that `batches` yields


class Command(BaseCommand):
    help = "Fill an empty shop with sample data: the same rows every time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rows", type=int, help="about how many rows to make in all (default: about 28,000)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if Publisher.objects.exists():
            raise CommandError("The shop already has data: run `manage.py flush` first to load it afresh.")
        rows: int | None = options["rows"]
        size = DEFAULT_SIZE if rows is None else Size.with_rows(rows)
        progress = Progress(_TABLES, sys.stdout)
        with transaction.atomic():
            for step, table in enumerate(batches(size), start=1):
                self._save(step, table, progress)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        progress.finish()

    @staticmethod
    def _save(step: int, table: list[Model], progress: Progress) -> None:
        model = type(table[0])
        rows = iter(table)
        while chunk := list(islice(rows, _CHUNK)):
            model._default_manager.bulk_create(chunk)
            progress.update(step, str(model._meta.verbose_name_plural), len(chunk))
