"""One SQL text as the server takes it, and what is known of how the server took it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.adapt import PyFormat

from turbo_orm.db.arrays import OtherEncoding

__all__ = ["ParameterTypes", "Statement", "command", "fetching", "known", "statement"]

#: The PostgreSQL type (its oid) of each parameter as it was sent, 0 where the server decides.
ParameterTypes = tuple[int, ...]


#: More do not fit into the protocol: https://www.postgresql.org/docs/current/limits.html
_PARAMS_MAX = 65_535

#: The plan of a prepared statement takes a kilobyte of the server's memory for each parameter, on each
#: connection; those with so many have a list among them, of another length each time.
_PREPARED_PARAMS_MAX = 500


class Statement:
    """A statement to be prepared; shared by all connections and threads, compared by identity.

    Made by `statement()`. Only the notes change: what servers said to it.
    """

    __slots__ = (
        "_accepted",
        "automatic",
        "known",
        "late",
        "locks",
        "proven",
        "refused",
        "sql",
        "text",
        "unnamed",
    )

    def __init__(self, text: bytes, sql: str, count: int) -> None:
        #: As it is sent, with ``$1``...
        self.text = text
        #: As Django made it, with ``%s``: for cursors and logs.
        self.sql = sql
        #: The formats of its *count* parameters: psycopg chooses them by their values.
        self.automatic: list[PyFormat] = _AUTOMATIC[count] if count < _SHORT else [PyFormat.AUTO] * count
        #: The oids of the types of columns that may be left texts, by position: see `turbo_orm.db.late`.
        self.late: Mapping[int, int] = {}
        #: It has a ``FOR UPDATE``: what it locks outside of a transaction is free again at once.
        self.locks = False
        #: The rows it has on every server, so that none is asked; None for others.
        self.known: Sequence[tuple[Any, ...]] | None = None
        #: A server has accepted it.
        self.proven = False
        #: A server refused it, or would: it does not know what types the parameters have when they
        #: are not part of the text, or they are too many. A cursor that binds on the client can still
        #: execute it.
        self.refused = count > _PARAMS_MAX
        #: Servers are not to keep it prepared: it is large, and seldom the same twice.
        self.unnamed = count > _PREPARED_PARAMS_MAX
        self._accepted: set[ParameterTypes | None] = set()

    def __repr__(self) -> str:
        state = "refused" if self.refused else "proven" if self.proven else "new"
        return f"<Statement {state} {self.sql!r}>"

    def accepted(self, types: ParameterTypes | None) -> bool:
        """Whether a server has accepted it with parameters of *types*."""
        return types in self._accepted

    def note_accepted(self, types: ParameterTypes | None) -> None:
        """Note that a server has accepted it with parameters of *types*."""
        # Types follow values (a small number is a smallint), so their combinations have no bound.
        if len(self._accepted) < _TYPES_KEPT:
            self._accepted.add(types)
        self.proven = True

    def is_left_by(self, exc: BaseException) -> bool:
        """Whether *exc*, of executing it on the wire, leaves it to a cursor: it has had no effect."""
        return isinstance(exc, OtherEncoding) or (self.refused and isinstance(exc, psycopg.Error))

    def after(self, beginning: str) -> Statement:
        """Return the statement that is *beginning* and this one, to be executed once.

        With the same parameters a server accepts either of them, or none.
        """
        whole = Statement(beginning.encode() + self.text, beginning + self.sql, len(self.automatic))
        whole.unnamed = True
        whole._accepted = self._accepted
        return whole


_TYPES_KEPT = 64

_AUTOMATIC: list[list[PyFormat]] = [[PyFormat.AUTO] * count for count in range(65)]
_SHORT = len(_AUTOMATIC)


def fetching(cursor: str, size: int, late: Mapping[int, int]) -> Statement:
    """Return the statement that fetches the next *size* rows of the server-side cursor *cursor*."""
    found = command(f'FETCH FORWARD {size} FROM "{cursor}"')
    found.late = late
    return found


def command(sql: str) -> Statement:
    """Return the statement *sql*, which has no parameters, and is not worth being prepared."""
    found = Statement(sql.encode(), sql, 0)
    found.unnamed = True
    found.note_accepted(None)  # there is nothing in it that depends on parameters
    return found


def known(rows: Sequence[tuple[Any, ...]]) -> Statement:
    """Return what stands in the place of a statement whose *rows* are known."""
    found = Statement(b"", "", 0)
    found.refused = True
    found.known = rows
    return found


def statement(sql: str, count: int) -> Statement:
    """Return the statement of *sql*, which is as Django's compiler makes it, with *count* ``%s``.

    Raises `ValueError` if it is not: with another number of placeholders, or other ones.
    """
    number = 0

    def placeholder(found: re.Match[str]) -> str:
        nonlocal number
        kind = found.group(1)
        if kind == "%":
            return "%"
        if kind != "s":
            raise ValueError(f"Not a placeholder: {found.group(0)!r} at {found.start()} of {sql!r}.")
        number += 1
        return f"${number}"

    replace: Callable[[re.Match[str]], str] = placeholder
    text = _PERCENT.sub(replace, sql)
    if number != count:
        raise ValueError(f"{number} placeholders and {count} parameters: {sql!r}.")
    return Statement(text.encode(), sql, count)


_PERCENT = re.compile("%(.?)", re.DOTALL)
