"""Type expressions: Python type syntax with ``{module:qualname}`` for every name (see `ir`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

__all__ = [
    "ANY",
    "EXPR",
    "NONE",
    "builtin",
    "generic",
    "name",
    "names",
    "optional",
    "ours",
    "split_union",
    "substitute",
    "union",
    "without_none",
]

_NAME = re.compile(r"\{([^{}:]*):([^{}]*)\}")


def name(module: str, qualname: str) -> str:
    """Return the expression for *qualname* of *module*."""
    return f"{{{'' if module == 'builtins' else module}:{qualname}}}"


def builtin(qualname: str) -> str:
    return name("", qualname)


def ours(qualname: str) -> str:
    """Return the expression for *qualname* of `turbo_orm.typing`, which all stubs share."""
    return name("turbo_orm.typing", qualname)


ANY = name("typing", "Any")
EXPR = ours("Expr")
NONE = "None"


def generic(origin: str, *arguments: str) -> str:
    return f"{origin}[{', '.join(arguments)}]"


@cache
def union(*parts: str) -> str:
    """Join *parts* with ``|``, each once, ``None`` last. A union with ``Any`` is ``Any``."""
    members = list(dict.fromkeys(member for part in parts for member in split_union(part)))
    if ANY in members:
        return ANY
    if NONE in members:
        members.remove(NONE)
        members.append(NONE)
    return " | ".join(members)


def optional(expression: str) -> str:
    return union(expression, NONE)


def without_none(expression: str) -> str:
    return union(*(member for member in split_union(expression) if member != NONE))


def split_union(expression: str) -> list[str]:
    """Split at the ``|`` outside brackets and quotes."""
    members, depth, quote, start = [], 0, "", 0
    for position, character in enumerate(expression):
        if quote:
            quote = "" if character == quote and expression[position - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
        elif character == "|" and depth == 0:
            members.append(expression[start:position].strip())
            start = position + 1
    return [*members, expression[start:].strip()]


def substitute(expression: str, spell: Callable[[str, str], str]) -> str:
    """Replace each name by what ``spell(module, qualname)`` returns."""
    return _NAME.sub(lambda match: spell(match[1], match[2]), expression)


def names(expression: str) -> Iterator[tuple[str, str]]:
    """Yield the module and the qualname of each name in the expression."""
    for match in _NAME.finditer(expression):
        yield match[1], match[2]
