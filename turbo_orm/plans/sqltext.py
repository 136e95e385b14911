"""The text of a planned statement: Django's own, and the one the server prepares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.sql import Literal

from turbo_orm.db.statements import Statement
from turbo_orm.plans.recording import Const, ListForm
from turbo_orm.plans.unsupported import Unsupported

__all__ = ["SQLText"]

_PLACEHOLDER = re.compile("%s|%%")


class SQLText:
    """Compiled SQL with a token where each list of values goes.

    The statement for the server differs from Django's SQL in its placeholders, and in that
    constants are part of the text: the server then knows their types and plans with them.
    """

    def __init__(
        self, sql: str, params: Sequence[Any], token: re.Pattern[str], forms: Mapping[int, ListForm]
    ) -> None:
        """*forms* are how the lists of groups are written, by the numbers of the groups."""
        #: Texts and, at odd places, the numbers of the groups whose lists go there.
        self._pieces = token.split(sql)
        self._constants = [each.value if type(each) is Const else _DYNAMIC for each in params]
        #: The groups whose lists of values are in the text, in its order.
        self.lists = [int(number) for number in self._pieces[1::2]]
        self._forms = [forms[number] for number in self.lists]
        placeholders = sum(piece.replace("%%", "").count("%s") for piece in self._pieces[::2])
        if placeholders + len(self.lists) != len(params):
            raise Unsupported("its placeholders do not match its parameters")

    def as_django(self, lengths: Sequence[int] | None) -> str:
        """Return the SQL as Django's compiler returns it, for lists of these lengths."""
        if lengths is None:
            return self._pieces[0]
        lists = (form.of(length) for form, length in zip(self._forms, lengths, strict=True))
        return "".join(piece if index % 2 == 0 else next(lists) for index, piece in enumerate(self._pieces))

    def statement(self, lengths: Sequence[int] | None, limits: str) -> Statement:
        """Return the statement for lists of these lengths, *limits* appended."""
        lists = (form.of(length) for form, length in zip(self._forms, lengths or (), strict=True))
        constants = iter(self._constants)
        number = 0

        def dynamic() -> str:
            nonlocal number
            number += 1
            return f"${number}"

        def placeholder(match: re.Match[str]) -> str:
            if match.group() == "%%":
                return "%"
            constant = next(constants)
            return dynamic() if constant is _DYNAMIC else Literal(constant).as_string(None)

        parts: list[str] = []
        for index, piece in enumerate(self._pieces):
            if index % 2 == 0:
                parts.append(_PLACEHOLDER.sub(placeholder, piece))
            else:
                next(constants)
                parts.append(_PLACEHOLDER.sub(lambda _: dynamic(), next(lists)))
        return Statement(("".join(parts) + limits).encode(), self.as_django(lengths) + limits, number)


_DYNAMIC = object()
