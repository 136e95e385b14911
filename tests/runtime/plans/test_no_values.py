"""Where no row can be nothing is executed, and the answer is Django's: ``IN`` without values, `none()`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Count, F, Max, Q, QuerySet
from django.db.models.query import EmptyQuerySet

from tests.project.library.models import Author, Book
from tests.runtime.plans.same import outcome
from turbo_orm import AsyncQuerySet, atomic, batch, run_sync
from turbo_orm.plans.verify import Verified
from turbo_orm.testing import capture_queries

pytestmark = pytest.mark.usefixtures("snapshot", "at_once", "verifying")


def _keys(rows: Any) -> Any:
    return rows.order_by("pk").values_list("pk", flat=True)


#: What is done with the keys, and whether a plan knows the answer if there are none.
USES: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "by key": (lambda rows, keys: rows(Book).filter(pk__in=keys), True),
    "by foreign key": (lambda rows, keys: rows(Book).filter(author__in=keys), True),
    "by column": (lambda rows, keys: rows(Book).filter(author_id__in=keys), True),
    "by text": (lambda rows, keys: rows(Author).filter(name__in=[*map(str, keys)]), True),
    "by another's key": (lambda rows, keys: rows(Author).filter(books__in=keys), True),
    "with others": (lambda rows, keys: rows(Book).filter(title="t", pk__in=keys).filter(price=3), True),
    "by condition": (lambda rows, keys: rows(Book).filter(Q(pk__in=keys) & Q(title="t")), True),
    "sliced": (lambda rows, keys: rows(Book).filter(pk__in=keys).order_by("pk")[1:3], True),
    "with a relation": (lambda rows, keys: rows(Book).filter(pk__in=keys).select_related("author"), True),
    "prefetched": (lambda rows, keys: rows(Book).filter(pk__in=keys).prefetch_related("tags"), True),
    "texts": (lambda rows, keys: rows(Book).filter(pk__in=keys).values_list("title", flat=True), True),
    "distinct": (lambda rows, keys: rows(Book).filter(pk__in=keys).distinct(), True),
    "grouped": (
        lambda rows, keys: rows(Book).filter(pk__in=keys).values("author").annotate(Count("pk")),
        True,
    ),
    "twice": (lambda rows, keys: rows(Book).filter(pk__in=[1, 2]).filter(author__in=keys), True),
    "either": (lambda rows, keys: _keys(rows(Book).filter(Q(pk__in=keys) | Q(title="t"))), False),
    "neither": (lambda rows, keys: _keys(rows(Book).exclude(pk__in=keys)), False),
    "neither, of a nullable column": (lambda rows, keys: _keys(rows(Book).exclude(editor__in=keys)), False),
    "not, of a nullable column": (lambda rows, keys: _keys(rows(Book).filter(~Q(editor_id__in=keys))), False),
    "neither, of a part": (lambda rows, keys: _keys(rows(Book).exclude(published__year__in=keys)), False),
    "neither, of another's": (lambda rows, keys: _keys(rows(Author).exclude(books__editor__in=keys)), False),
    "not": (lambda rows, keys: _keys(rows(Book).filter(~Q(pk__in=keys), title="t")), False),
    "of groups": (
        lambda rows, keys: rows(Author).annotate(n=Count("books")).filter(n__in=keys).order_by("pk"),
        False,
    ),
    "within": (lambda rows, keys: rows(Author).filter(books__in=rows(Book).filter(pk__in=keys)), False),
}

VERBS = ("list", "get", "first", "last", "count", "exists")

#: Where Django asks something else than the rows of the query itself.
_OTHERWISE = {
    ("sliced", "count"),
    ("distinct", "count"),
    ("grouped", "count"),
    ("grouped", "first"),
    ("grouped", "last"),
    ("sliced", "get"),
    ("sliced", "last"),
}


def _by_django(make: Callable[[Any], Any], verb: str) -> Any:
    queryset = make(QuerySet)
    return list(queryset) if verb == "list" else getattr(queryset, verb)()


def _ours(model: Any) -> Any:
    return model.objects.all()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", USES)
async def test_answers_are_djangos(name: str, verb: str):
    use, known = USES[name]
    known = known and (name, verb) not in _OTHERWISE
    expected = await outcome(lambda: run_sync(_by_django, lambda rows: use(rows, []), verb))
    for made in (list, tuple, set, lambda keys: dict.fromkeys(keys).keys()):

        async def found(keys: list[int], made: Any = made) -> Any:
            return await outcome(getattr(use(_ours, made(keys)), f"a{verb}"))

        async def found_in_bridge(made: Any = made) -> Any:
            return await outcome(lambda: run_sync(_by_django, lambda _: use(_ours, made([])), verb))

        await found([1, 2])  # the shape and its plan are made
        before = Verified.same
        with capture_queries() as queries:
            assert await found([]) == expected
        if known:
            assert (Verified.same - before, [*queries]) == (1, [])
        assert await found_in_bridge() == expected


@pytest.mark.parametrize("changes", [{"title": "new"}, {"price": F("price") + 1}])
@pytest.mark.parametrize(
    "name", ["by key", "by foreign key", "with others", "by condition", "twice", "either"]
)
async def test_nothing_is_updated(name: str, changes: dict[str, Any]):
    use, known = USES[name]
    await use(_ours, [1, 2]).aupdate(**changes)  # the shape and its plan are made
    before = await Book.objects.order_by("pk").values_list("title", "price").alist()
    same = Verified.same
    with capture_queries() as queries:
        found = [
            await use(_ours, []).aupdate(**changes),
            await run_sync(lambda: use(_ours, []).update(**changes)),
        ]
    assert found == [await run_sync(lambda: use(QuerySet, []).update(**changes))] * 2
    if known:
        assert (Verified.same - same, [*queries]) == (2, [])
    assert await Book.objects.order_by("pk").values_list("title", "price").alist() == before


async def test_what_can_not_be_stored_is_refused_though_nothing_is_updated():
    async def update(keys: list[int], price: Any) -> Any:
        return await Book.objects.filter(pk__in=keys).aupdate(price=price)

    assert await update([1], "3") == 1
    expected = await outcome(
        lambda: run_sync(lambda: QuerySet(Book).filter(pk__in=[]).update(price="no price"))
    )
    assert await outcome(lambda: update([], "no price")) == expected
    assert await update([], "4") == 0
    assert await AsyncQuerySet(Book).none().aupdate(price="4") == 0
    assert await outcome(lambda: AsyncQuerySet(Book).none().aupdate(price="no price")) == expected


async def test_in_blocks_and_batches():
    def books(keys: list[int]) -> Any:
        return Book.objects.filter(pk__in=keys).order_by("pk")

    some = await books([1, 2]).alist()
    assert await books([1, 2]).acount() == len(some) > 0
    async with atomic():
        with capture_queries() as queries:
            assert await books([]).alist() == []
            assert await books([]).select_for_update().alist() == []
            assert await books([]).acount() == 0
        assert [*queries] == []
        assert await batch(books([]), books([]).acount(), books([1, 2])) == ([], 0, some)
    assert await batch(books([1, 2]), books([]), books([]).aexists(), books([]).afirst()) == (
        some,
        [],
        False,
        None,
    )


async def test_streams_and_what_writes():
    rows = Book.objects.filter(pk__in=[1])
    assert [row.pk async for row in rows.aiterator()] == [1]
    assert await rows.aupdate(title="new") == 1
    none = Book.objects.filter(pk__in=[])
    assert [row async for row in none.aiterator()] == []
    assert [row async for row in none.prefetch_related("tags").aiterator(10)] == []
    assert await none.aupdate(title="other") == 0
    assert await none.adelete() == (0, {})
    assert not await none.acontains(await rows.aget())
    assert await none.ain_bulk([1]) == {}
    assert await none.aaggregate(n=Count("pk")) == {"n": 0}


async def test_other_uses_of_the_shape_have_the_values_they_were_given():
    await Book.objects.filter(pk__in=[1]).alist()
    none = Book.objects.filter(pk__in=[])
    assert none.query.is_empty() == QuerySet(Book).filter(pk__in=[]).query.is_empty()
    either = none | Book.objects.filter(pk=1)
    assert [book.pk for book in await either.alist()] == [1]
    assert [author.pk for author in await Author.objects.filter(books__in=none).alist()] == []


_NEGATED = [name for name in USES if name.startswith(("neither", "not"))]


@pytest.mark.parametrize("keys", [[1, None, 2], [None, None], [None]])
@pytest.mark.parametrize(
    "name", ["by key", "by foreign key", "by column", "by another's key", "either", *_NEGATED]
)
async def test_none_is_no_value(name: str, keys: list[int | None]):
    use, known = USES[name]
    expected = await outcome(lambda: run_sync(_by_django, lambda rows: _keys(use(rows, keys)), "list"))
    await _keys(use(_ours, [1, 2])).alist()  # the shape and its plan are made
    before = Verified.same
    assert await outcome(_keys(use(_ours, keys)).alist) == expected
    if name in ("by another's key", "neither, of another's"):  # Django may make another query of it
        return
    # Since Django 6.1, rows without a value are none of those that are not in such a list.
    assert Verified.same - before == ((known or 1 in keys) and name not in _NEGATED)


#: Querysets of no rows, whatever is in the database.
NONE: dict[str, Callable[[Any], Any]] = {
    "all": lambda rows: rows(Book).none(),
    "filtered before": lambda rows: rows(Book).filter(price__gt=2, pk__in=[1, 2]).none(),
    "filtered after": lambda rows: rows(Book).none().filter(price__gt=2).exclude(title="t"),
    "ordered": lambda rows: rows(Book).none().order_by("-pk"),
    "sliced": lambda rows: rows(Book).none()[1:3],
    "twice": lambda rows: rows(Book).none().none(),
    "values": lambda rows: rows(Book).values("title").none(),
    "values after": lambda rows: rows(Book).none().values_list("pk", "title"),
    "flat": lambda rows: rows(Book).none().values_list("pk", flat=True),
    "named": lambda rows: rows(Book).none().values_list("pk", "price", named=True),
    "with a relation": lambda rows: rows(Book).none().select_related("author").only("title", "author__name"),
    "prefetched": lambda rows: rows(Book).prefetch_related("tags").none(),
    "grouped": lambda rows: rows(Book).none().values("author").annotate(n=Count("pk")),
    "annotated": lambda rows: rows(Author).annotate(n=Count("books")).none().filter(n__gt=1),
    "a column": lambda rows: rows(Book).none().distinct().order_by("author__name"),
    "within": lambda rows: rows(Author).filter(books__in=rows(Book).none()),
    "locked": lambda rows: rows(Book).none().select_for_update(),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", NONE)
async def test_answers_of_none_are_djangos(name: str, verb: str):
    make = NONE[name]
    expected = await outcome(lambda: run_sync(_by_django, make, verb))
    with capture_queries() as queries:
        for _ in range(3):
            assert await outcome(getattr(make(AsyncQuerySet), f"a{verb}")) == expected
            assert (
                await outcome(lambda: run_sync(_by_django, lambda _: make(AsyncQuerySet), verb)) == expected
            )
    assert [*queries] == []


async def test_none_has_plans():
    for make in NONE.values():
        await make(AsyncQuerySet).alist()
        same = Verified.same
        assert await make(AsyncQuerySet).alist() == []
        assert Verified.same == same + 1


async def test_what_else_is_done_with_none():
    rows = AsyncQuerySet(Book)
    none = rows.none()
    assert isinstance(none, EmptyQuerySet)
    assert not isinstance(rows, EmptyQuerySet)
    one = await rows.order_by("pk").afirst()
    assert await none.aupdate(price=1) == 0
    assert await none.adelete() == (0, {})
    assert await none.aaggregate(n=Count("pk"), most=Max("price")) == {"n": 0, "most": None}
    assert not await none.acontains(one)
    assert await none.ain_bulk([1]) == {}
    assert [row async for row in none.aiterator()] == []
    assert [row async for row in none] == []
    assert await pickle.loads(pickle.dumps(none)).alist() == []
    assert await none.union(rows.filter(pk=one.pk)).alist() == [one]
    with pytest.raises(Book.DoesNotExist):
        await none.alatest("pk")
    assert await batch(none, none.acount(), rows.filter(pk=one.pk)) == ([], 0, [one])
    async with atomic():
        assert await none.select_for_update().alist() == []


@pytest.mark.parametrize("operator", ["__and__", "__or__", "__xor__"])
@pytest.mark.parametrize("prefetch", [False, True])
async def test_none_and_others(operator: str, prefetch: bool):
    def combined(rows: Any, first: bool) -> Any:
        some, none = rows(Book).filter(pk__lt=3).order_by("-pk"), rows(Book).filter(price__gt=3).none()
        if prefetch:
            some = some.prefetch_related("tags")
        return getattr(none, operator)(some) if first else getattr(some, operator)(none)

    for first in (False, True):
        expected = await run_sync(lambda first=first: [*combined(QuerySet, first)])
        for _ in range(3):
            found = combined(AsyncQuerySet, first)
            assert await found.alist() == expected
            assert found._prefetch_related_lookups == combined(QuerySet, first)._prefetch_related_lookups


async def test_a_value_no_row_has_is_not_the_shape_s():
    """No column holds such an integer, which Django knows; others of the shape are asked for."""
    books = AsyncQuerySet(Book)
    for author in (2**70, 2**71, 1, 2**70, 1, 2**70):
        expected = await run_sync(lambda author=author: [*QuerySet(Book).filter(author=author)])
        assert await books.filter(author=author).alist() == expected
        assert bool(expected) == (author == 1)
