"""Deviations from "every wrong line and no other" which are known, with their reasons."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KNOWN", "reason"]

#: By checker and environment (``*`` is each of them): the text of the line, and why.
KNOWN: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("ty", "*"): {
        "assert_type(list(Book.objects.all()), list[Book])": (
            "ty joins what all bases say of iteration; the hand-written queryset class says Any"
        ),
        **dict.fromkeys(
            ("assert_type(page.title, str)", "assert_type(product.rating, float | None)"),
            "ty adds what the model's own methods assign to the attribute",
        ),
    },
}


def reason(checker: str, environment: str, line: str) -> str | None:
    """Return why *line* deviates there, if that is known."""
    for key in ((checker, environment), (checker, "*")):
        for text, why in KNOWN.get(key, {}).items():
            if text in line:
                return why
    return None
