"""Names for the types which many keywords of lookups have: ``_BookOrInt`` for ``_m.Book | IntValue``.

Checkers evaluate what stands behind each keyword of a lookup that is called. For an alias that is a look at
what they know already, for a union it is work and memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from turbo_orm.codegen.expressions import split_union
from turbo_orm.codegen.imports import Imports
from turbo_orm.codegen.views import Entry

__all__ = ["OFTEN", "Aliases"]

#: From how many uses on a type gets a name. What is rare is easier to read where it stands.
OFTEN = 5
_PLAIN = re.compile(r"[\w.]+")
_SEVERAL = re.compile(r"\bIterable\[([\w.]+(?: \| [\w.]+)*)\]")


class Aliases:
    """The names of a stub for the types that occur often in it."""

    def __init__(self, expressions: Iterable[str], imports: Imports) -> None:
        """*expressions* are the type expressions of all keywords, each as often as it occurs."""
        self._imports = imports
        self._names: dict[str, str] = {}
        for expression, uses in Counter(expressions).items():
            text = imports.spell(expression)
            if uses >= OFTEN and not _PLAIN.fullmatch(text):
                self._names[expression] = imports.define(_call(text))

    def spell(self, expression: str) -> str:
        """Return the alias of a type expression, or its source text if it has none."""
        return self._names.get(expression) or self._imports.spell(expression)

    def entries(self) -> list[Entry]:
        """Return the definitions, by name."""
        found = [Entry(alias, self._imports.spell(expression)) for expression, alias in self._names.items()]
        return sorted(found, key=lambda entry: entry.name)


def _call(text: str) -> str:
    """Return a name for the type with this source text."""
    members = split_union(_SEVERAL.sub(lambda several: re.sub(r"[\w.]+", r"\g<0>s", several[1]), text))
    return "_" + "Or".join("".join(map(_word, re.findall(r"[\w.]+", member))) for member in members)


def _word(dotted: str) -> str:
    """``IntValues`` is ``Ints``, ``_m.Book`` is ``Book``."""
    word = re.sub(r"Value(s?)$", r"\1", dotted.rpartition(".")[2].lstrip("_"))
    return word[:1].upper() + word[1:]
