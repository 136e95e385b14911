"""The fields and relations of the models, by the names of the variables that hold their objects."""

from __future__ import annotations

from typing import Any

import django

__all__ = ["KEYS", "MANAGERS", "OF_AUTHORS", "OTHER_ENDS", "PLAIN"]

OF_AUTHORS = ("author", "author", "author", "poet", "scribe")

#: Plain fields with values, by kind.
PLAIN: dict[str, dict[str, tuple[Any, ...]]] = {
    "place": {"code": ("c1", "c2", "c9"), "size": (1, 2, 5)},
    "author": {"name": ("ada", "new", "x"), "age": (None, 5, 36)},
    "tag": {"label": ("t1", "t2", "t9")},
    "book": {"title": ("b1", "new"), "pages": (10, 1, 5)},
    "reading": {"stars": (1, 3)},
    "profile": {"bio": ("p1", "new")},
    "passport": {"number": (1, 7)},
    "note": {"text": ("n1", "new")},
    "draft": {"title": ("d1", "new"), "alive": (True, False)},
    "member": {"name": ("m1", "new"), "alive": (True, False)},
    "diary": {"title": ("t1", "new"), "words": (1, 5)},
}
PLAIN["poet"] = {**PLAIN["author"], "stars": (0, 3)}
PLAIN["scribe"] = PLAIN["author"]
if django.VERSION >= (5, 0):
    PLAIN["book"]["weight"] = (1, 7)

#: Foreign keys: the kinds they may have, and whether None is one of them.
KEYS: dict[str, dict[str, tuple[tuple[str, ...], bool]]] = {
    "place": {},
    "author": {"mentor": (OF_AUTHORS, True), "home": (("place",), True)},
    "tag": {},
    "book": {"author": (OF_AUTHORS, False), "editor": (OF_AUTHORS, True), "poet": (("poet",), True)},
    "reading": {"book": (("book",), False), "author": (OF_AUTHORS, False)},
    "profile": {"author": (OF_AUTHORS, True)},
    "passport": {"author": (OF_AUTHORS, False)},
    "note": {"target": (("book", "author", "poet"), True)},
    "draft": {"book": (("book",), True)},
    "member": {"place": (("place",), True), "patron": (("member",), True)},
    "diary": {"author": (OF_AUTHORS, True)},
}
KEYS["poet"] = KEYS["scribe"] = KEYS["author"]

#: Related managers: of which kind their objects are, and of which sort of relation.
MANAGERS: dict[str, dict[str, tuple[str, str]]] = {
    "place": {"residents": ("author", "nullable"), "members": ("member", "nullable")},
    "author": {
        "books": ("book", "key"),
        "edited": ("book", "nullable"),
        "pupils": ("author", "nullable"),
        "friends": ("author", "many"),
        "follows": ("author", "many"),
        "followers": ("author", "many"),
        "reads": ("book", "through"),
        "drafts": ("draft", "many"),
        "diaries": ("diary", "nullable"),
    },
    "tag": {"books": ("book", "many")},
    "book": {
        "tags": ("tag", "many"),
        "readers": ("author", "through"),
        "notes": ("note", "generic"),
        "drafts": ("draft", "nullable"),
    },
    "member": {"protected": ("member", "nullable")},
    "draft": {"authors": ("author", "many")},
}
MANAGERS["scribe"] = MANAGERS["author"]
MANAGERS["poet"] = {**MANAGERS["author"], "verses": ("book", "nullable")}

#: One-to-one relations from the other end.
OTHER_ENDS = {
    "author": ("profile", "passport", "poet"),
    "scribe": ("profile", "passport", "poet"),
    "poet": ("profile", "passport", "author_ptr"),
}
