"""What models, fields and methods say of themselves, as text between the quotes of a docstring."""

from __future__ import annotations

__all__ = ["comment", "docstring"]


def docstring(text: str) -> str:
    """Lines of text for between three quotes."""
    escaped = text.replace("\\", "\\\\").replace('"""', "'''")
    return f'{escaped[:-1]}\\"' if escaped.endswith('"') else escaped


def comment(text: str) -> str:
    """One line of text for a docstring."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', "'")
