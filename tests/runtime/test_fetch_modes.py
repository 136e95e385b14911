"""Fetch modes: Django's own on 6.1, ours before; that both pass the same tests proves them alike."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection
from django.db.models import FilteredRelation, Prefetch, Q
from django.test.utils import CaptureQueriesContext

from tests.project.library.models import Author, Book, Note, Place, Plain, Profile, Restaurant, Tag
from turbo_orm import atomic, run_sync
from turbo_orm.errors import NotLoadedError
from turbo_orm.fetch_modes import FETCH_ONE, FETCH_PEERS, FETCH_RAISE, FieldFetchBlocked

Shelf = dict[str, Any]


@pytest.fixture
def shelf(django_databases: None) -> None:
    """Six books of three authors, edited by two; profiles, tags, notes, restaurants."""
    authors = [Author.objects.create(name=name, age=index) for index, name in enumerate("abc")]
    for author in authors[:2]:
        Profile.objects.create(author=author, bio=f"bio of {author}")
    tags = [Tag.objects.create(label=label) for label in "xy"]
    for number in range(6):
        book = Book.objects.create(
            title=f"t{number}", author=authors[number % 3], editor=authors[number % 2], marks=[number]
        )
        book.tags.set(tags)
        Note.objects.create(text=f"n{number}", target=book if number % 2 else authors[0])
        Restaurant.objects.create(name=f"r{number}", stars=number)
        Plain.objects.create(name=f"p{number}", author=authors[number % 3])
    ContentType.objects.get_for_models(Book, Author)
    connection.close()


@contextmanager
def queries(expected: int) -> Iterator[None]:
    with CaptureQueriesContext(connection) as captured:
        yield
    assert len(captured) == expected, [each["sql"] for each in captured]


#: How to read something that was not loaded with the query, of the first two rows.
READS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], str]] = {
    "foreign key": (lambda: Book.objects.order_by("title"), lambda row: row.author.name, "Book.author"),
    "nullable foreign key": (
        lambda: Book.objects.order_by("title"),
        lambda row: row.editor.name,
        "Book.editor",
    ),
    "one to one": (lambda: Profile.objects.order_by("pk"), lambda row: row.author.name, "Profile.author"),
    "reverse one to one": (
        lambda: Author.objects.filter(age__lt=2).order_by("name"),
        lambda row: row.profile.bio,
        "Author.profile",
    ),
    "generic foreign key": (
        lambda: Note.objects.filter(text__in=["n1", "n3", "n5"]).order_by("text"),
        lambda row: row.target.title,
        "Note.target",
    ),
    "deferred field": (
        lambda: Book.objects.order_by("title").defer("marks"),
        lambda row: row.marks,
        "Book.marks",
    ),
    "only": (lambda: Book.objects.order_by("title").only("title"), lambda row: row.price, "Book.price"),
    "child": (lambda: Place.objects.order_by("name"), lambda row: row.restaurant.stars, "Place.restaurant"),
}


@pytest.mark.parametrize("kind", READS)
def test_one(shelf: None, kind: str) -> None:
    rows, read, _ = READS[kind]
    for found in (rows(), rows().fetch_mode(FETCH_PEERS).fetch_mode(FETCH_ONE)):
        first, second, *_ = found
        with queries(2):
            read(first)
            read(second)


@pytest.mark.parametrize("kind", READS)
def test_peers(shelf: None, kind: str) -> None:
    rows, read, _ = READS[kind]
    expected = [read(row) for row in rows()]
    found = list(rows().fetch_mode(FETCH_PEERS))
    with queries(1):
        assert [read(row) for row in found] == expected
    streamed = list(rows().fetch_mode(FETCH_PEERS).iterator())
    with queries(1):
        assert [read(row) for row in streamed] == expected
    alone = rows().fetch_mode(FETCH_PEERS).first()
    with queries(1):
        assert read(alone) == expected[0]


@pytest.mark.parametrize("kind", READS)
def test_raise(shelf: None, kind: str) -> None:
    rows, read, name = READS[kind]
    for row in (rows().fetch_mode(FETCH_RAISE)[0], rows().fetch_mode(FETCH_RAISE).first()):
        with queries(0), pytest.raises(FieldFetchBlocked, match=rf"^Fetching of {name} blocked\.$"):
            read(row)


def test_what_is_loaded_is_read_in_every_mode(shelf: None) -> None:
    books = Book.objects.fetch_mode(FETCH_RAISE).select_related("author").prefetch_related("editor", "tags")
    book = books[0]
    with queries(0):
        assert (book.author.name, book.editor.name, book.title) == ("a", "a", "t0")
        assert [tag.label for tag in book.tags.all()] == ["x", "y"]
    assert Book(title="new").title == "new"


def test_reverse_one_to_one_without_an_object(shelf: None) -> None:
    for mode in (FETCH_ONE, FETCH_PEERS):
        author = Author.objects.fetch_mode(mode).order_by("-name")[:3][0]
        with pytest.raises(ObjectDoesNotExist, match="Author has no profile"):
            _ = author.profile
        with queries(0), pytest.raises(ObjectDoesNotExist):
            _ = author.profile
    assert not hasattr(Author.objects.fetch_mode(FETCH_PEERS).get(name="c"), "profile")


def test_null_relations(shelf: None) -> None:
    Book.objects.update(editor=None)
    for mode in (FETCH_ONE, FETCH_PEERS, FETCH_RAISE):
        with queries(1):
            assert [book.editor for book in Book.objects.fetch_mode(mode)] == [None] * 6


def test_a_deferred_field_of_a_deleted_row(shelf: None) -> None:
    books = list(Book.objects.order_by("title").defer("marks").fetch_mode(FETCH_PEERS))
    Book.objects.filter(title="t0").delete()
    with pytest.raises(Book.DoesNotExist, match="Book matching query does not exist"):
        _ = books[0].marks
    assert books[1].marks == [1]


@pytest.mark.parametrize("mode", [FETCH_PEERS, FETCH_RAISE])
def test_the_mode_goes_on_to_what_is_loaded(shelf: None, mode: Any) -> None:
    """By select_related(), prefetch_related(), related managers, create() and raw()."""
    authors = Author.objects.fetch_mode(mode)
    selected = Book.objects.fetch_mode(mode).select_related("author__profile", "editor")
    deep = Profile.objects.fetch_mode(mode).select_related("author").order_by("pk")
    filtered = Book.objects.fetch_mode(mode).annotate(own=FilteredRelation("author", condition=Q(pk__gt=0)))
    prefetched = Book.objects.fetch_mode(mode).prefetch_related("author")
    notes = Note.objects.fetch_mode(mode).order_by("text").prefetch_related("target")
    found = [
        selected[0].author,
        selected[0].editor,
        selected[0].author.profile,
        deep[0].author,
        filtered.select_related("own")[0].own,
        prefetched[0].author,
        notes[0].target,
        notes[1].target,
        authors.get(name="a").books.first(),
        authors.get(name="a").edited.all()[0],
        Book.objects.fetch_mode(mode).first().tags.first(),
        Book.objects.fetch_mode(mode).get(title="t1").notes.first(),
        authors.create(name="d"),
        authors.get(name="d").books.create(title="made"),
        Author.objects.fetch_mode(mode).get_or_create(name="e")[0],
        Author.objects.fetch_mode(mode).raw("SELECT * FROM library_author")[0],
        authors.union(Author.objects.all())[0],
        (authors.filter(age=0) | Author.objects.filter(age=1)).first(),
        authors.using("default").all().exclude(age=9).latest("pk"),
        authors.in_bulk()[authors.get(name="a").pk],
    ]
    assert [type(row._state.fetch_mode).__name__ for row in found] == [type(mode).__name__] * len(found)


def test_loading_lazily_hands_the_mode_on(shelf: None) -> None:
    for books in (
        list(Book.objects.order_by("title").fetch_mode(FETCH_PEERS)),
        list(Book.objects.filter(title="t0").fetch_mode(FETCH_PEERS)),
    ):
        assert books[0].author._state.fetch_mode is FETCH_PEERS
        assert books[0].author.profile._state.fetch_mode is FETCH_PEERS
    profiles = list(Profile.objects.fetch_mode(FETCH_PEERS))
    assert profiles[0].author.profile is profiles[0]
    places = list(Place.objects.fetch_mode(FETCH_PEERS))
    assert places[0].restaurant._state.fetch_mode is FETCH_PEERS


def test_levels_of_peers(shelf: None) -> None:
    """Two relations deep, three queries instead of one per object."""
    books = Book.objects.order_by("title").filter(author__age__lt=2)
    with queries(3):
        assert {book.author.profile.bio for book in books.fetch_mode(FETCH_PEERS)} == {"bio of a", "bio of b"}
    with queries(2):
        selected = books.fetch_mode(FETCH_PEERS).select_related("author")
        assert {book.author.profile.bio for book in selected} == {"bio of a", "bio of b"}


def test_known_related_objects_keep_their_mode(shelf: None) -> None:
    author = Author.objects.get(name="a")
    books = list(author.books.fetch_mode(FETCH_RAISE))
    assert books[0].author is author
    assert author.profile.bio == "bio of a", "the author itself was loaded without a mode"


def test_a_prefetch_with_its_own_queryset_has_its_own_mode(shelf: None) -> None:
    books = Book.objects.fetch_mode(FETCH_RAISE).prefetch_related(Prefetch("author", Author.objects.all()))
    assert books[0].author.profile.bio == "bio of a"


def test_a_prefetch_for_nothing(shelf: None) -> None:
    relation: Any = Note.target
    prefetch = getattr(relation, "get_prefetch_querysets", None) or relation.get_prefetch_queryset
    assert list(prefetch([])[0]) == []


def test_parent_links(shelf: None) -> None:
    restaurant = Restaurant.objects.fetch_mode(FETCH_RAISE).first()
    with queries(0), pytest.raises(FieldFetchBlocked, match=r"Restaurant\.place_ptr"):
        _ = restaurant.place_ptr
    restaurant = Restaurant.objects.fetch_mode(FETCH_PEERS).filter(name="r1").get()
    with queries(0):
        assert restaurant.place_ptr.name == "r1"
    assert restaurant.place_ptr._state.fetch_mode is FETCH_PEERS


def test_values_have_no_mode(shelf: None) -> None:
    assert Book.objects.fetch_mode(FETCH_RAISE).values("title")[0] == {"title": "t0"}
    assert Book.objects.values_list("title", flat=True).fetch_mode(FETCH_RAISE)[0] == "t0"


def test_copies_and_pickles(shelf: None) -> None:
    books = list(Book.objects.fetch_mode(FETCH_PEERS))
    for book in (pickle.loads(pickle.dumps(books[0])), copy.deepcopy(books[0]), copy.copy(books[0])):
        assert book._state.fetch_mode is FETCH_PEERS
        assert book.author.name == "a"
    queryset = pickle.loads(pickle.dumps(Book.objects.fetch_mode(FETCH_RAISE).filter(title="t1")))
    assert queryset[0]._state.fetch_mode is FETCH_RAISE
    for mode in (FETCH_ONE, FETCH_PEERS, FETCH_RAISE):
        assert pickle.loads(pickle.dumps(mode)) is mode


async def test_in_the_bridge(shelf: None) -> None:
    def names(mode: Any) -> list[str]:
        return [book.author.name for book in Book.objects.order_by("title").fetch_mode(mode)]

    for mode, expected in ((FETCH_ONE, 7), (FETCH_PEERS, 2)):
        statements = []

        def count(execute: Any, *args: Any, statements: list[Any] = statements) -> Any:
            statements.append(args)
            return execute(*args)

        with connection.execute_wrapper(count):
            assert await run_sync(names, mode) == list("abcabc")
        assert len(statements) == expected
    with pytest.raises(FieldFetchBlocked, match=r"Book\.author"):
        await run_sync(names, FETCH_RAISE)


async def test_afetch_is_no_surprise_and_hands_the_mode_on(shelf: None) -> None:
    """FETCH_RAISE blocks reading what is not loaded, not asking for it; what comes has the mode too."""
    async with atomic():
        books = await Book.objects.fetch_mode(FETCH_RAISE).order_by("title").defer("marks").alist()
        author, marks, tags = await books[0].afetch("author", "marks", "tags")
        assert (author.name, marks, len(tags)) == ("a", [0], 2)
        assert (books[5].author.name, books[5].marks) == ("c", [5])
        assert author._state.fetch_mode is FETCH_RAISE
        with pytest.raises(FieldFetchBlocked, match=r"Author\.profile"):
            _ = author.profile
        assert (await author.afetch("profile")).bio == "bio of a"
        notes = await Note.objects.fetch_mode(FETCH_RAISE).order_by("text").alist()
        assert await notes[1].afetch("target") == books[1]


@pytest.mark.parametrize("mode", [FETCH_ONE, FETCH_PEERS])
@pytest.mark.parametrize(
    ("model", "name"), [(Book, "author"), (Author, "profile"), (Note, "target"), (Place, "restaurant")]
)
async def test_reading_in_async_code_names_the_field(shelf: None, mode: Any, model: Any, name: str) -> None:
    rows = await model.objects.fetch_mode(mode).alist()
    with pytest.raises(
        NotLoadedError, match=rf"{model.__name__}\.{name} is not loaded.*afetch\(\"{name}\"\)"
    ):
        getattr(rows[0], name)


async def test_async_verbs_give_the_mode(shelf: None) -> None:
    books = Book.objects.fetch_mode(FETCH_RAISE)
    found = [
        await books.afirst(),
        await books.aget(title="t0"),
        await anext(aiter(books)),
        (await books.alist())[-1],
        await books.acreate(title="new", author_id=(await Author.objects.aget(name="a")).pk),
        (await books.aget_or_create(title="t0"))[0],
        (await books.araw("SELECT * FROM library_book"))[0],
    ]
    found += [row async for row in books.aiterator()]
    author = await Author.objects.fetch_mode(FETCH_RAISE).aget(name="a")
    found += [await author.books.alast(), await author.books.aget(title="t0")]
    for row in found:
        with pytest.raises(FieldFetchBlocked):
            _ = row.editor if row.editor_id else row.author


async def test_a_single_row_is_its_only_peer(shelf: None) -> None:
    books = Book.objects.fetch_mode(FETCH_PEERS).order_by("title")
    for _ in range(3):  # then there are plans
        for book in (await books.afirst(), await books.aget(title="t0")):
            assert [peer() for peer in book._state.peers] == [book]


def test_no_such_mode(shelf: None) -> None:
    with pytest.raises((TypeError, AttributeError)):
        list(Book.objects.fetch_mode("peers"))
