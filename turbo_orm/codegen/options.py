"""The generator's options: one frozen object, read from all the places where they are written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from turbo_orm.codegen.sources import check_options, from_pyproject, from_settings

__all__ = ["Breadth", "Options", "load_options"]


class Breadth(str, Enum):
    """Which lookups the generated ``filter()`` knows."""

    COMMON = "common"
    ALL = "all"


@dataclass(frozen=True)
class Options:
    """What the project says of its facades, with the defaults filled in."""

    #: How many relations the paths in lookups may cross.
    depth: int = 1
    lookups: Breadth = Breadth.COMMON
    #: Whether reading a relation which the query did not load is an error for type checkers.
    strict_relations: bool = False
    #: The three above, of single models: ``{"blog.Book": {"depth": 2}}``.
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The modules of facades of apps which cannot be edited: ``{"auth": "accounts.auth_types"}``.
    facades: Mapping[str, str] = field(default_factory=dict)
    #: A folder whose templates come before ours.
    templates: str | None = None
    #: Types of custom fields: ``{"shop.fields.MoneyField": "shop.money.Money"}``.
    field_types: Mapping[str, str] = field(default_factory=dict)

    def depth_of(self, label: str) -> int:
        return int(self.models.get(label, {}).get("depth", self.depth))

    def breadth_of(self, label: str) -> Breadth:
        return Breadth(self.models.get(label, {}).get("lookups", self.lookups))

    def strict_of(self, label: str) -> bool:
        return bool(self.models.get(label, {}).get("strict_relations", self.strict_relations))

    def digest(self) -> str:
        """Hash what the output depends on, besides the models.

        Not where facades are: the models say. Not the templates' folder, which differs between machines,
        but what is in it.
        """
        values = {key: value for key, value in asdict(self).items() if key not in ("templates", "facades")}
        if self.templates is not None:
            values["templates"] = _contents(Path(self.templates))
        return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def load_options(**overrides: Any) -> Options:
    """Read ``[tool.turbo_orm]`` of pyproject.toml, then the settings, then ``overrides``.

    What comes later comes first where both say something; of mappings, entry by entry. Overrides
    which are ``None`` say nothing. Raises `CodegenError` for an option that does not exist or has a
    wrong value.
    """
    said = {key: value for key, value in overrides.items() if value is not None}
    check_options(said, "the command line")
    merged: dict[str, Any] = {}
    for given in (from_pyproject(), from_settings(), said):
        for option, value in given.items():
            merged[option] = {**merged.get(option, {}), **value} if isinstance(value, Mapping) else value
    if "lookups" in merged:
        merged["lookups"] = Breadth(merged["lookups"])
    return Options(**merged)
