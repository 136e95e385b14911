"""docs/reference.md has all that is public, and what pages link to or name is there."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.db.models import Manager, Model, QuerySet

import turbo_orm
from devtools.bootstrap.commands import COMMANDS
from tests.project.library.models import Author
from turbo_orm import AsyncManager, AsyncQuerySet, asgi, errors, fetch_modes, middleware, testing
from turbo_orm.codegen.options import Options
from turbo_orm.conf import Config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
REFERENCE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text of a section of the reference, up to the next one."""
    return REFERENCE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def code(text: str) -> set[str]:
    """Return all names that occur in what is set as code."""
    return {name for quoted in re.findall(r"`([^`]+)`", text) for name in re.findall(r"[\w.-]+", quoted)}


def missing(names: Iterable[str], text: str) -> set[str]:
    return set(names) - code(text)


@pytest.mark.parametrize("module", [turbo_orm, testing, asgi, middleware, fetch_modes, errors])
def test_public_names(module: ModuleType):
    assert not missing(module.__all__, section(f"`{module.__name__}`"))


@pytest.mark.parametrize("module", [turbo_orm, testing])
def test_parameters(module: ModuleType):
    for name in module.__all__:
        found: Any = getattr(module, name)
        if name[0].isupper():
            continue
        [signature] = re.findall(rf"`{name}\(([^`]*)\)`", section(f"`{module.__name__}`"))
        assert re.findall(r"(\w+)(?:=|,|$)", re.sub(r'="?[\w.]*"?', "", signature)) == [
            *inspect.signature(found).parameters
        ], name


@pytest.mark.parametrize(("ours", "djangos"), [(AsyncQuerySet, QuerySet), (AsyncManager, Manager)])
def test_methods_beyond_djangos(ours: type, djangos: type):
    names = {name for name in {*dir(ours)} - {*dir(djangos)} if name[0].islower()}
    assert not missing(names - {"is_turbo_manager"}, section("`turbo_orm`"))


def test_methods_of_instances_beyond_djangos():
    names = {name for name in dir(Author) if inspect.iscoroutinefunction(getattr(Author, name))}
    assert not missing(names - {*dir(Model)}, section("`turbo_orm`"))


def test_settings():
    text = section("Settings")
    options = {field.name for field in fields(Options)}
    keys = {field.name.upper() for field in fields(Config)} | {"CODEGEN", "FIELD_TYPES"}
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.M)) == keys
    assert not missing(options | {option.upper() for option in options}, text)


def test_options_of_the_command():
    command: BaseCommand = load_command_class("turbo_orm", "turbo_generate")
    djangos = BaseCommand().create_parser("manage.py", "x")._option_string_actions
    own = command.create_parser("manage.py", "turbo_generate")._option_string_actions.keys() - djangos.keys()
    assert {name for name in code(section("`manage.py turbo_generate`")) if name.startswith("--")} == own


def test_system_checks():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "turbo_orm").rglob("*.py"))
    ids = set(re.findall(r'id="(turbo_orm\.[EW]\d+)"', source))
    assert set(re.findall(r"`(turbo_orm\.[EW]\d+)`", section("System checks"))) == ids


def test_rooms_of_plans():
    table = (ROOT / "docs/plans.md").read_text(encoding="utf-8").split("\n## Inside\n", 1)[1]
    rooms = re.findall(r"^\| (`.*?) \|", table, re.M)
    named = [name for room in rooms for name in re.findall(r"`(\w+)`", room)]
    modules = {path.stem for path in (ROOT / "turbo_orm/plans").glob("*.py")} - {"__init__"}
    assert (set(named), len(named)) == (modules, len(modules))


def anchors(page: Path) -> set[str]:
    """Return the names which GitHub gives to the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = Path(os.path.normpath(page.parent / path)) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_what_contributors_are_told_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = {path for path in re.findall(r"[\w.-]+/[\w./-]*\w", text) if ".dev/" not in path}
    assert len(paths) > 40
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    assert {*re.findall(r"dev\.py ([a-z]\w*)", text)} <= COMMANDS.keys()


def test_the_readme_leads_to_all_pages():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name})" not in readme] == []
