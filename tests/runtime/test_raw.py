"""`raw()` and `araw()`: model instances of hand-written SQL."""

from __future__ import annotations

import asyncio

import pytest
from django.db import ProgrammingError

from tests.project.library.models import Author, Book
from tests.runtime.support import assert_pool_is_clean
from turbo_orm import atomic
from turbo_orm.testing import assert_num_queries

SQL = "SELECT id, name FROM library_author WHERE name >= %s ORDER BY name"


@pytest.fixture
async def authors(observer):
    return [await Author.objects.acreate(name=name, age=number) for number, name in enumerate("abc")]


async def test_every_way_to_the_rows(authors):
    assert await Author.objects.araw(SQL, ["b"]) == authors[1:]
    assert await Author.objects.raw(SQL, ["b"]).alist() == authors[1:]
    assert [row async for row in Author.objects.raw(SQL, ["b"])] == authors[1:]
    assert [row async for row in Author.objects.filter(age=0).raw(SQL, ["b"])] == authors[1:]


async def test_tasks_that_share_it(authors):
    rows = Author.objects.raw(SQL, ["b"])
    for _ in range(3):
        rows = rows.using("default")  # not evaluated
        assert await asyncio.gather(*(rows.alist() for _ in range(10))) == [authors[1:]] * 10
        assert rows.columns == ["id", "name"]


async def test_deferred_columns_and_prefetches(authors):
    await Book.objects.acreate(title="t", author=authors[0])
    rows = await Author.objects.raw(SQL, ["a"]).prefetch_related("books").alist()
    assert [[book.title for book in row.books.all()] for row in rows] == [["t"], [], []]
    assert await rows[2].afetch("age") == 2


async def test_rows_are_peers(authors):
    rows = Author.objects.raw(SQL, ["a"])
    for found in (await rows.alist(), [row async for row in Author.objects.raw(SQL, ["a"])]):
        with assert_num_queries(1):
            assert [await row.afetch("age") for row in found] == [0, 1, 2]


async def test_annotations_and_translations(authors):
    sql = "SELECT id AS key, name, age + 1 AS older FROM library_author ORDER BY name LIMIT 1"
    (row,) = await Author.objects.araw(sql, translations={"key": "id"})
    assert (row, row.older) == (authors[0], 1)


async def test_inside_a_block(authors):
    async with atomic():
        await Author.objects.acreate(name="d")
        assert len(await Author.objects.araw(SQL, ["a"])) == 4
    with pytest.raises(ProgrammingError):
        await Author.objects.araw("SELECT nonsense")
    await assert_pool_is_clean()


async def test_another_database(authors):
    assert await Author.objects.araw(SQL, ["a"], using="other") == []
