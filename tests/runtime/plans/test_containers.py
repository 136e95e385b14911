"""Values of ``IN``, in whatever they come: one plan for each type, the rows and errors as Django's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connections, models
from django.db.models import QuerySet
from django.test import override_settings

from tests.project.library.models import Author, Book, Tag
from tests.runtime.parity.data import Snapshot
from tests.runtime.plans.same import outcome
from turbo_orm import atomic, batch, run_sync
from turbo_orm.plans.verify import Verified

POOL = {"min_size": 1, "max_size": 5}

pytestmark = pytest.mark.usefixtures("at_once", "verifying")

#: What keys come in, and whether there is a plan for it.
CONTAINERS: dict[str, tuple[Callable[[], Any], bool]] = {
    "a list": (lambda: [1, 2, 3], True),
    "a tuple": (lambda: (1, 2, 3), True),
    "a set": (lambda: {1, 2, 3}, True),
    "a frozen set": (lambda: frozenset({1, 2}), True),
    "a range": (lambda: range(1, 4), True),
    "a range backwards": (lambda: range(3, 0, -1), True),
    "keys": (lambda: {1: "a", 2: "b"}.keys(), True),
    "values": (lambda: {"a": 1, "b": 2, "c": 2}.values(), True),
    "an empty list": (list, False),
    "an empty range": (lambda: range(3, 3), False),
    "no keys": (lambda: {}.keys(), False),
    "None among them": (lambda: {1: 0, None: 0}.keys(), False),
    "only None": (lambda: {"a": None}.values(), False),
    "a generator": (lambda: (number for number in (1, 2)), False),
    "an iterator": (lambda: iter([1, 2]), False),
    "a map": (lambda: map(int, "12"), False),
    "too large": (lambda: range(2**63 - 1, 2**63 + 1), True),
    "texts": (lambda: {"1": 0, "2": 0}.keys(), True),
    "no numbers": (lambda: {"one": 0}.keys(), False),
}

USES: dict[str, Callable[[Any], Any]] = {
    "by key": lambda keys: Book.objects.filter(pk__in=keys),
    "by foreign key": lambda keys: Book.objects.filter(author__in=keys),
    "by another's key": lambda keys: Author.objects.filter(books__in=keys),
    "excluded": lambda keys: Book.objects.exclude(pk__in=keys),
    "made a query": lambda keys: _materialised(Book.objects.filter(pk__in=keys)),
}


def _materialised(queryset: Any) -> Any:
    str(queryset.query)
    return queryset


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", CONTAINERS)
async def test_rows_and_errors_are_djangos(name: str, use: str):
    container, has_plan = CONTAINERS[name]

    def make() -> Any:
        return USES[use](container())

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await outcome(lambda: make().order_by("pk").alist())
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        before = Verified.same
        assert await outcome(lambda: make().order_by("pk").alist()) == expected
    if use != "made a query" and name != "too large":
        assert (Verified.same > before) is has_plan


@pytest.mark.parametrize("late", [False, True])
async def test_the_values_are_those_of_the_moment(late: bool):
    stock = {1: "a", 2: "b"}
    by_key = Book.objects.filter(pk__in=stock.keys()).order_by("pk")
    stock[3] = "c"
    if late:
        str(by_key.query)  # the query is made now
    assert [book.pk for book in await by_key.alist()] == [1, 2]


def _set_with_an_order_of_its_own() -> set[int]:
    """Return a set whose values come in another order than those of its copy."""
    grown: set[int] = set()
    for number in range(1, 2000, 37):
        grown.add(number)
        if [*grown] != [*set(grown)]:
            return grown
    raise AssertionError("All sets have the order of their copies.")


async def test_the_order_is_that_of_the_set():
    keys = _set_with_an_order_of_its_own()
    with override_settings(TURBO_ORM={"VERIFY_PLANS": True, "POOL": POOL}):
        await Tag.objects.acount()  # then the server's version is known
        before = Verified.same
        await Book.objects.filter(pk__in=keys).alist()
        assert Verified.same > before
    assert str(Book.objects.filter(pk__in=keys).query) == str(QuerySet(Book).filter(pk__in=keys).query)
    labels = {f"label {number}" for number in range(40)}
    for _ in range(3):  # any lookup but `__in` may say of which type it is
        assert str(Tag.objects.filter(label__gt=labels).query) == str(
            QuerySet(Tag).filter(label__gt=labels).query
        )


async def test_other_lookups_see_the_container():
    """They may say of what type it is."""

    async def found() -> list[Tag]:
        return await Tag.objects.filter(label__gt={"a": 0}.keys()).alist()

    with override_settings(TURBO_ORM={"PLANS": False, "POOL": POOL}):
        expected = await outcome(found)
    for _ in range(3):
        rows = Tag.objects.filter(label__gt={"a": 0}.keys())
        assert "dict_keys" in str(rows.query)
        assert await outcome(found) == expected


@pytest.mark.slow
async def test_more_values_than_the_protocol_takes():
    """Django's cursors bind on the client, and take any number of them."""
    many = range(1, 66_000)

    async def found() -> Any:
        rows = Book.objects.filter(pk__in=many)
        return (
            await rows.acount(),
            len(await Book.objects.ain_bulk([*many])),
            await batch(rows.aexists(), Tag.objects.filter(pk__in=many).acount()),
            await run_sync(lambda: Book.objects.filter(pk__in=many).update(title="same")),
        )

    books, tags = await Book.objects.acount(), await Tag.objects.acount()
    for in_block in (False, True, False, True):  # without plans at first
        async with atomic() if in_block else nullcontext():
            assert await found() == (books, books, (True, tags), books)


