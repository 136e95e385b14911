"""What the things generated for a model are called."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "DICT_SUFFIXES",
    "GENERIC_SUFFIXES",
    "MANAGER_SUFFIXES",
    "PUBLIC_SUFFIXES",
    "TYPE_SUFFIXES",
    "ModelNames",
    "choose_prefixes",
    "is_name",
    "name_managers",
    "name_types",
]

#: What is a TypedDict, a generic class, and another type for checkers only.
DICT_SUFFIXES = ("Init", "Create", "Update", "Row")
GENERIC_SUFFIXES = ("Lookup", "Queries", "Columns", "ManyManager")
TYPE_SUFFIXES = ("Field", "Path", "Order", "Related", "Prefetch", "RelatedManager")
#: What there is of each manager, too.
MANAGER_SUFFIXES = ("Queries", "QuerySet", "Manager")
#: The public names of a model: those which exist at run time, and those which stand for types there.
PUBLIC_SUFFIXES = (*DICT_SUFFIXES, *GENERIC_SUFFIXES, *TYPE_SUFFIXES, "Q", "QuerySet", "Manager")


@dataclass(frozen=True)
class ModelNames:
    """The names of what is generated for the model with a prefix: ``BookRow`` for ``Book``."""

    row_class: str
    prefix: str

    def __getitem__(self, suffix: str) -> str:
        """Return the name with *suffix*; one that begins with an underscore is private."""
        if suffix.startswith("_"):
            return f"_{self.prefix}{suffix[1:]}"
        return f"{self.prefix}{suffix}"

    def of_manager(self, words: str, suffix: str) -> str:
        """Return a name for a manager which is not the main one: ``BookPublishedManager``."""
        return f"{self.prefix}{words}{suffix}"


def is_name(text: str) -> bool:
    """Whether *text* can be a keyword of a call, or an attribute.

    Not what Django calls the way back from a model ``Class``: ``class``.
    """
    return text.isidentifier() and not keyword.iskeyword(text)


def choose_prefixes(models: Sequence[str]) -> list[str]:
    """Return the prefix of each of the *models* of one facade.

    It is the model's name. Where ``Book`` would make ``BookRow`` and there is a model ``BookRow``
    too, the names of ``Book`` get an underscore: ``Book_Row``.
    """
    return [model + "_" if _clashes(model, models) else model for model in models]


def name_managers(managers: Iterable[str]) -> list[str]:
    """Return what the names of managers have after the model's prefix: ``ByTag`` for ``by_tag``.

    Where that makes a name which is there, it gets an underscore: ``BookRelated_Manager`` of ``related``.
    """
    found: list[str] = []
    for manager in managers:
        words = "".join(word[:1].upper() + word[1:] for word in manager.split("_"))
        while words in found or any(words + suffix in PUBLIC_SUFFIXES for suffix in MANAGER_SUFFIXES):
            words += "_"
        found.append(words)
    return found


def name_types(prefix: str, types: Iterable[str]) -> list[str]:
    """Return a name for each of the *types*: ``_BookPathStrNone`` for the source text ``str | None``."""
    names: list[str] = []
    for text in types:
        words = "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", text))
        name = prefix + words
        number = 1
        while name in names:
            number += 1
            name = f"{prefix}{words}{number}"
        names.append(name)
    return names


def _clashes(model: str, models: Sequence[str]) -> bool:
    return any(f"{model}{suffix}" in models for suffix in PUBLIC_SUFFIXES)
