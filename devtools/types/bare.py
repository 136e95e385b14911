"""Generated stubs checked by mypy without the header that keeps their errors quiet."""

from __future__ import annotations

from pathlib import Path

from devtools.types.checkers import Error, check

__all__ = ["check_bare"]

_HEADER = "# mypy: ignore-errors\n"
#: What laying exact types over other classes must break: signatures narrower than the base's, and two bases
#: which disagree.
_OF_OVERLAYING = frozenset(("misc", "override"))


def check_bare(
    project: Path, target: str, *, python: Path | None = None, follow: bool = False
) -> list[Error]:
    """Strip the stubs in *target* of their headers; return mypy's errors but for those of overlaying.

    *project* is a copy to be changed, *target* a folder in it. Raises `RuntimeError` where a stub has no
    such header.
    """
    stubs: set[str] = set()
    for stub in (project / target).glob("*.pyi"):
        text = stub.read_text(encoding="utf-8")
        if _HEADER not in text:
            raise RuntimeError(f"{stub} has no line {_HEADER.strip()!r}, so that nothing can be said of it.")
        stub.write_text(text.replace(_HEADER, ""), encoding="utf-8")
        stubs.add(str(stub.relative_to(project)))
    report = check("mypy", project, target, python=python, follow=follow)
    return [error for error in report.errors if error.file in stubs and error.code not in _OF_OVERLAYING]
