"""Terminals of sync code in the bridge, and what Django builds on them: on plans, as Django does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Max, Q
from django.test import override_settings
from django.utils.functional import SimpleLazyObject

from tests.project.library.models import Author, Book, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import outcome
from turbo_orm import AsyncQuerySet, run_sync
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

POOL = {"min_size": 1, "max_size": 5}


pytestmark = pytest.mark.usefixtures("at_once", "verifying")


class Filtering(AsyncQuerySet):
    def filter(self, *args: Any, **kwargs: Any) -> Any:
        return super().filter(*args, **kwargs).exclude(name="Ada")


class Getting(AsyncQuerySet):
    def get(self, *args: Any, **kwargs: Any) -> Any:
        return ("got", super().get(*args, **kwargs))


class Counting(AsyncQuerySet):
    def count(self) -> int:
        return -super().count()


class Updating(AsyncQuerySet):
    def update(self, **kwargs: Any) -> int:
        return super().update(**kwargs, age=99)


def _lazy(kind: Any = Author) -> Any:
    return SimpleLazyObject(lambda: kind("1") if kind is int else kind(pk=1))


def _looked_at(kind: Any = Author) -> Any:
    """As `request.user` is."""
    lazy = _lazy(kind)
    assert isinstance(lazy, kind)
    return lazy


def _twice() -> Any:
    lazy = SimpleLazyObject(_looked_at)
    assert isinstance(lazy, Author)
    return lazy


#: What is done, and whether all of it has plans.
CALLS: dict[str, tuple[Callable[[], Any], bool]] = {
    "by key": (lambda: Book.objects.get(pk=1), True),
    "by fields": (lambda: Book.objects.get(title="Algebra", author__name="Ada"), True),
    "by Q": (lambda: Book.objects.get(Q(title="Algebra") | Q(title="x")), True),
    "by an expression": (lambda: Book.objects.get(pk=F("author_id"), title="Algebra"), True),
    "by an object that is lazy": (lambda: Book.objects.get(author=_lazy(), title="Algebra"), False),
    "by one that was looked at": (lambda: Book.objects.get(author=_looked_at(), title="Algebra"), True),
    "by Q with that": (lambda: Book.objects.get(Q(author=_looked_at()) & Q(title="Algebra")), True),
    "by another's key": (lambda: Book.objects.get(pk=_looked_at()), False),
    "by one of another model": (lambda: Book.objects.get(author=_looked_at(Tag)), False),
    "by one within another": (lambda: Book.objects.get(author=_twice(), title="Algebra"), True),
    "by some within others": (lambda: Book.objects.get(author__in=[_twice()], title="Algebra"), True),
    "by one within another that is lazy": (
        lambda: Book.objects.get(author=SimpleLazyObject(_looked_at), title="Algebra"),
        False,
    ),
    "by some of which one was": (
        lambda: Book.objects.get(author__in=[_looked_at(), Author(pk=2)], title="Algebra"),
        True,
    ),
    "by Q with some": (lambda: Book.objects.get(Q(author__in=(_looked_at(),), title="Algebra")), True),
    "without some": (lambda: Book.objects.exclude(author__in=[_looked_at()]).count(), True),
    "by some that are lazy": (lambda: Book.objects.get(author__in=[_lazy()], title="Algebra"), False),
    "by some of another model": (lambda: Book.objects.get(author__in=[_looked_at(Tag)]), False),
    "by some of a set": (lambda: Book.objects.get(author__in={_looked_at()}, title="Algebra"), False),
    "by a key that is lazy": (lambda: Book.objects.get(pk=_looked_at(int)), False),
    "of a filter": (lambda: Book.objects.filter(title="Algebra").get(), True),
    "of a filter, by key": (lambda: Book.objects.filter(title="Algebra").get(pk=1), True),
    "with relations": (lambda: Book.objects.select_related("author").get(pk=1), True),
    "with prefetches": (lambda: [*Book.objects.prefetch_related("tags").get(pk=1).tags.all()], True),
    "some fields": (lambda: Book.objects.only("title").get(pk=1), True),
    "values": (lambda: Book.objects.values("title").get(pk=1), True),
    "related": (lambda: Author.objects.get(pk=1).books.get(title="Algebra"), True),
    "of a slice": (lambda: Book.objects.all()[:1].get(), True),
    "with filters in a dictionary": (lambda: Book.objects.complex_filter({"pk": 1}).get(), True),
    "with no filters in a dictionary": (lambda: Book.objects.complex_filter({}).get(pk=1), True),
    "with a condition": (lambda: Book.objects.complex_filter(Q(pk=1)).get(), False),
    "validated": (lambda: Book(title="x", author_id=1, price=1).clean_fields(["published"]), True),
    "of none": (lambda: Book.objects.none().get(pk=1), True),
    "of what is loaded": (lambda: _loaded(Book.objects.filter(pk__lt=3)).get(pk=1), True),
    "of one that is loaded": (lambda: _loaded(Book.objects.filter(pk=1)).get(), True),
    "nothing there": (lambda: Book.objects.get(title="x"), True),
    "several": (lambda: Book.objects.get(author_id=1), True),
    "very many": (lambda: _many(Book), True),
    "no such field": (lambda: Book.objects.get(titel="x"), False),
    "a filter() of its own": (lambda: Filtering(Author).get(name="Ada"), False),
    "a get() of its own": (lambda: Getting(Author).get(name="Ada"), False),
    "get_or_create, there": (lambda: Tag.objects.get_or_create(label="red"), True),
    "get_or_create, new": (lambda: Tag.objects.get_or_create(label="new"), True),
    "get_or_create, callable": (
        lambda: Author.objects.get_or_create(name="new", defaults={"age": lambda: 7}),
        True,
    ),
    "get_or_create, taken": (lambda: Author.objects.get_or_create(age=77, defaults={"name": "Ada"}), True),
    "get_or_create, related": (lambda: Book.objects.get(pk=1).tags.get_or_create(label="new"), True),
    "update_or_create, there": (
        lambda: Author.objects.update_or_create(name="Ada", defaults={"age": 3}),
        True,
    ),
    "update_or_create, new": (lambda: Author.objects.update_or_create(name="x", defaults={"age": 3}), True),
    "count": (lambda: Book.objects.filter(title="Algebra").count(), True),
    "count, of what is loaded": (lambda: _loaded(Book.objects.filter(pk__lt=3)).count(), True),
    "count, of a slice": (lambda: Book.objects.order_by("pk")[:2].count(), True),
    "count, of its own": (lambda: Counting(Author).count(), False),
    "exists": (lambda: Book.objects.filter(title="Algebra").exists(), True),
    "exists, not": (lambda: Book.objects.filter(title="x").exists(), True),
    "exists, none": (lambda: Book.objects.none().exists(), True),
    "contains": (lambda: Author.objects.filter(age__gte=0).contains(Author(pk=1)), True),
    "contains, unsaved": (lambda: Author.objects.contains(Author()), False),
    "aggregate": (lambda: Book.objects.aggregate(Max("price"), n=Count("pk")), True),
    "aggregate, of a condition": (
        lambda: Book.objects.aggregate(n=Count("pk", filter=Q(title="Algebra"))),
        True,
    ),
    "update": (lambda: Author.objects.filter(pk=1).update(age=F("age") + 1, name="x"), True),
    "update, of what is loaded": (lambda: _updated(Author.objects.filter(pk__lt=3)), True),
    "update, too large": (lambda: Author.objects.filter(pk=1).update(age=2**40), False),
    "update, refused": (lambda: Author.objects.filter(pk=1).update(name=None), True),
    "update, refused in a block": (lambda: _in_block(), True),
    "update, no such field": (lambda: Author.objects.update(aeg=1), False),
    "update, of its own": (lambda: Updating(Author).filter(pk=1).update(name="x"), False),
}


def _loaded(queryset: Any) -> Any:
    assert len(queryset)
    return queryset


def _updated(queryset: Any) -> Any:
    loaded = _loaded(queryset)
    return loaded.update(age=5), [author.age for author in loaded]


def _in_block() -> Any:
    with transaction.atomic():
        try:
            Author.objects.filter(pk=1).update(name=None)
        except IntegrityError:
            return Author.objects.count()


def _many(model: Any) -> Any:
    model.objects.bulk_create([model(title=f"{n}", author_id=1) for n in range(30)])
    return model.objects.get(author_id=1)


@pytest.mark.usefixtures("frozen_now")
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("name", CALLS)
async def test_as_django(snapshot: Snapshot, name: str, watched: bool) -> None:
    call, planned = CALLS[name]
    outcomes = []
    same = Verified.same
    for plans in (False, True):
        snapshot.restore()
        settings = {"VERIFY_PLANS": True, "PLANS": plans, "POOL": POOL}
        with override_settings(TURBO_ORM=settings):
            if watched:
                with capture_queries() as queries:
                    found = await outcome(lambda: run_sync(call))
                statements = [query["sql"] for query in queries]
            else:
                found, statements = await outcome(lambda: run_sync(call)), []
        outcomes.append((found, statements, snapshot.rows()))
    assert outcomes[0] == outcomes[1]
    assert (Verified.same > same) is planned
