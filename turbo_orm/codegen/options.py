"""The generator's options: one frozen object, read from ``settings.TURBO_ORM``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any

from django.conf import settings

from turbo_orm.errors import CodegenError

__all__ = ["Breadth", "Options", "load_options"]


class Breadth(str, Enum):
    """Which lookups the generated ``filter()`` knows."""

    COMMON = "common"
    ALL = "all"


@dataclass(frozen=True)
class Options:
    """What ``TURBO_ORM["CODEGEN"]`` and ``TURBO_ORM["FIELD_TYPES"]`` say, with the defaults filled in."""

    #: How many relations the paths in lookups may cross.
    depth: int = 1
    lookups: Breadth = Breadth.COMMON
    #: Depth and lookups of single models: ``{"blog.Book": {"depth": 2}}``.
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

    def digest(self) -> str:
        """Hash what the output depends on, besides the models.

        Not the templates' folder: it differs between machines. Not where facades are: the models say.
        """
        values = {key: value for key, value in asdict(self).items() if key not in ("templates", "facades")}
        return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def load_options(**overrides: Any) -> Options:
    """Read the settings; ``overrides`` which are not ``None`` come before them.

    Raises `CodegenError` for an option that does not exist or has a wrong value.
    """
    setting = getattr(settings, "TURBO_ORM", {})
    given = {str(key).lower(): value for key, value in setting.get("CODEGEN", {}).items()}
    known = [entry.name for entry in fields(Options) if entry.name != "field_types"]
    for key in given:
        if key not in known:
            raise CodegenError(
                f'TURBO_ORM["CODEGEN"] has no option {key.upper()!r}. Known are: '
                f"{', '.join(sorted(option.upper() for option in known))}."
            )
    given["field_types"] = setting.get("FIELD_TYPES", {})
    given.update({key: value for key, value in overrides.items() if value is not None and key != "facades"})
    given["facades"] = {**given.get("facades", {}), **(overrides.get("facades") or {})}
    return _checked(given)


def _checked(given: dict[str, Any]) -> Options:
    for source, values in [("", given), *given.get("models", {}).items()]:
        where = f'TURBO_ORM["CODEGEN"]["MODELS"][{source!r}]' if source else 'TURBO_ORM["CODEGEN"]'
        unknown = sorted(set(values) - {"depth", "lookups"}) if source else []
        if unknown:
            raise CodegenError(f"{where} has no option {unknown[0]!r}. Known are: depth, lookups.")
        depth = values.get("depth", 1)
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
            raise CodegenError(f"{where}: depth must be 0 or a positive integer, not {depth!r}.")
        breadth = values.get("lookups", Breadth.COMMON)
        if breadth not in set(Breadth):
            raise CodegenError(f'{where}: lookups must be "common" or "all", not {breadth!r}.')
    if "lookups" in given:
        given["lookups"] = Breadth(given["lookups"])
    return Options(**given)
