"""Where the generator's options are written: ``settings.TURBO_ORM``, ``pyproject.toml``, the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.conf import settings

from turbo_orm.codegen.options import OF_A_MODEL, Breadth, Options
from turbo_orm.errors import CodegenError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["load_options"]

_KNOWN = sorted(field.name for field in fields(Options))
_BREADTHS = [breadth.value for breadth in Breadth]
#: The options which are mappings: the type of their values, and an example.
_TABLES: Mapping[str, tuple[type[Any], str]] = {
    "facades": (str, '{"auth": "accounts.auth_types"}'),
    "field_types": (str, '{"shop.fields.MoneyField": "shop.money.Money"}'),
    "models": (Mapping, '{"shop.Book": {"depth": 2}}'),
}


def load_options(**overrides: Any) -> Options:
    """Read ``[tool.turbo_orm]`` of pyproject.toml, then the settings, then *overrides*.

    What comes later comes first where both say something; of mappings, entry by entry. Overrides
    which are ``None`` say nothing. Raises `CodegenError` for an option that does not exist or has a
    wrong value.
    """
    said = {key: value for key, value in overrides.items() if value is not None}
    _check_options(said, "the command line")
    merged: dict[str, Any] = {}
    for given in (_from_pyproject(), _from_settings(), said):
        for option, value in given.items():
            merged[option] = {**merged.get(option, {}), **value} if isinstance(value, Mapping) else value
    if "lookups" in merged:
        merged["lookups"] = Breadth(merged["lookups"])
    return Options(**merged)


def _from_settings() -> dict[str, Any]:
    """Return the options in the settings, by name in lower case.

    Raises `CodegenError` for one that does not exist or has a wrong value.
    """
    setting = _mapping(getattr(settings, "TURBO_ORM", {}), "TURBO_ORM", '{"CODEGEN": {"DEPTH": 2}}')
    where = 'TURBO_ORM["CODEGEN"]'
    chosen = _mapping(setting.get("CODEGEN", {}), where, '{"DEPTH": 2}')
    given = {str(key).lower(): value for key, value in chosen.items()}
    known = [option.upper() for option in _KNOWN if option != "field_types"]
    for key in given:
        if key.upper() not in known:
            raise CodegenError(f"{where} has no option {key.upper()!r}. Known are: {', '.join(known)}.")
    _check_options(given, where, upper=True)
    field_types = {"field_types": setting.get("FIELD_TYPES", {})}
    _check_options(field_types, "TURBO_ORM", upper=True)
    return given | field_types


def _from_pyproject() -> dict[str, Any]:
    """Return the options in the project's ``[tool.turbo_orm]``; none if there is no such table.

    Raises `CodegenError` as `_from_settings()` does, and for a file that is not TOML.
    """
    found = _find_pyproject()
    if found is None:
        return {}
    path, table = found
    where = f"{path}: [tool.turbo_orm]"
    given = {key.replace("-", "_"): value for key, value in table.items()}
    for key in given:
        if key not in _KNOWN:
            raise CodegenError(f"{where} has no option {key!r}. Known are: {', '.join(_KNOWN)}.")
    _check_options(given, where)
    if "templates" in given:
        given["templates"] = str(path.parent / str(given["templates"]))
    return given


def _find_pyproject() -> tuple[Path, dict[str, Any]] | None:
    """Return the nearest ``pyproject.toml`` with a ``[tool.turbo_orm]``, and that table.

    Nearest to the settings module, so that it is the same wherever a command is run; failing that,
    to the current folder.
    """
    for path in _candidates():
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CodegenError(f"{path} cannot be read: {error}.") from error
        tools = tables.get("tool")
        if isinstance(tools, Mapping) and "turbo_orm" in tools:
            return path, dict(_mapping(tools["turbo_orm"], f"{path}: tool.turbo_orm", "{ depth = 2 }"))
    return None


def _mapping(value: Any, where: str, example: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CodegenError(f"{where} must be a mapping such as {example}, not {value!r}.")
    return value


def _candidates() -> Iterator[Path]:
    module = sys.modules.get(getattr(settings, "SETTINGS_MODULE", None) or "")
    file = getattr(module, "__file__", None)
    starts = [Path(file).resolve().parent] if file else []
    folders = [folder for start in (*starts, Path.cwd()) for folder in (start, *start.parents)]
    for folder in dict.fromkeys(folders):
        path = folder / "pyproject.toml"
        if path.is_file():
            yield path


def _check_options(given: Mapping[str, Any], where: str, *, upper: bool = False) -> None:
    """Raise `CodegenError` if an option has a wrong value; *where* is where it was written.

    With *upper*, options are called there in upper case.
    """
    templates = given.get("templates")
    if not isinstance(templates, str | os.PathLike | None):
        called = "TEMPLATES" if upper else "templates"
        raise CodegenError(f"{where}: {called} must be the path of a folder, not {templates!r}.")
    for option, (kind, example) in _TABLES.items():
        entries = given.get(option, {})
        if not isinstance(entries, Mapping) or not all(isinstance(one, kind) for one in entries.values()):
            called = option.upper() if upper else option
            raise CodegenError(f"{where}: {called} must be a mapping such as {example}, not {entries!r}.")
    _check_model_options(given, where)
    for label, values in given.get("models", {}).items():
        place = f"{where}: {'MODELS' if upper else 'models'}[{label!r}]"
        unknown = sorted(set(values) - set(OF_A_MODEL))
        if unknown:
            raise CodegenError(f"{place} has no option {unknown[0]!r}. Known are: {', '.join(OF_A_MODEL)}.")
        _check_model_options(values, place)


def _check_model_options(values: Mapping[str, Any], where: str) -> None:
    depth = values.get("depth", 1)
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
        raise CodegenError(f"{where}: depth must be 0 or a positive integer, not {depth!r}.")
    breadth = values.get("lookups", "common")
    if breadth not in _BREADTHS:
        raise CodegenError(f'{where}: lookups must be "common" or "all", not {breadth!r}.')
    strict = values.get("strict_relations", False)
    if not isinstance(strict, bool):
        raise CodegenError(f"{where}: strict_relations must be true or false, not {strict!r}.")