async def test_large_statements_are_not_kept_prepared(snapshot: Snapshot):
    for count in (3, 499, 501, 3000):
        assert await Book.objects.filter(pk__in=range(1, 1 + count)).aexists()
    names = await run_sync(_prepared)
    sizes = {sql.count("$") for sql in names if "library_book" in sql}
    assert {3, 499} <= sizes
    assert max(sizes) < 501


def _prepared() -> list[str]:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [sql for (sql,) in cursor.fetchall()]


def _all(model: Any) -> Any:
    return model.objects.all()


def _keys(rows: Any) -> Any:
    return rows.order_by("pk").values_list("pk", flat=True)


class Names(models.TextChoices):
    RED = "red"
    BLUE = "blue"


class Ages(models.IntegerChoices):
    YOUNG = 30
    OLD = 36


#: Lists with names of texts and integers, and what else is comparable.
CHOICES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "texts": (
        lambda rows: rows(Tag).filter(label__in=[*Names]),
        lambda rows: rows(Tag).filter(label__in=["red"]),
    ),
    "one text": (
        lambda rows: rows(Tag).filter(label__in=(Names.RED,)),
        lambda rows: rows(Tag).filter(label__in=("x",)),
    ),
    "integers": (
        lambda rows: rows(Author).filter(age__in={Ages.YOUNG, Ages.OLD}),
        lambda rows: rows(Author).filter(age__in={1}),
    ),
    "integers among others": (
        lambda rows: rows(Author).filter(age__in=[Ages.YOUNG, 36, 40]),
        lambda rows: rows(Author).filter(age__in=[1]),
    ),
    "keys": (
        lambda rows: rows(Author).filter(pk__in=[Ages.OLD]),
        lambda rows: rows(Author).filter(pk__in=[1]),
    ),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", CHOICES)
async def test_choices_are_values(name: str, first: bool):
    make, with_plain_values = CHOICES[name]
    expected = await outcome(lambda: run_sync(lambda: list(_keys(make(QuerySet)))))
    if not first:
        await _keys(with_plain_values(_all)).alist()
    before = Verified.same
    assert await outcome(_keys(make(_all)).alist) == expected
    assert Verified.same - before == 1
