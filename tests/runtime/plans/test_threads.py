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


def difference(bound: Any, sql: str, params: Any) -> Any:
    """What of *bound* is not as Django's *sql* and *params*, if anything."""
    found, found_params = bound.as_sql()
    if (found, repr(found_params)) != (sql, repr(tuple(params))):
        return sql, params, found, found_params
    if bound.statement.text.count(b"$") != len(bound.params):
        return bound.statement.text, bound.params
    return None


def work(chance: random.Random, clear: Callable[[], None]) -> Any:
    """Make, compare and now and then forget; return what is wrong, or whether there was a plan."""
    make, value = chance.choice(SHAPES), chance.randrange(1, 5_000)
    with timezone.override(ZoneInfo(chance.choice(ZONES))):
        bound = make(AsyncQuerySet, value)._bound("list")
        sql, params = make(QuerySet, value).query.get_compiler("default").as_sql()
    if chance.random() < 0.01:
        clear()
    return False if bound is None else difference(bound, sql, params) or True


@pytest.mark.threads
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("max_shapes", [2_000, 8])
def test_exact_under_many_threads(shapes: Any, max_shapes: int) -> None:
    found: list[Any] = []
    until = time.monotonic() + 3

    def run(number: int) -> None:
        chance = random.Random(number)
        try:
            while time.monotonic() < until:
                found.append(work(chance, shapes.clear))
        except BaseException as exc:
            found.append(exc)

    with override_settings(TURBO_ORM={**settings.TURBO_ORM, "MAX_SHAPES": max_shapes}):
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [each for each in found if not isinstance(each, bool)] == []
    assert found.count(True) > 100
