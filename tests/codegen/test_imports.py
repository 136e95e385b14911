"""How generated modules spell and import names."""

from __future__ import annotations

import re

from tests.codegen.support import ROOT
from turbo_orm.codegen.imports import Imports
from turbo_orm.codegen.render import _SYMBOLS


def test_names_are_imported_once_and_sorted_in_groups() -> None:
    imports = Imports("shop.turbo", {}, [])
    spelled = imports.spell("{decimal:Decimal} | {datetime:date} | {shop.models:Book.Kind} | {datetime:date}")
    assert spelled == "Decimal | date | Book.Kind | date"
    assert imports.lines() == [
        "from datetime import date",
        "from decimal import Decimal",
        "",
        "from shop.models import Book",
    ]


def test_name_which_the_module_defines_gets_an_underscore() -> None:
    imports = Imports("shop.turbo", {}, ["date", "_date"])
    assert imports.spell("{datetime:date}") == "_date2"
    assert imports.lines() == ["from datetime import date as _date2"]


def test_same_name_from_two_modules() -> None:
    imports = Imports("shop.turbo", {}, [])
    assert imports.spell("{a:Money} {b:Money} {a:Money}") == "Money _Money Money"


def test_builtin_is_imported_only_when_hidden() -> None:
    imports = Imports("shop.turbo", {}, ["int"])
    assert imports.spell("{:int} | {:str}") == "_int | str"
    assert imports.lines() == ["from builtins import int as _int"]


def test_modules_of_hand_written_code_have_short_aliases() -> None:
    imports = Imports("shop.turbo", {}, [])
    assert (imports.module("shop.models"), imports.module("blog.models")) == ("_m", "_m2")
    assert imports.module("shop.models") == "_m"
    assert imports.lines() == ["import blog.models as _m2", "import shop.models as _m"]


def test_templates_use_all_names_there_are_for_them() -> None:
    text = "".join(path.read_text() for path in (ROOT / "templates").glob("*.j2"))
    used = set(re.findall(r"\buse\.(\w+)", text))
    assert {name for names in _SYMBOLS.values() for name in names} == used
