"""The names which a module has for type checkers only: those under ``if TYPE_CHECKING:``.

Their modules are not imported for it: generating must not load models that the project does not load, and
what is written must depend neither on what happens to be loaded nor on what is installed.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import typing_extensions
from django.db.models import Model

__all__ = ["CheckedName", "checked_names"]

#: Modules that are loaded with the generator, or do no harm if they are: what they have is taken as it is.
_LOADED = frozenset({*sys.stdlib_module_names, "typing_extensions", "turbo_orm"})


class CheckedName(type):
    """The class of stand-ins: of what they stand for it is known where it is, which is written."""

    def __getattr__(cls, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        qualname = cls.__qualname__  # that of a module, perhaps
        model = _model(f"{cls.__module__}.{qualname}", attribute)
        return model or _stand_in(cls.__module__, f"{qualname}.{attribute}")

    def __getitem__(cls, arguments: Any) -> Any:
        return types.GenericAlias(cls, arguments)


class _Module:
    """A module as the code of another one sees it."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, attribute: str) -> Any:
        found = _resolve(self._module, attribute)
        if found is None:
            raise AttributeError(attribute)
        return found


@cache
def checked_names(module: str) -> Mapping[str, Any]:
    """Return the objects of the names, or stand-ins; ``None`` for one that this Python does not have."""
    found: dict[str, Any] = {}
    for node in _nodes(module):
        for name, value in _bound(node, module):
            if found.get(name) is None:
                found[name] = value
    return found


def _nodes(module: str) -> Iterator[ast.AST]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, SyntaxError, TypeError):
        return
    for node in tree.body:
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _statements(node.body)


def _is_type_checking(test: ast.expr) -> bool:
    named = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return named == "TYPE_CHECKING"


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a block, and those of the conditions in it."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from _statements([*node.body, *node.orelse])


def _bound(node: ast.AST, module: str) -> Iterator[tuple[str, Any]]:
    """Yield each name that a statement of *module* binds, and what it stands for."""
    if isinstance(node, ast.ImportFrom):
        origin = _absolute(node, module)
        for alias in node.names:
            yield alias.asname or alias.name, _resolve(origin, alias.name)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            bound = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or bound, _Module(bound)
    elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        yield node.name, _stand_in(module, node.name)
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, _stand_in(module, target.id)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    package = sys.modules[module].__package__ or ""
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return ""


def _resolve(module: str, name: str) -> Any:
    """Return what *name* of *module* stands for, or a stand-in; ``None`` if there is nothing."""
    model = _model(module, name)
    if model is not None:
        return model
    if module.partition(".")[0] in _LOADED or module.startswith("django.db.models"):
        return _loaded(module, name)
    return _stand_in(module, name)


def _model(module: str, name: str) -> type[Model] | None:
    """Return the model of that name. All which the project has are loaded."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) and issubclass(found, Model) else None


def _loaded(module: str, name: str) -> Any:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    # Of a newer Python than this one.
    return getattr(typing_extensions, name, None) if found is None and module == "typing" else found


def _stand_in(module: str, qualname: str) -> CheckedName:
    return CheckedName(qualname.rpartition(".")[2], (), {"__module__": module, "__qualname__": qualname})
