"""Prefetched other ends of foreign keys on plans: outside of the bridge, and only where that is the same."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
from django.db import router
from django.db.models import Manager, Prefetch, QuerySet, prefetch_related_objects

from tests.project.library.models import Author, Book, Contribution, Person, Plain, Writer
from turbo_orm import prefetching, run_sync
from turbo_orm.fetch_modes import FETCH_ONE, FETCH_PEERS
from turbo_orm.manager import AsyncManager
from turbo_orm.plans import shapes
from turbo_orm.prefetching.asked import Asked
from turbo_orm.prefetching.kept import Prefetched
from turbo_orm.testing import capture_queries


@pytest.fixture(autouse=True)
async def _rows() -> None:
    authors = [await Author.objects.acreate(name=name) for name in ("a", "b", "c")]
    for number in range(4):
        editor = authors[0] if number else None
        book = await Book.objects.acreate(title=f"b{number}", author=authors[number % 2], editor=editor)
        await Contribution.objects.acreate(book=book, author=authors[number % 2])
    await run_sync(Plain.objects.create, name="plain", author=authors[0])
    people = [await Person.everyone.acreate(name=f"p{number}") for number in range(3)]
    for person in people[1:]:
        person.parent = people[0]
        await person.asave()


RELATIONS = [
    (Author, "books"),
    (Author, "edited"),
    (Author, "contribution_set"),
    (Book, "contribution_set"),
    (Person, "children"),
]


async def instances(model: Any = Author) -> list[Any]:
    return await run_sync(lambda: list(model._base_manager.order_by("pk")))


async def prefetched(model: Any = Author, name: str = "books") -> list[Any]:
    """Instances of *model* whose relation *name* was prefetched on plans."""
    for _ in range(3):
        found = await instances(model)
        await prefetching.aprefetch_related_objects(found, name)
    return found


async def djangos(model: Any = Author, name: str = "books") -> list[Any]:
    found = await instances(model)
    await run_sync(prefetch_related_objects, found, name)
    return found


def left_behind(instance: Any) -> Any:
    """What a prefetch leaves with *instance*, and can be compared."""
    querysets = {}
    for name, queryset in instance._prefetched_objects_cache.items():
        internals: Any = queryset
        querysets[name] = (
            type(queryset),
            [(row.pk, row.__dict__.keys(), _cached(row)) for row in internals._result_cache],
            internals._prefetch_done,
            internals._sticky_filter,
            internals._db,
            internals._hints,
            {field: dict(known) for field, known in internals._known_related_objects.items()},
            getattr(internals, "_fetch_mode", FETCH_ONE),
            str(queryset.query),
            str(queryset.filter(pk__isnull=False).query),
        )
    return querysets, instance._state.fields_cache


def _cached(row: Any) -> Any:
    return {name: related.pk for name, related in row._state.fields_cache.items()}


@pytest.mark.parametrize(("model", "name"), RELATIONS)
async def test_the_same_as_djangos(model: Any, name: str, by_django: list[str]) -> None:
    ours, theirs = await prefetched(model, name), await djangos(model, name)
    expected = await run_sync(lambda: [left_behind(each) for each in theirs])
    assert any(rows for querysets, _ in expected for _, rows, *_ in querysets.values())
    assert all(type(each._prefetched_objects_cache) is Prefetched for each in ours)
    assert await run_sync(lambda: [left_behind(each) for each in ours]) == expected
    by_django.clear()
    await prefetched(model, name)
    assert by_django == []


async def test_by_prefetch_related(by_django: list[str]) -> None:
    for _ in range(4):
        by_django.clear()
        found = await Author.objects.order_by("name").prefetch_related("books", "edited").alist()
    assert by_django == []
    assert [[book.title for book in author.books.all()] for author in found] == [
        ["b0", "b2"],
        ["b1", "b3"],
        [],
    ]
    assert [[book.title for book in author.edited.all()] for author in found] == [["b1", "b2", "b3"], [], []]


async def test_rows_know_their_instance() -> None:
    first, second, third = await prefetched()
    for author in (first, second):
        assert all(book.author is author for book in author.books.all())
        assert [book.author is author async for book in author.books.filter(title__gt="")] == [True, True]
    assert first.books.all() is not second.books.all()
    assert list(third.books.all()) == []


@pytest.mark.parametrize("case", ["some have it", "several models"])
async def test_left_to_django(case: str, by_django: list[str]) -> None:
    prefetched_before = await prefetched()
    found, name = await instances(), "books"
    if case == "some have it":
        found[0] = prefetched_before[0]
    else:
        found[0] = await Writer.objects.aget(pk=found[0].pk)
    by_django.clear()
    await prefetching.aprefetch_related_objects(found, name)
    assert by_django == [name]
    assert [[book.title for book in author.books.all()] for author in found] == [
        ["b0", "b2"],
        ["b1", "b3"],
        [],
    ]


async def test_a_proxy_of_the_model() -> None:
    for model in (Author, Writer) * 3:
        ours, theirs = await prefetched(model), await djangos(model)
        for our, their in zip(ours, theirs, strict=True):
            assert [book.title for book in our.books.all()] == [book.title for book in their.books.all()]
            assert all(book.author is our for book in our.books.all())


async def test_a_model_without_async_manager() -> None:
    for _ in range(3):
        found, theirs = await instances(), await djangos(name="plains")
        await prefetching.aprefetch_related_objects(found, "plains")
        assert [[row.name for row in each.plains.all()] for each in found] == [
            [row.name for row in each.plains.all()] for each in theirs
        ]


async def test_an_instance_that_is_not_saved() -> None:
    await prefetched()
    for found in ([Author(name="new")], [*await instances(), Author(name="new")]):
        # Django 4.2 warns of it; in tests that is an error as well.
        with pytest.raises((ValueError, Warning), match="instance") as expected:
            await run_sync(prefetch_related_objects, [*found], "books")
        with pytest.raises((ValueError, Warning), match="instance") as refused:
            await prefetching.aprefetch_related_objects([*found], "books")
        assert str(refused.value) == str(expected.value)


async def test_the_same_object_twice_and_the_same_row_twice() -> None:
    await prefetched()
    ours, theirs = [], []
    for found in (ours, theirs):
        first, second = [await Author.objects.aget(name="a") for _ in range(2)]
        found.extend([first, second, first])
    await prefetching.aprefetch_related_objects(ours, "books")
    await run_sync(prefetch_related_objects, theirs, "books")
    for found in (ours, theirs):
        rows = [author.books.all()[0] for author in found]
        assert rows[0] is rows[1] is rows[2]
        assert [rows[0].author is author for author in found] == [True, False, True]


async def test_changing_the_relation_forgets_what_was_prefetched() -> None:
    author = (await prefetched())[0]
    await author.books.aadd(await Book.objects.aget(title="b1"))
    assert "books" not in author._prefetched_objects_cache
    assert [book.title async for book in author.books.all()] == ["b0", "b1", "b2"]


async def test_a_copy_shares_what_was_prefetched() -> None:
    original = (await prefetched())[0]
    copied = copy.copy(original)
    assert copied.books.all()._hints["instance"] is original
    expected = str(original.books.filter(title="b0").query)
    original = (await prefetched())[0]
    copied = copy.copy(original)
    del original
    assert [book.title for book in copied.books.all()] == ["b0", "b2"]
    assert str(copied.books.filter(title="b0").query) == expected


@pytest.fixture(params=["its manager's", "another queryset's"])
async def by_either(request: pytest.FixtureRequest) -> list[list[Any]]:
    """Instances whose books were prefetched: by plans, and by Django."""
    found = []
    ways: list[Any] = [prefetching.aprefetch_related_objects, partial(run_sync, prefetch_related_objects)]
    for prefetch in ways:
        for _ in range(3):
            ours = request.param == "its manager's"
            lookup = "books" if ours else Prefetch("books", Book.objects.order_by("-title"))
            authors = await instances()
            await prefetch(authors, lookup)
        found.append(authors)
    return found


@pytest.mark.parametrize("looked", ["not", "at rows", "at figures", "in the bridge"])
async def test_an_instance_whose_key_is_changed_afterwards(looked: str, by_either: list[list[Any]]) -> None:
    """As one that is saved as a copy: it keeps what was prefetched, but filters are for its new rows."""
    seen = []
    for author, other, _ in by_either:
        if looked == "at rows":
            assert [book.title for book in author.books.all()]
        elif looked == "at figures":
            assert (await author.books.acount(), await author.books.aexists()) == (2, True)
        elif looked == "in the bridge":
            books = author.books
            assert await run_sync(lambda: (books.count(), books.exists())) == (2, True)  # noqa: B023 - called at once
        was, author.pk = author.pk, other.pk
        rows = author.books.all()
        assert rows._known_related_objects == {Book.author.field: {was: author}}
        seen.append(([book.title for book in rows], str(author.books.filter(title="b0").query)))
    assert seen[0] == seen[1]
    assert f'"author_id" = {author.pk} AND' in seen[0][1]


async def test_an_instance_that_has_no_key_afterwards(by_either: list[list[Any]]) -> None:
    """As one that is deleted: a copy shares its rows, and these are no longer those of a saved object."""
    for author, *_ in by_either:
        copied = copy.copy(author)
        author.pk = None
        assert len(copied.books.all()) == 2
        # A warning before Django 5.0.
        with pytest.raises((ValueError, DeprecationWarning), match=r"must be saved|unsaved"):
            copied.books.filter(title="b0")


@pytest.mark.parametrize("change", ["forgotten", "method"])
async def test_what_is_known_holds_as_long_as_it_is_so(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await prefetched()
    known: Any = vars(Author)["books"]
    found, asked = await instances(), Asked("books", known, None, None)
    assert known._turbo_prefetch.answer(found, asked) is not None
    for node in known._turbo_prefetch._nodes:  # one alone is enough
        monkeypatch.setattr(node, "forgotten", True)
        assert known._turbo_prefetch.answer(found, asked) is None
        monkeypatch.undo()
    if change == "forgotten":
        shapes.clear()
    else:

        def get_queryset(self: Any) -> QuerySet[Any]:
            rows: QuerySet[Any] = Manager.get_queryset(self)
            return rows.exclude(title="b2") if self.model is Book else rows

        monkeypatch.setattr(AsyncManager, "get_queryset", get_queryset, raising=False)
    assert known._turbo_prefetch.answer(found, asked) is None
    await prefetching.aprefetch_related_objects(found, "books")
    titles = ["b0"] if change == "method" else ["b0", "b2"]
    assert [book.title for book in found[0].books.all()] == titles


async def test_fetch_modes_are_the_instances() -> None:
    await prefetched()
    ours, theirs = [
        await run_sync(lambda: list(Author.objects.fetch_mode(FETCH_PEERS).order_by("name")))
        for _ in range(2)
    ]
    await prefetching.aprefetch_related_objects(ours, "books")
    await run_sync(prefetch_related_objects, theirs, "books")
    for our, their in zip(ours, theirs, strict=True):
        mine, expected = our.books.filter(title__gt=""), their.books.filter(title__gt="")
        assert getattr(mine, "_fetch_mode", None) == getattr(expected, "_fetch_mode", None)


class _Router:
    """Reads from the default database, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool:
        self.asked.append((type(first), type(second)))
        return True


