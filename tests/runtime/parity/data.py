"""The rows every case runs on, and how they are put back between two runs."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import psycopg
from django.apps import apps
from django.contrib.auth.models import Group

from tests.project.library.models import (
    Author,
    Book,
    Contribution,
    Migrated,
    Note,
    Person,
    Place,
    Plain,
    Profile,
    Restaurant,
    Shouter,
    Tag,
)

__all__ = ["NOW", "Snapshot", "fill"]

#: What `timezone.now()` returns while a case runs.
NOW = dt.datetime(2024, 5, 17, 12, 30, tzinfo=dt.timezone.utc)


def fill() -> None:
    """Write the rows, with primary keys from 1 in the order they are written here."""
    ada, bob, cyd = (
        Author.objects.create(name=n, age=a) for n, a in (("Ada", 36), ("Bob", None), ("Cyd", 52))
    )
    red, green, _ = (Tag.objects.create(label=label) for label in ("red", "green", "blue"))
    staff, guests = (Group.objects.create(name=name) for name in ("staff", "guests"))
    ada.groups.set([staff, guests])
    bob.groups.set([staff])
    books = [
        Book.objects.create(
            title=title,
            author=author,
            editor=editor,
            price=Decimal(price),
            published=published,
            meta=meta,
            marks=marks,
        )
        for title, author, editor, price, published, meta, marks in (
            ("Algebra", ada, bob, "5.00", dt.date(2020, 1, 2), {"a": [1, None]}, [1, 2]),
            ("Botany", ada, None, "12.50", dt.date(2021, 3, 4), {}, []),
            ("Chess", bob, bob, "8.00", None, {"b": True}, [3]),
            ("Dance", cyd, None, "20.00", dt.date(2021, 3, 20), {}, []),
        )
    ]
    books[0].tags.set([red, green])
    books[1].tags.set([green])
    Contribution.objects.create(book=books[0], author=bob, role="editor")
    Contribution.objects.create(book=books[0], author=cyd)
    Contribution.objects.create(book=books[2], author=ada)
    for target, text in ((books[0], "good"), (books[0], "long"), (books[2], "short"), (ada, "a person")):
        Note.objects.create(target=target, text=text)
    Place.objects.create(name="Park")
    Restaurant.objects.create(name="Cafe", stars=3)
    Restaurant.objects.create(name="Diner", stars=1)
    Profile.objects.create(author=ada, bio="born 1815")
    Plain.objects.create(name="p", author=ada).fans.set([bob, cyd])
    Plain.objects.create(name="q")
    Shouter.objects.create(name="hey")
    Migrated.objects.create(name="m")
    eve = Person.everyone.create(id=uuid.UUID(int=1), name="Eve", alive=False)
    kim = Person.everyone.create(id=uuid.UUID(int=2), name="Kim", parent=eve)
    lee = Person.everyone.create(id=uuid.UUID(int=3), name="Lee", parent=eve)
    kim.friends.add(lee)
    kim.follows.add(eve)


class Snapshot:
    """A copy of the tables, kept in the database, that can be put back in one round trip."""

    def __init__(self, conn: psycopg.Connection[Any], schema: str = "parity") -> None:
        self._conn = conn
        self._schema = schema
        models = [m for m in apps.get_models(include_auto_created=True) if m._meta.app_label == "library"]
        self._tables = sorted(
            {m._meta.db_table for m in (*models, Group) if not m._meta.proxy}
            | {Group.permissions.through._meta.db_table}
        )
        self._sequences = [
            name
            for (name,) in conn.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'S'"
                " AND (relname LIKE 'library%' OR relname LIKE 'auth%') ORDER BY relname"
            )
        ]
        conn.execute(f"CREATE SCHEMA {schema}")
        for table in self._tables:
            conn.execute(f'CREATE TABLE {schema}."{table}" AS TABLE "{table}"')
        values = conn.execute(self._values_sql).fetchone()
        assert values is not None
        restart = [
            f"SELECT setval('{name}', {value}, {called})"
            for name, (value, called) in zip(self._sequences, values[0], strict=True)
        ]
        delete = [f'DELETE FROM "{table}"' for table in self._tables]
        insert = [f'INSERT INTO "{table}" TABLE {schema}."{table}"' for table in self._tables]
        names = ", ".join(f'"{table}"' for table in self._tables)
        self._restore_sql = (
            _transaction(delete),
            # So that the rows lie in the same order again, for queries that ask for none.
            f"VACUUM (INDEX_CLEANUP ON, PROCESS_TOAST OFF) {names}",
            _transaction([*insert, *restart]),
        )
        selects = [
            f"""SELECT '{table}', (SELECT json_agg(row_to_json(t) ORDER BY t::text) FROM "{table}" t)"""
            for table in self._tables
        ]
        sequences = self._values_sql.replace("SELECT ", "SELECT 'sequences', ", 1)
        self._rows_sql = " UNION ALL ".join([*selects, sequences])
        self._restored_at = 0
        self._rows = self.rows()

    @property
    def _values_sql(self) -> str:
        pairs = ", ".join(
            f"(SELECT json_build_array(last_value, is_called) FROM {name})" for name in self._sequences
        )
        return f"SELECT json_build_array({pairs})"

    def restore(self) -> None:
        """Put every row and sequence back, unless nothing has been written since the last time."""
        if self._next_transaction() != self._restored_at:
            for statement in self._restore_sql:
                self._conn.execute(statement)
            self._restored_at = self._next_transaction()

    def rows(self) -> dict[str, Any]:
        """Everything in the tables and sequences, to see what a case changed."""
        if self._next_transaction() == self._restored_at:
            return self._rows
        return dict(self._conn.execute(self._rows_sql).fetchall())

    def _next_transaction(self) -> int:
        # Transactions that only read have no number, and do not move it.
        found = self._conn.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
        assert found is not None
        return int(found[0])

    def drop(self) -> None:
        self._conn.execute(f"DROP SCHEMA {self._schema} CASCADE")


def _transaction(statements: list[str]) -> str:
    return f"BEGIN; SET CONSTRAINTS ALL DEFERRED; {'; '.join(statements)}; COMMIT"
