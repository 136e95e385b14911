"""The prepared statements of one connection: how many, how they are called, when they are stale."""

from __future__ import annotations

import secrets
from collections import OrderedDict

import psycopg
from psycopg.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName

from turbo_orm.db.statements import ParameterTypes, Statement

__all__ = ["PREPARED_MAX", "Key", "Prepared", "is_refusal", "is_stale", "is_unknown", "note_refusal"]

#: Prepared statements kept on one connection; the one unused for longest goes first.
PREPARED_MAX = 250

Key = tuple[Statement, ParameterTypes | None]


class Prepared:
    """The names of prepared statements by statement and types of parameters."""

    __slots__ = ("_number", "_prefix", "losses", "names", "unneeded")

    def __init__(self) -> None:
        self.names: OrderedDict[Key, bytes] = OrderedDict()
        #: Still on the server, to be closed with the next occasion.
        self.unneeded: list[bytes] = []
        #: How many times the server did not know one it should have known.
        self.losses = 0
        # Behind a pooler, other clients' statements are on the same session: a name must never
        # mean something else there.
        self._prefix = f"turbo_{secrets.token_hex(6)}_"
        self._number = 0

    def new_name(self) -> bytes:
        """Return a name that was never used before."""
        self._number += 1
        return f"{self._prefix}{self._number}".encode()

    def add(self, key: Key, name: bytes) -> None:
        """Keep *name*, which the server knows now."""
        self.names[key] = name
        if len(self.names) > PREPARED_MAX:
            self.unneeded.append(self.names.popitem(last=False)[1])

    def drop_all(self) -> None:
        """Have everything prepared anew when it is next needed."""
        self.unneeded.extend(self.names.values())
        self.names.clear()

    def forget_all(self) -> None:
        """Have everything prepared anew: the server has dropped all prepared statements."""
        self.names.clear()
        self.unneeded.clear()


def is_stale(error: BaseException) -> bool:
    """Whether *error* says that a prepared statement can't be used any more, but its SQL can."""
    if isinstance(error, FeatureNotSupported):
        # "cached plan must not change result type", whatever language the server says it in.
        return error.diag.source_function == "RevalidateCachedQuery"
    if isinstance(error, psycopg.errors.InternalError_):
        # A type or function it used was dropped, and maybe created again. It is one of the errors
        # (`elog()`) that are English in all languages.
        return "cache lookup failed" in str(error)
    return is_unknown(error)


def is_unknown(error: BaseException) -> bool:
    """Whether *error* says that this server session is not the one that prepared a statement."""
    return isinstance(error, InvalidSqlStatementName | DuplicatePreparedStatement)


#: Class 42 is "syntax error or access rule violation". These would be said to any client.
_SAID_TO_ANYBODY = {
    "42501",  # insufficient_privilege
    "42601",  # syntax_error
    "42703",  # undefined_column
    "42P01",  # undefined_table
    "42P05",  # duplicate_prepared_statement
}


def is_refusal(error: psycopg.Error) -> bool:
    """Whether *error*, from preparing, may be due to parameters not being part of the text."""
    state = error.sqlstate or ""
    return state.startswith("42") and state not in _SAID_TO_ANYBODY


def note_refusal(statement: Statement, error: psycopg.Error) -> bool:
    """Note it if *error*, from preparing *statement*, `is_refusal()`; return whether it is."""
    refused = is_refusal(error)
    statement.refused = statement.refused or refused
    return refused
