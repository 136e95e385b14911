"""What type checkers say of typical mistakes: whether it leads to them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from devtools.types.checkers import check

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("mypy", "django_stubs_ext", "pyright"))),
        reason="mypy, django-stubs or pyright is not installed in this environment",
    ),
]


#: A view with one mistake a line, and what has to be in the message.
_MISTAKES = {
    'await Book.objects.aget_or_create(pk=1, defaults={"title": "x", "prise": 1})': '"prise"',
    'await Book.objects.aupdate_or_create(pk=1, defaults={"title": "x", "prise": 1})': '"prise"',
    'await Book.objects.aupdate_or_create(pk=1, create_defaults={"title": "x", "prise": 1})': '"prise"',
    'Book.objects.values("titel")': "'titel'",
    'Book.objects.values_list("titel")': "'titel'",
    'Book.objects.values_list("titel", flat=True)': "'titel'",
    'await Book(title="x").afetch("auther")': "'auther'",
}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_what_is_wrong_is_named(checker: str, bookshop: Path) -> None:
    lines = [
        "from shop.turbo import Book",
        "async def view() -> None:",
        *(f"    {each}" for each in _MISTAKES),
    ]
    view = bookshop / "view.py"
    view.write_text("\n".join([*lines, ""]), encoding="utf-8")
    try:
        report = check(checker, bookshop, "view.py")
    finally:
        view.unlink()
    messages = {error.line: error.message for error in report.errors}
    assert list(messages) == [*range(3, 3 + len(_MISTAKES))]
    for line, named in enumerate(_MISTAKES.values(), 3):
        assert named in messages[line]
