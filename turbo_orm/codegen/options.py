"""The generator's options: what there is, and what each of them is by default."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["OF_A_MODEL", "Breadth", "Options"]


class Breadth(str, Enum):
    """Which lookups the generated ``filter()`` knows."""

    COMMON = "common"
    ALL = "all"


#: The options which single models may have too, in `Options.models`.
OF_A_MODEL = ("depth", "lookups", "strict_relations")


@dataclass(frozen=True)
class Options:
    """What the project says of its facades, with the defaults filled in."""

    #: How many relations the paths in lookups may cross.
    depth: int = 1
    lookups: Breadth = Breadth.COMMON
    #: Whether reading a relation which the query did not load is an error for type checkers.
    strict_relations: bool = False
    #: Those of `OF_A_MODEL`, of single models: ``{"blog.Book": {"depth": 2}}``.
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
