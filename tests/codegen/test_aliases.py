"""Names for the types of many keywords."""

from __future__ import annotations

import re
from pathlib import Path

from devtools.types.scale import synthesize
from tests.codegen.support import Project
from turbo_orm.codegen.aliases import OFTEN, Aliases
from turbo_orm.codegen.imports import Imports
from turbo_orm.codegen.views import Entry

_INT = "{turbo_orm.typing:IntValue}"
_INTS = "{turbo_orm.typing:IntValues}"
_EXPR = "{turbo_orm.typing:Expr}"


def _aliases(*expressions: str, taken: tuple[str, ...] = ()) -> Aliases:
    return Aliases(
        [expression for expression in expressions for _ in range(OFTEN)], Imports("shop.turbo", {}, taken)
    )


def test_names_say_what_the_types_are() -> None:
    book = "{shop:Book.Kind}"
    aliases = _aliases(
        f"{_INT} | None",
        f"{book} | {_INT}",
        f"{book} | {_INT} | None",
        f"{{collections.abc:Iterable}}[{book}] | {_INTS}",
        f"{{collections.abc:Iterable}}[{book} | {_INT}] | {_EXPR}",
        f"{{:tuple}}[{{:int}}, {{:str}}] | {_EXPR}",
    )
    assert aliases.entries() == [
        Entry("_IntOrNone", "IntValue | None"),
        Entry("_KindOrInt", "Book.Kind | IntValue"),
        Entry("_KindOrIntOrNone", "Book.Kind | IntValue | None"),
        Entry("_KindsOrInts", "Iterable[Book.Kind] | IntValues"),
        Entry("_KindsOrIntsOrExpr", "Iterable[Book.Kind | IntValue] | Expr"),
        Entry("_TupleIntStrOrExpr", "tuple[int, str] | Expr"),
    ]


def test_types_are_spelled_by_their_names() -> None:
    aliases = _aliases(f"{_INT} | None")
    assert aliases.spell(f"{_INT} | None") == "_IntOrNone"
    assert aliases.spell(f"{_EXPR} | None") == "Expr | None"


def test_a_plain_name_needs_no_other() -> None:
    assert _aliases(_INT, "{:bool}", "{shop:Book.Kind}").entries() == []


def test_what_is_rare_is_written_where_it_stands() -> None:
    aliases = Aliases([f"{_INT} | None"] * (OFTEN - 1), Imports("shop.turbo", {}, []))
    assert aliases.entries() == []
    assert aliases.spell(f"{_INT} | None") == "IntValue | None"


def test_names_do_not_clash() -> None:
    aliases = _aliases("{a:Book} | None", "{b:Book} | None", taken=("_BookOrNone",))
    assert [entry.name for entry in aliases.entries()] == ["__BookOrNone", "__BookOrNone2"]


def test_no_keyword_of_a_large_project_repeats_a_union(tmp_path: Path) -> None:
    synthesize(tmp_path, 20)
    finished = Project(tmp_path).generate("--depth", "1")
    assert finished.returncode == 0, finished.stderr
    stub = (tmp_path / "app0" / "turbo.pyi").read_text(encoding="utf-8")
    lookups = "\n".join(re.findall(r"def __call__\(\n(.*?)\n    \) ->", stub, re.DOTALL))
    types = re.findall(r"\w+: ([^=]+) = \.\.\.", lookups)
    assert "_IntOrNone" in types
    repeated = {text for text in types if " | " in text and types.count(text) >= OFTEN}
    assert not repeated
