"""What planned querysets of related managers answer."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import django
import pytest
from django.db.models import Prefetch

from tests.project.library.models import Author, Book, Tag
from turbo_orm import run_sync
from turbo_orm.plans.chaining import Chaining


async def test_values_of_a_related_manager():
    """Only instances are given the object their manager belongs to."""
    for name in "abcd":  # the shapes are noted first, and get their plans then
        author = await Author.objects.acreate(name=name)
        book = await author.books.acreate(title=f"by {name}")
        await book.tags.aadd(await Tag.objects.acreate(label=name))
        assert await author.books.values_list("title", flat=True).alist() == [f"by {name}"]
        assert await author.books.values("title").alist() == [{"title": f"by {name}"}]
        assert await author.books.values_list("title", "author").aget() == (f"by {name}", author.pk)
        assert (await author.books.values_list("title", named=True).afirst()).title == f"by {name}"
        assert await book.tags.values_list("label", flat=True).alist() == [name]
        (found,) = await author.books.alist()
        assert found.author is author
        assert (await author.books.aget()).author is author
    assert await Book.objects.acount() == 4


def _copied(rows: Any) -> Any:
    return pickle.loads(pickle.dumps(rows))


async def test_an_object_that_gets_another_key():
    """Whose rows they are is asked when the queryset is first looked at, as Django does."""
    for name in "abcd":  # the shapes are noted first, and get their plans then
        author, other = [await Author.objects.acreate(name=f"{name}{number}") for number in range(2)]
        for each in (author, other):
            await each.books.acreate(title=each.name)
        rows, counted, deleted = author.books.all(), author.books.all(), author.books.all()
        looked_at = author.books.filter(title__startswith=name)
        pickled, own = author.books.all(), author.pk
        author.pk = other.pk
        assert [book.title for book in await rows.alist()] == [other.name]
        assert [book.title for book in await looked_at.alist()] == [f"{name}0"]
        assert await counted.acount() == 1
        assert (await run_sync(_copied, pickled))[0].title == other.name
        assert await deleted.adelete() == (1, {"library.Book": 1})
        author.pk = own
        assert await author.books.acount() == 1
        assert await other.books.acount() == 0


async def test_an_object_that_loses_its_key():
    """As when it is copied: `author.pk = None`, and `asave()`."""
    for name in "abcd":
        author = await Author.objects.acreate(name=name)
        await author.books.acreate(title=name)
        rows, own = author.books.all(), author.pk
        author.pk = None
        if django.VERSION >= (5, 0):  # a warning before
            with pytest.raises(ValueError, match="must be saved"):
                await rows.alist()
            with pytest.raises(ValueError, match="must be saved"):
                rows.filter(title=name)
        author.pk, author.name = None, f"copy of {name}"
        await author.asave()
        assert await rows.alist() == []
        author.pk = own
        assert await author.books.acount() == 1


async def test_two_threads_look_at_the_same_queryset_first(monkeypatch: pytest.MonkeyPatch):
    """The second one does in the middle of the first one's look."""
    author = await Author.objects.acreate(name="a")
    await author.books.acreate(title="b")
    for _ in range(3):  # the shape is noted first, and gets its plan then
        assert await author.books.acount() == 1
    rows, others = author.books.all(), list[Any]()

    def meanwhile(each: Any, *args: Any) -> Any:
        monkeypatch.undo()
        others.append(rows.filter(title="b"))
        return type(each)._known_filter(each, *args)

    monkeypatch.setattr(Chaining, "_known_filter", meanwhile)
    assert [book.title for book in await rows.alist()] == ["b"]
    assert await others[0].acount() == 1


async def test_copies_where_the_object_has_lost_its_key():
    """Whose rows they are is asked when the copy is looked at; those that were prefetched are there."""
    for name in "abcd":
        author = await Author.objects.acreate(name=name)
        await author.books.acreate(title=name)
        of_queryset = Author.objects.prefetch_related(Prefetch("books", Book.objects.order_by("title")))
        for prefetching in (Author.objects.prefetch_related("books"), of_queryset):
            for again in (_copied, copy.copy):
                found = await prefetching.aget(pk=author.pk)
                rows = found.books.all()
                found.pk = None
                assert [book.title for book in again(rows)] == [name]
                assert again(found).name == name
        rows, own = author.books.all(), author.pk
        author.pk = None
        copied = copy.deepcopy(rows)
        copied._deferred_filter[2]["author"].pk = own
        assert [book.title for book in await copied.filter(title=name).alist()] == [name]
        assert [book.title for book in await copied.alist()] == [name]
