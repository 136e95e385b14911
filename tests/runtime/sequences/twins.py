"""Two sets of the same models on the same tables, and the rows that every run begins with."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connection

__all__ = ["DJANGOS", "OURS", "Rows", "in_registry", "tables"]


def _load(name: str) -> Any:
    """Return the module `models` under another *name*, which says what managers its models have."""
    full_name = f"{__package__}.{name}"
    spec = importlib.util.spec_from_file_location(full_name, Path(__file__).with_name("models.py"))
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module  # models are pickled by the names of their modules
    spec.loader.exec_module(module)
    return module


DJANGOS = _load("models_of_django")
OURS = _load("models_of_ours")

#: In the order of their foreign keys.
_NAMES = (
    *("Place", "Author", "Poet", "Tag", "Book", "Reading", "Profile", "Passport", "Note"),
    *("Draft", "Member", "Diary"),
)


@contextmanager
def in_registry(module: Any) -> Iterator[None]:
    """Have pickles and content types find the models of *module*, which no installed app has."""
    get_model = apps.get_model

    def get(app_label: str, model_name: str | None = None, **kwargs: Any) -> Any:
        if app_label == "sequences":
            return module.registry.get_model(app_label, model_name, **kwargs)
        return get_model(app_label, model_name, **kwargs)

    with mock.patch.object(apps, "get_model", get):
        yield


@contextmanager
def tables() -> Iterator[None]:
    """Make the tables."""
    with connection.schema_editor() as editor:
        for name in _NAMES:
            editor.create_model(getattr(DJANGOS, name))
    connection.close()
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.deferred_sql.clear()
            for name in reversed(_NAMES):
                editor.delete_model(getattr(DJANGOS, name))
        connection.close()


class Rows:
    """The rows that every run begins with, which can be put back; *conn* is in autocommit."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        with in_registry(DJANGOS):
            _fill()
        connection.close()
        found = DJANGOS.registry.get_models(include_auto_created=True)
        self._tables = sorted({model._meta.db_table for model in found if not model._meta.proxy})
        conn.execute("CREATE SCHEMA sequences")
        for table in self._tables:
            conn.execute(f'CREATE TABLE sequences."{table}" AS TABLE "{table}"')
        delete = [f'DELETE FROM "{table}"' for table in self._tables]
        insert = [f"INSERT INTO {_with_columns(conn, table)}" for table in self._tables]
        # New rows have keys that no row of before had, whatever the last run did.
        restart = (
            "SELECT setval(oid::regclass, 100, false) FROM pg_class"
            " WHERE relkind = 'S' AND relname LIKE 'sequences\\_%'"
        )
        statements = ["BEGIN", "SET CONSTRAINTS ALL DEFERRED", *delete, *insert, restart, "COMMIT"]
        self._restore_sql = "; ".join(statements)
        self._rows_sql = " UNION ALL ".join(
            f"""SELECT '{table}', (SELECT json_agg(row_to_json(t) ORDER BY t::text) FROM "{table}" t)"""
            for table in self._tables
        )

    def restore(self) -> None:
        """Put every row back."""
        self._conn.execute(self._restore_sql)

    def found(self) -> dict[str, Any]:
        """Return everything in the tables."""
        return dict(self._conn.execute(self._rows_sql).fetchall())

    def drop(self) -> None:
        self._conn.execute("DROP SCHEMA sequences CASCADE")


def _with_columns(conn: psycopg.Connection[Any], table: str) -> str:
    """Return what comes after INSERT INTO: generated columns take no values."""
    found = conn.execute(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        [f'"{table}"'],
    ).fetchone()
    assert found is not None
    return f'"{table}" ({found[0]}) SELECT {found[0]} FROM sequences."{table}"'


def _fill() -> None:
    of = DJANGOS
    for name in _NAMES:  # they are kept
        ContentType.objects.get_for_model(getattr(of, name))
    places = [
        of.Place.objects.create(id=uuid.UUID(int=number), code=f"c{number}", size=number)
        for number in (1, 2, 3)
    ]
    ada = of.Author.objects.create(id=1, name="ada", age=36, home=places[0])
    bob = of.Author.objects.create(id=2, name="bob", mentor=ada, home=places[0])
    cyd = of.Author.objects.create(id=3, name="cyd", age=5, mentor=ada)
    dan = of.Poet.objects.create(id=4, name="dan", mentor=bob, home=places[1], stars=3)
    eve = of.Poet.objects.create(id=5, name="eve", age=7)
    tags = [of.Tag.objects.create(id=number, label=f"t{number}") for number in (1, 2, 3)]
    books = [
        of.Book.objects.create(
            id=number, title=f"b{number}", author=author, editor=editor, poet=poet, pages=n
        )
        for number, author, editor, poet, n in (
            (1, ada, bob, dan, 10),
            (2, ada, None, dan, 20),
            (3, bob, cyd, None, 30),
            (4, dan, dan, eve, 40),
        )
    ]
    ada.friends.set([bob, dan])
    ada.follows.set([cyd])
    bob.follows.set([ada, cyd])
    books[0].tags.set(tags[:2])
    books[1].tags.set(tags[1:])
    books[3].tags.set(tags[:1])
    for book, author, stars in ((0, ada, 1), (0, bob, 2), (2, ada, 3), (3, eve, 4)):
        of.Reading.objects.create(book=books[book], author=author, stars=stars)
    of.Profile.objects.create(id=1, author=ada, bio="p1")
    of.Profile.objects.create(id=2, author=dan, bio="p2")
    of.Profile.objects.create(id=3, bio="p3")
    of.Passport.objects.create(author=ada, number=1)
    of.Passport.objects.create(author=bob, number=2)
    for number, target in ((1, books[0]), (2, books[0]), (3, books[2]), (4, ada), (5, None)):
        of.Note.objects.create(id=number, target=target, text=f"n{number}")
    for number, alive, book in ((1, True, 0), (2, False, 0), (3, True, 1), (4, False, 2)):
        draft = of.Draft.every.create(id=number, title=f"d{number}", alive=alive, book=books[book])
        draft.authors.set([ada, bob][: number % 3])
    members = [
        of.Member.objects.create(id=number, name=f"m{number}", alive=alive, place=places[place])
        for number, alive, place in ((1, True, 0), (2, False, 0), (3, True, 1))
    ]
    members[2].patron = members[1]
    members[2].save()
    for number, author in ((1, ada), (2, bob), (3, None)):
        of.Diary.objects.create(id=number, title=f"t{number}", words=number, author=author)
