"""Generated stubs checked by mypy without the header that keeps their errors quiet."""

from __future__ import annotations

import re
from pathlib import Path

from devtools.types.checkers import Error, check

__all__ = ["check_bare"]

_HEADER = "# mypy: ignore-errors\n"
#: What laying exact types over other classes must break: signatures narrower than the base's, and two bases
#: which disagree.
_OF_OVERLAYING = frozenset(("misc", "override"))
#: The same of attributes, for which mypy's code is another. It is managers only: that of a child is not its
#: parent's, and django-stubs' ManyToManyField has a class of its own for what rows have.
_OF_MANAGERS = "assignment"
_MANAGER = re.compile(r"^    \w+: (ClassVar\[\w+Manager\]|\w*ManyManager(\[.*\])?) = \.\.\.$")


def check_bare(
    project: Path, target: str, *, python: Path | None = None, follow: bool = False
) -> list[Error]:
    """Strip the stubs in ``target`` of their headers; return mypy's errors but for those of overlaying.

    ``project`` is a copy to be changed, ``target`` a folder in it. Raises `RuntimeError` where a stub has no
    such header.
    """
    lines: dict[str, list[str]] = {}
    for stub in (project / target).glob("*.pyi"):
        text = stub.read_text(encoding="utf-8")
        if _HEADER not in text:
            raise RuntimeError(f"{stub} has no line {_HEADER.strip()!r}, so that nothing can be said of it.")
        text = text.replace(_HEADER, "")
        stub.write_text(text, encoding="utf-8")
        lines[str(stub.relative_to(project))] = text.splitlines()
    report = check("mypy", project, target, python=python, follow=follow)
    return [
        error
        for error in report.errors
        if error.file in lines and not _is_of_overlaying(error, lines[error.file][error.line - 1])
    ]


def _is_of_overlaying(error: Error, line: str) -> bool:
    return error.code in _OF_OVERLAYING or (error.code == _OF_MANAGERS and bool(_MANAGER.match(line)))