async def test_routers_are_asked_as_django_asks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    await prefetched()
    ours, theirs = _Router(), _Router()
    for asked, prefetch in (
        (ours, prefetching.aprefetch_related_objects),
        (theirs, lambda *args: run_sync(prefetch_related_objects, *args)),
    ):
        found = await instances()
        monkeypatch.setitem(vars(router), "routers", [asked])
        await prefetch(found, "books")
        monkeypatch.undo()
        assert [book.title for book in found[0].books.all()] == ["b0", "b2"]
    assert ours.asked == theirs.asked


@pytest.mark.parametrize(
    "rows",
    [
        lambda: Book.objects.only("title"),
        lambda: Book.objects.only("title", "author"),
        lambda: Book.objects.only("author_id"),
        lambda: Book.objects.defer("author"),
        lambda: Book.objects.defer("title"),
    ],
)
async def test_a_deferred_key_is_asked_for_as_by_django(rows: Any) -> None:
    """Row by row, and the rows themselves once."""
    lookup = Prefetch("books", rows())
    with capture_queries() as djangos:
        await run_sync(lambda: [*QuerySet(Author).prefetch_related(lookup)])
    for _ in range(3):
        with capture_queries() as ours:
            await Author.objects.prefetch_related(Prefetch("books", rows())).alist()
        assert len(ours) == len(djangos)
