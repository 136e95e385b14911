"""Transactions that fail as they end: constraints which are checked then, as all of Django's keys are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import IntegrityError
from psycopg import errors

from tests.project.library.models import Author, Book, Contribution
from tests.runtime.wire.conftest import assert_clean
from turbo_orm import atomic, batch, run_sync
from turbo_orm.db.statements import Statement, statement
from turbo_orm.db.wire import Result, Wire

INSERT = statement("INSERT INTO referring VALUES (%s)", 1)
RETURNING = statement("INSERT INTO referring VALUES (%s) RETURNING n", 1)
NUMBER = statement("SELECT %s::int", 1)
COUNT = statement("SELECT count(*)::int FROM referring", 0)


@pytest.fixture
async def referring(wire: Wire) -> None:
    await wire.conn.execute("CREATE TEMP TABLE referred (n int PRIMARY KEY)")
    await wire.conn.execute(
        "CREATE TEMP TABLE referring (n int REFERENCES referred DEFERRABLE INITIALLY DEFERRED)"
    )
    await wire.conn.execute("INSERT INTO referred VALUES (1)")


@pytest.mark.parametrize("prepares", [True, False])
@pytest.mark.parametrize("insert", [INSERT, RETURNING])
async def test_one_statement(wire: Wire, referring: None, insert: Statement, prepares: bool) -> None:
    wire.conn.prepares = prepares
    for _ in range(3):
        with pytest.raises(errors.ForeignKeyViolation, match="referring"):
            await wire.run(insert, (2,))
        assert_clean(wire.conn)
        assert (await wire.run(COUNT, ())).rows == [(0,)]
    assert (await wire.run(insert, (1,))).rowcount == 1
    assert (await wire.run(COUNT, ())).rows == [(1,)]


@pytest.mark.parametrize("prepares", [True, False])
async def test_several_in_one_round_trip(wire: Wire, referring: None, prepares: bool) -> None:
    wire.conn.prepares = prepares
    work: list[tuple[Statement, tuple[Any, ...]]] = [
        (INSERT, (2,)),
        (NUMBER, (7,)),
        (RETURNING, (1,)),
        (RETURNING, (2,)),
        (NUMBER, (8,)),
    ]
    for _ in range(2):
        answers = await wire.run_many(work)
        kept = [each.rows if isinstance(each, Result) else type(each) for each in answers]
        violation = errors.ForeignKeyViolation
        assert kept == [violation, [(7,)], [(1,)], violation, [(8,)]]
        assert_clean(wire.conn)
    assert (await wire.run(COUNT, ())).rows == [(2,)]


WRITES: dict[str, Callable[[], Awaitable[Any]]] = {
    "create": lambda: Book.objects.acreate(title="x", author_id=999),
    "save": lambda: Book(title="x", author_id=999).asave(),
    "save in the bridge": lambda: run_sync(Book(title="x", author_id=999).save),
    "update": lambda: Contribution.objects.aupdate(book_id=999),
    "bulk create": lambda: Book.objects.abulk_create([Book(title="x", author_id=999) for _ in range(9)]),
    "batch": lambda: batch(Book.objects.acreate(title="x", author_id=999), Book.objects.acount()),
}


@pytest.mark.parametrize("name", WRITES)
async def test_nothing_is_lost_in_silence(name: str) -> None:
    author = await Author.objects.acreate(name="Ada")
    book = await Book.objects.acreate(title="right", author=author)
    await Contribution.objects.acreate(book=book, author=author)
    for _ in range(3):
        with pytest.raises(IntegrityError, match="999"):
            await WRITES[name]()
    with pytest.raises(IntegrityError, match="999"):
        async with atomic():
            await WRITES[name]()
    assert await Book.objects.acount() == await Contribution.objects.filter(book=book).acount() == 1
