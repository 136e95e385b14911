"""Lookups of prefetches of any kind: the same objects and errors as by Django, mostly without the bridge."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from django.db.models import Model, Prefetch, QuerySet, prefetch_related_objects

from tests.project.library.models import Author, Book, Contribution, Profile, Tag
from turbo_orm import atomic, prefetching, run_sync
from turbo_orm.plans import shapes
from turbo_orm.plans.keys import ARE_TUPLES


@pytest.fixture(autouse=True)
async def _rows() -> Any:
    authors = [await Author.objects.acreate(name=name, age=20 + len(name)) for name in ("a", "bb", "ccc")]
    tags = [await Tag.objects.acreate(label=f"t{number}") for number in range(4)]
    await Profile.objects.acreate(author=authors[0], bio="x")
    for number in range(5):
        editor = authors[0] if number % 3 else None
        book = await Book.objects.acreate(
            title=f"b{number}", author=authors[number % 2], editor=editor, price=number
        )
        await book.tags.aadd(*tags[: number % 4])
        await Contribution.objects.acreate(book=book, author=authors[(number + 1) % 3])
    shapes.build_at_once()
    yield
    shapes.build_at_once(False)


Make = Callable[[], Any]

#: Lookups of authors, made anew each time: a prefetch leaves its hints with the querysets it is given.
OF_AUTHORS: dict[str, Make] = {
    "many": lambda: "books",
    "one": lambda: "profile",
    "many, many": lambda: "books__tags",
    "many, one": lambda: "books__editor",
    "many, one, many": lambda: "books__editor__edited",
    "many, one, one": lambda: "books__editor__profile",
    "many, many, many": lambda: "books__tags__books",
    "through": lambda: "contribution_set__book__tags",
    "without async": lambda: "plains",
    "plain Prefetch": lambda: Prefetch("books"),
    "filtered": lambda: Prefetch("books", Book.objects.filter(price__gte=2).order_by("-price")),
    "filtered by another": lambda: Prefetch("books", Book.objects.filter(tags__label="t0").distinct()),
    "as a list": lambda: Prefetch("books", to_attr="shelf"),
    "as a filtered list": lambda: Prefetch("books", Book.objects.filter(price__lt=3), to_attr="cheap"),
    "through that list": lambda: "cheap__tags",
    "that list alone": lambda: "shelf",
    "and through that list": lambda: "shelf__editor",
    "prefetching itself": lambda: Prefetch("books", Book.objects.prefetch_related("tags", "editor")),
    "prefetching lists": lambda: Prefetch(
        "books",
        Book.objects.prefetch_related(Prefetch("tags", Tag.objects.filter(label__gt="t0"), to_attr="some")),
        to_attr="deep",
    ),
    "back by another way": lambda: Prefetch(
        "books", Book.objects.prefetch_related(Prefetch("author", Author.objects.only("age")))
    ),
    "a list by the relation's name": lambda: Prefetch("books", Book.objects.all(), to_attr="books"),
    "joined": lambda: Prefetch("edited", Book.objects.select_related("author")),
    "then through the join": lambda: "edited__author__books",
    "filtered further on": lambda: Prefetch("books__tags", Tag.objects.exclude(label="t1")),
    "list further on": lambda: Prefetch("books__tags", to_attr="labels"),
    "one as a list": lambda: Prefetch("books__editor", Author.objects.filter(age__gt=0), to_attr="boss"),
    "filtered one": lambda: Prefetch("books__editor", Author.objects.filter(age__lt=0)),
    "a slice": lambda: Prefetch("books", Book.objects.order_by("title")[:1], to_attr="first"),
    "some columns": lambda: Prefetch("books", Book.objects.only("title", "author"), to_attr="titles"),
    "without the key": lambda: Prefetch("books", Book.objects.only("title"), to_attr="titles"),
    "without the key, kept": lambda: Prefetch("books", Book.objects.defer("author")),
    "evaluated": lambda: Prefetch("books", _evaluated(Book.objects.order_by("-pk")), to_attr="known"),
    "a name there is": lambda: Prefetch("books", to_attr="name"),
    "a name of a relation": lambda: Prefetch("books", to_attr="edited"),
    "nothing": lambda: "nothing",
    "nothing further on": lambda: "books__nothing",
    "a column": lambda: "name",
}


def _evaluated(queryset: Any) -> Any:
    len(queryset)
    return queryset


#: Those that take Django, at least for a part.
LEFT = {
    "one",
    "many, one, one",
    "through that list",
    "and through that list",
    "that list alone",
    "a slice",
    "without the key",
    "without the key, kept",
    "a name there is",
    "a list by the relation's name",
    "a name of a relation",
    "nothing",
    "nothing further on",
    "a column",
}


def graph(rows: Any) -> Any:
    """All that can be reached from *rows* without a query, in a form that can be compared."""
    seen: dict[int, int] = {}

    def of(value: Any) -> Any:
        if isinstance(value, Model):
            if id(value) in seen:
                return ["seen", seen[id(value)]]
            seen[id(value)] = len(seen)
            others = {
                name: of(item)
                for name, item in sorted(vars(value).items())
                if name not in ("_state", "_prefetched_objects_cache")
            }
            kept = value.__dict__.get("_prefetched_objects_cache")
            return [
                type(value).__name__,
                others,
                {name: of(item) for name, item in sorted(value._state.fields_cache.items())},
                None if kept is None else {name: of(kept[name]) for name in sorted(kept)},
                value._state.db,
            ]
        if isinstance(value, QuerySet):
            internals: Any = value
            return [
                "queryset",
                of(internals._result_cache),
                internals._prefetch_done,
                str(value.query),
                # Django lets all querysets of a `Prefetch` share the hints of the last instance.
                type(internals._hints.get("instance")).__name__,
                [of(each) for known in internals._known_related_objects.values() for each in known.values()],
            ]
        if isinstance(value, list):
            return [of(item) for item in value]
        return repr(value)

    return json.dumps(of(rows), indent=1)


async def outcome(prefetch: Any, names: list[str]) -> Any:
    found = await run_sync(lambda: list(Author.objects.order_by("pk")))
    lookups = await run_sync(lambda: [OF_AUTHORS[name]() for name in names])
    try:
        await prefetch(found, *lookups)
    except Exception as error:
        return type(error), str(error)
    return await run_sync(graph, found)


async def _by_django(*args: Any) -> None:
    await run_sync(prefetch_related_objects, *args)


@pytest.mark.parametrize("name", OF_AUTHORS)
async def test_one_lookup(name: str, by_django: list[str]) -> None:
    theirs = await outcome(_by_django, [name])
    for _ in range(3):
        by_django.clear()
        assert await outcome(prefetching.aprefetch_related_objects, [name]) == theirs
    if ARE_TUPLES:
        assert bool(by_django) == (name in LEFT)


@pytest.mark.parametrize("seed", range(8))
async def test_lookups_together(seed: int) -> None:
    random = Random(seed)
    for _ in range(12):
        names = random.sample(sorted(OF_AUTHORS), random.randint(2, 4))
        ours = await outcome(prefetching.aprefetch_related_objects, names)
        theirs = await outcome(_by_django, names)
        if isinstance(theirs, tuple):  # with two mistakes either may be the one that is told
            assert isinstance(ours, tuple), names
        else:
            assert (names, ours) == (names, theirs)


async def test_what_builds_on_a_list_that_comes_later() -> None:
    books = Prefetch("books", Book.objects.all(), to_attr="later")
    for _ in range(3):
        with pytest.raises(AttributeError, match="Cannot find 'later' on Author"):
            await Author.objects.prefetch_related("later__tags", books).alist()
        async with atomic():
            with pytest.raises(AttributeError, match="Cannot find 'later' on Author"):
                await Author.objects.prefetch_related("later__tags", books).alist()


async def test_two_lists_of_one_name() -> None:
    """Django refuses the second if it has a queryset of its own, else it takes what is there."""
    books, other = Prefetch("books", to_attr="rows"), Prefetch("edited", Book.objects.all(), to_attr="rows")
    for _ in range(3):
        with pytest.raises(ValueError, match="'rows' lookup was already seen with a different queryset"):
            await Author.objects.prefetch_related(books, other).alist()
        found = (
            await Author.objects.order_by("name")
            .prefetch_related(books, "edited", Prefetch("edited", to_attr="rows"))[:1]
            .alist()
        )
        rows: Any = found[0]
        assert [book.title for book in rows.rows] == ["b0", "b2", "b4"]
        assert [book.title for book in rows.edited.all()] == ["b1", "b2", "b4"]


async def test_rows_that_are_no_objects() -> None:
    """Django leaves them alone, whatever the lookup."""
    rows = (
        await Author.objects.order_by("name")
        .prefetch_related("books__tags", "nothing")
        .values_list("name")
        .alist()
    )
    assert rows == [("a",), ("bb",), ("ccc",)]


async def test_a_queryset_then_the_name_alone() -> None:
    """The second finds what the first loaded."""
    for _ in range(3):
        some = Prefetch("tags", Tag.objects.filter(label="t1"))
        found = await Book.objects.order_by("title").prefetch_related(some, "tags", "tags__books").alist()
    assert [[tag.label for tag in book.tags.all()] for book in found] == [[], [], ["t1"], ["t1"], []]
    assert [book.title for book in found[2].tags.all()[0].books.all()] == ["b2", "b3"]


async def test_again_for_an_object_that_has_no_key_any_more() -> None:
    """Django gives no manager of a many-to-many relation for it, whatever it has prefetched."""
    book = await Book.objects.aget(title="b3")
    await prefetching.aprefetch_related_objects([book], "tags")
    book.pk = None
    with pytest.raises(ValueError, match="needs to have a value for field"):
        await prefetching.aprefetch_related_objects([book], "tags")


@pytest.mark.parametrize("turned", [False, True])
async def test_of_equal_objects_the_last_is_told_to_what_comes_after_it(turned: bool) -> None:
    """In the order of their query, which Django keeps for lookups that go on from there."""
    for _ in range(3):
        tags: list[Any] = await Tag.objects.order_by("label").prefetch_related("books").alist()
        books = [book for tag in tags for book in tag.books.all()]
        found = books[::-1] if turned else books
        assert await prefetching.follow(tags, "books__contribution_set", {"books": found})
    for book in books:
        last = [each for each in found if each == book][-1]
        assert [row.book is last for row in book.contribution_set.all()] == [True]


async def test_of_equal_objects_it_is_the_same_as_by_django() -> None:
    def told(tags: list[Any]) -> list[list[bool]]:
        books = [book for tag in tags for book in tag.books.all()]
        return [[book is row.book for row in book.contribution_set.all()] for book in books]

    lookups = ["books", "books__contribution_set"]
    for order in ("label", "-label"):
        for _ in range(3):
            ours = await Tag.objects.order_by(order).alist()
            await prefetching.aprefetch_related_objects(ours, *lookups)
        theirs = await Tag.objects.order_by(order).alist()
        await run_sync(prefetch_related_objects, theirs, *lookups)
        assert told(ours) == told(theirs)
