"""`afetch`, peers, and the error that points to it."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import FieldDoesNotExist, SynchronousOnlyOperation
from django.db import connection
from django.db.models import Prefetch
from django.test.utils import CaptureQueriesContext

from tests.project.library.models import Author, Book, Note, Profile, Tag
from tests.runtime.support import connect
from turbo_orm import aprefetch_related_objects, atomic, execution, run_sync
from turbo_orm.errors import NotLoadedError, TurboError
from turbo_orm.loading import load, loaded
from turbo_orm.plans.keys import ARE_TUPLES


@pytest.fixture
def shelf(django_databases):
    """Five books of three authors, with tags, notes, and two profiles."""
    authors = [Author.objects.create(name=name) for name in "abc"]
    for author in authors[:2]:
        Profile.objects.create(author=author, bio=f"bio of {author}")
    tags = [Tag.objects.create(label=label) for label in ("x", "y")]
    for number in range(5):
        book = Book.objects.create(
            title=f"t{number}", author=authors[number % 3], editor=authors[0] if number else None
        )
        book.tags.set(tags[: number % 3])
        Note.objects.create(text=f"n{number}", target=book)
    connection.close()


async def counted(awaitable):
    """Await, and return the result with the number of statements Django executed for it."""
    statements = []

    def count(execute, sql, params, many, context):
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        result = await awaitable
    return result, len(statements)


async def test_one_query_for_all_peers(shelf):
    books = await Book.objects.alist()
    author, queries = await counted(books[0].afetch("author"))
    assert author is books[0].author
    assert queries == 1
    assert [book.author.name for book in books] == ["a", "b", "c", "a", "b"]
    assert (await counted(books[3].afetch("author")))[1] == 0


by_plans = pytest.mark.skipif(not ARE_TUPLES, reason="before Django 5.2 its own code prefetches these")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("author", marks=by_plans),
        pytest.param("author__books", marks=by_plans),
        "tags",
        pytest.param("editor", marks=by_plans),
    ],
)
@pytest.mark.usefixtures("shelf")
async def test_tasks_that_load_the_same(path):
    """What each of them returns is what the objects have from then on."""
    for _ in range(4):  # the shapes are new, known, and have plans
        books = await Book.objects.alist()
        results = await asyncio.gather(*(book.afetch(path) for book in books))
        for book, found in zip(books, results, strict=True):
            there = getattr(book, path.split("__")[0])
            assert [*map(id, there.all())] == [*map(id, found)] if path == "tags" else there is found


async def test_alone_when_the_peers_are_gone(shelf):
    books = await Book.objects.alist()
    book = books.pop(0)
    books.clear()
    gc.collect()
    assert (await book.afetch("author")).name == "a"


@pytest.mark.parametrize("path", ["profile", "books", "books__tags", "edited", "contribution_set"])
async def test_a_peer_that_was_deleted_is_left_out(shelf, path):
    gone, *authors = await Author.objects.order_by("-name").alist()
    await gone.adelete()
    await authors[0].afetch(path)
    _, queries = await counted(authors[1].afetch(path))
    assert queries == 0  # it is a peer still


async def test_objects_whose_keys_were_taken_are_peers_of_each_other(shelf):
    """They are about to be copied."""
    books = await Book.objects.order_by("title").alist()
    for book in books:
        book.pk = None
    await books[0].afetch("author")
    assert [book.author.name for book in books] == ["a", "b", "c", "a", "b"]


async def test_an_object_that_was_not_saved():
    """As reading it in sync code: there is no profile, and there are no books to ask for."""
    author = Author(name="new")
    assert await author.afetch("profile") is None
    assert await author.afetch("profile__author") is None
    with pytest.raises(ValueError, match="needs to have a primary key value before"):
        await author.afetch("books")
    assert await Book(title="new").afetch("author") is None


async def test_paths_and_several_at_once(shelf):
    books = await Book.objects.alist()
    (author, tags), queries = await counted(books[1].afetch("author__profile", "tags"))
    assert author.profile.bio == "bio of b"
    assert [tag.label for tag in tags] == ["x"]
    assert queries == 3
    assert [len(book.tags.all()) for book in books] == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("author", "a"),
        ("editor", None),
        ("tags", []),
        ("notes", ["n0"]),
        ("contributors", []),
    ],
)
async def test_every_kind_of_relation(shelf, name, expected):
    book = (await Book.objects.alist())[0]
    value = await book.afetch(name)
    if isinstance(value, list):
        assert [getattr(row, "text", row) for row in value] == expected
    else:
        assert (value and value.name) == expected


async def test_reverse_relations(shelf):
    authors = await Author.objects.alist()
    assert (await authors[0].afetch("profile")).bio == "bio of a"
    assert await authors[2].afetch("profile") is None
    assert [book.title for book in await authors[1].afetch("books")] == ["t1", "t4"]
    assert await authors[0].afetch("groups") == []


async def test_generic_foreign_key(shelf):
    notes = await Note.objects.order_by("pk").alist()
    assert (await notes[0].afetch("target")).title == "t0"
    assert notes[4].target.title == "t4"


async def test_deferred_fields(shelf):
    books = await Book.objects.defer("meta", "price").alist()
    with pytest.raises(NotLoadedError, match=r'Book\.meta is not loaded.*await instance\.afetch\("meta"\)'):
        _ = books[0].meta
    (meta, price), queries = await counted(books[0].afetch("meta", "price"))
    assert (meta, price, queries) == ({}, 0, 2)
    assert books[4].meta == {}


async def test_a_deferred_field_of_a_row_that_is_gone(shelf):
    (book,) = await Book.objects.filter(title="t0").defer("meta").alist()
    await Book.objects.filter(title="t0").adelete()
    with pytest.raises(Book.DoesNotExist):
        await book.afetch("meta")


@pytest.mark.parametrize("path", ["author", "tags", "author__books", "author__books__tags"])
async def test_relations_are_fetched_without_the_bridge(shelf, path, monkeypatch):
    if path.startswith("author") and not ARE_TUPLES:
        pytest.skip("Django before 5.2 prefetches foreign keys with ordinary filters")
    bridged = []
    for attempt in range(3):
        found, expected = [await Book.objects.alist() for _ in range(2)]
        await run_sync(load, expected[1], [path])
        with monkeypatch.context() as patched:
            if attempt == 2:
                patched.setattr(execution, "run_sync", lambda *args: bridged.append(args))
            value = await found[1].afetch(path)
        assert value == await run_sync(loaded, expected[1], [path])
    assert bridged == []


async def test_a_manager_whose_all_looks_again(shelf, monkeypatch):
    def all_labels(self):
        assert Tag.objects.count() == 2
        return self.get_queryset()

    for _ in range(3):
        book = await Book.objects.aget(title="t2")
        monkeypatch.setattr(type(book.tags), "all", all_labels, raising=False)
        assert [tag.label for tag in await book.afetch("tags")] == ["x", "y"]


async def test_the_deferred_column_of_a_relation(shelf):
    books = await Book.objects.defer("author").alist()
    key, queries = await counted(books[0].afetch("author_id"))
    assert (key, queries) == ((await Author.objects.aget(name="a")).pk, 1)
    assert "author_id" in vars(books[4])


@pytest.mark.parametrize(
    ("model", "name"),
    [(Book, "author"), (Author, "profile"), (Note, "target")],
)
async def test_touching_what_is_not_loaded(shelf, model, name):
    row = await model.objects.afirst()
    with pytest.raises(NotLoadedError, match=rf"{model.__name__}\.{name} is not loaded") as caught:
        getattr(row, name)
    assert isinstance(caught.value, SynchronousOnlyOperation)
    assert isinstance(caught.value, TurboError)
    assert f'afetch("{name}")' in str(caught.value)
    assert "related" in str(caught.value)


async def test_iterating_a_queryset_synchronously(shelf):
    with pytest.raises(NotLoadedError, match="alist"):
        list(Book.objects.all())


def test_sync_code_loads_as_ever(shelf):
    book = Book.objects.defer("meta").get(title="t0")
    assert book.author.name == "a"
    assert book.meta == {}


async def test_unknown_names(shelf):
    book = await Book.objects.afirst()
    with pytest.raises(FieldDoesNotExist, match=r"Book has no field or relation 'athor'.*author"):
        await book.afetch("athor")
    with pytest.raises(TypeError, match="name"):
        await book.afetch()


async def test_peers_do_not_travel(shelf):
    books = await Book.objects.alist()
    assert pickle.loads(pickle.dumps(books[0])) == books[0]
    assert not getattr(copy.deepcopy(books[0])._state, "peers", ())
    assert copy.copy(books[0]) == books[0]


async def test_inside_a_block(shelf):
    async with atomic():
        books = await Book.objects.alist()
        await Author.objects.filter(name="a").aupdate(name="changed")
        assert (await books[0].afetch("author")).name == "changed"


async def test_prefetches_overlap_outside_a_block_only(shelf):
    running = highest = 0

    def watch(execute, sql, params, many, context):
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        try:
            return execute(sql, params, many, context)
        finally:
            running -= 1

    await connect(4)
    lookups = ("tags", "notes", "author__profile", "editor")
    with connection.execute_wrapper(watch):
        books = await Book.objects.prefetch_related(*lookups).alist()
        assert highest > 1
        sync = await run_sync(lambda: list(Book.objects.prefetch_related(*lookups)))
        assert _loaded(books) == _loaded(sync)
        highest = 0
        async with atomic():
            assert _loaded(await Book.objects.prefetch_related(*lookups).alist()) == _loaded(sync)
        assert highest == 1
        highest = 0
        books = await Book.objects.alist()
        await aprefetch_related_objects(books, *lookups)
        assert highest > 1
        assert _loaded(books) == _loaded(sync)


def _loaded(books):
    return [
        (
            book.title,
            [tag.label for tag in book.tags.all()],
            [note.text for note in book.notes.all()],
            book.author.name,
            getattr(book.author, "profile", None),
            book.editor,
        )
        for book in books
    ]


@pytest.mark.parametrize("in_bridge", [False, True])
async def test_tasks_that_share_a_queryset(shelf, in_bridge):
    """As if one came after the other: all have the same rows, with what is prefetched."""
    for _ in range(3):  # the shape is new, known, and has a plan
        books = Book.objects.prefetch_related("author", Prefetch("tags", to_attr="listed"))

        async def read(number, books=books):
            await asyncio.sleep(number / 2000)
            rows = await (run_sync(list, books) if in_bridge else books.alist())
            return rows, [(book.author.name, len(book.listed)) for book in rows]

        results = await asyncio.gather(*map(read, range(10)))
        expected = [("a", 0), ("b", 1), ("c", 2), ("a", 0), ("b", 1)]
        assert [found for _, found in results] == [expected] * 10
        assert {tuple(map(id, rows)) for rows, _ in results} == {tuple(map(id, await books.alist()))}


async def test_what_is_derived_of_a_queryset_that_is_being_fetched(shelf):
    books = Book.objects.prefetch_related("author", "tags").extra(where=["true"])  # without a plan
    fetching = asyncio.ensure_future(books.alist())
    while not fetching.done():
        assert books.all()._prefetch_related_lookups == ("author", "tags")
        await asyncio.sleep(0)


async def test_prefetches_that_failed_are_tried_again_for_the_same_rows(shelf):
    books = Book.objects.prefetch_related("nope", "tags")
    with pytest.raises(AttributeError, match="Cannot find 'nope' on Book"):
        await books.alist()
    rows = books._result_cache
    books._prefetch_related_lookups = ("author", "tags")
    await books.alist()
    assert books._result_cache is rows
    assert rows[0].author.name == "a"


async def test_prefetch_errors_are_djangos(shelf):
    for lookups in (("nope", "tags"), ("tags", "nope")):
        with pytest.raises(AttributeError, match="Cannot find 'nope' on Book"):
            await Book.objects.prefetch_related(*lookups).alist()


async def test_relations_to_models_without_an_async_manager(shelf):
    group = await run_sync(Group.objects.create, name="g")
    author = await Author.objects.aget(name="a")
    async with atomic():
        await author.groups.aadd(group)
        assert await author.groups.acount() == 1
        assert [found.name async for found in author.groups.all()] == ["g"]


def test_number_of_queries_in_sync_code_is_djangos(shelf):
    with CaptureQueriesContext(connection) as queries:
        list(Book.objects.prefetch_related("tags", "notes"))
    assert len(queries) == 3
