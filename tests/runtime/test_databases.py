"""Several databases: routers, `using()`, Django's guards, one operation over two aliases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from tests.project.library.models import Author, Book
from turbo_orm import atomic, run_sync


class ReadsGoToOther:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True


@pytest.fixture
def replica():
    with override_settings(DATABASE_ROUTERS=[ReadsGoToOther()]):
        yield


async def test_using():
    await Author.objects.using("other").acreate(name="there")
    assert await Author.objects.acount() == 0
    found = await Author.objects.using("other").aget(name="there")
    assert found._state.db == "other"
    found.age = 3
    await found.asave()
    await found.arefresh_from_db()
    assert found.age == 3
    assert await Author.objects.using("other").filter(age=3).aexists()
    await found.asave(using="default", force_insert=True)
    assert await Author.objects.acount() == 1


async def test_routers_choose_for_every_verb(replica: None):
    written = await Author.objects.acreate(name="x")
    assert written._state.db == "default"
    assert await Author.objects.acount() == 0
    assert await Author.objects.using("default").acount() == 1
    assert await Author.objects.filter(name="x").aupdate(age=1) == 1
    with pytest.raises(Author.DoesNotExist):
        await Author.objects.aget(name="x")
    author, created = await Author.objects.aget_or_create(name="x")
    # Django reads where it writes here.
    assert (author, created) == (written, False)


@pytest.mark.parametrize("in_bridge", [False, True])
async def test_a_queryset_reads_where_it_did_after_its_rows_were_deleted(replica: None, in_bridge: bool):
    """Django deletes by a copy."""
    for _ in range(3):
        rows = Author.objects.filter(name="x")
        await (run_sync(rows.delete) if in_bridge else rows.adelete())
        assert rows.db == "other"


async def test_related_managers_stay_in_the_database_of_their_object():
    author = await Author.objects.using("other").acreate(name="a")
    book = await author.books.acreate(title="t")
    assert book._state.db == "other"
    assert await author.books.acount() == 1
    assert await Book.objects.acount() == 0
    assert (await book.afetch("author"))._state.db == "other"


async def test_relations_across_databases_are_refused_as_in_sync_code():
    here = await Author.objects.acreate(name="here")
    there = await Author.objects.using("other").acreate(name="there")
    with pytest.raises(ValueError, match="the current database router prevents this relation"):
        Book(title="t", author=here).editor = there


async def test_queries_across_databases_are_refused_as_in_sync_code():
    await Author.objects.acreate(name="here")
    with pytest.raises(ValueError, match="Subqueries aren't allowed across different databases"):
        await Book.objects.using("other").filter(author__in=Author.objects.using("default")).alist()


async def test_one_operation_over_two_databases():
    def work() -> tuple[int, int, bool]:
        with transaction.atomic(), transaction.atomic(using="other"):
            Author.objects.create(name="here")
            Author.objects.using("other").create(name="there")
            Author.objects.using("other").create(name="there too")
        return (
            Author.objects.count(),
            Author.objects.using("other").count(),
            connections["default"].connection is connections["other"].connection,
        )

    assert await run_sync(work) == (1, 2, False)


async def test_a_block_on_one_database_leaves_the_other_in_autocommit():
    with pytest.raises(LookupError):
        async with atomic(using="other"):
            await Author.objects.using("other").acreate(name="lost")
            await Author.objects.acreate(name="kept")
            raise LookupError
    assert await Author.objects.acount() == 1
    assert await Author.objects.using("other").acount() == 0


async def test_many_tasks_over_two_databases():
    async def work(number: int) -> None:
        async with atomic(), atomic(using="other"):
            await Author.objects.acreate(name=str(number))
            await Author.objects.using("other").acreate(name=str(number))

    # Each holds two connections of two pools; a deadlock over them would time out.
    await asyncio.gather(*map(work, range(60)))
    assert await Author.objects.acount() == 60
    assert await Author.objects.using("other").acount() == 60
