"""Many threads make, bind, forget and make again the same plans."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.db.models import Q, QuerySet
from django.test import override_settings
from django.utils import timezone

from tests.project.library.models import Author, Book, Person
from turbo_orm import AsyncQuerySet

SHAPES: list[Callable[[Any, int], Any]] = [
    lambda rows, n: rows(Book).filter(pk=n),
    lambda rows, n: rows(Book).filter(price=Decimal(n), author_id=n).order_by("title")[: n + 1],
    lambda rows, n: rows(Book).filter(author__name__contains=str(n)).exclude(pk__in=[*range(1, 2 + n % 7)]),
    lambda rows, n: rows(Book).filter(title=str(n)).filter(price__gte=n).values("pk", "title"),
    lambda rows, n: rows(Author).filter(books__pk=n).exclude(books__title=str(n)).distinct(),
    lambda rows, n: rows(Person).filter(alive=n % 2 == 0, name=[None, "x", str(n)][n % 3]),
    lambda rows, n: rows(Book).filter(Q(title=str(n)) | ~Q(author=Author(pk=n)), meta__a=n),
    lambda rows, n: rows(Author).filter(created__date__gt="2024-01-02", age__in=(n, n + 1, n)),
]
ZONES = ["UTC", "Africa/Nairobi", "Asia/Kathmandu"]


@pytest.fixture
def hurried() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.threads
@pytest.mark.usefixtures("shapes", "hurried")
@pytest.mark.parametrize("max_shapes", [2_000, 8])
def test_exact_under_many_threads(shapes: Any, max_shapes: int) -> None:
    wrong: list[Any] = []
    planned = [0] * 8
    until = time.monotonic() + 3

    def work(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < until and not wrong:
            make, value = chance.choice(SHAPES), chance.randrange(1, 5_000)
            with timezone.override(ZoneInfo(chance.choice(ZONES))):
                queryset = make(AsyncQuerySet, value)
                bound = queryset._bound("list")
                sql, params = make(QuerySet, value).query.get_compiler("default").as_sql()
            expected = sql, repr(tuple(params))
            if bound is not None:
                planned[number] += 1
                found, found_params = bound.as_sql()
                if (found, repr(found_params)) != expected:
                    wrong.append((expected, found, found_params))
                    return
                dollars = bound.statement.text.count(b"$")
                if dollars != len(bound.params):
                    wrong.append((bound.statement.text, bound.params))
            if chance.random() < 0.01:
                shapes.clear()

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as exc:
            wrong.append(exc)

    with override_settings(TURBO_ORM={**settings.TURBO_ORM, "MAX_SHAPES": max_shapes}):
        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(planned))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert sum(planned) > 100
