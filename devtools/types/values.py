"""Whether a value is of the type that is declared for it."""

from __future__ import annotations

import importlib
import typing
from types import UnionType
from typing import Any

from turbo_orm.codegen.expressions import substitute

__all__ = ["evaluate", "holds"]


def evaluate(expression: str) -> Any:
    """Return the type which a type expression of the generator stands for."""
    namespace: dict[str, Any] = {}

    def spell(module: str, qualname: str) -> str:
        local = f"name{len(namespace)}"
        found: Any = importlib.import_module(module or "builtins")
        for part in qualname.split("."):
            found = getattr(found, part)
        namespace[local] = found
        return local

    return eval(substitute(expression, spell), namespace)


def holds(value: Any, declaration: Any) -> bool:
    """Whether *value* is of the declared type, its items too."""
    if declaration is Any:
        return True
    origin, arguments = typing.get_origin(declaration), typing.get_args(declaration)
    if origin in (typing.Union, UnionType):
        return any(holds(value, member) for member in arguments)
    if declaration is None or declaration is type(None):
        return value is None
    if origin is None:
        return isinstance(value, declaration) and not (isinstance(value, bool) and declaration is int)
    if not isinstance(value, origin):
        return False
    if origin is list:
        return all(holds(item, arguments[0]) for item in value)
    if origin is tuple:
        return len(value) == len(arguments) and all(map(holds, value, arguments))
    if origin is dict:
        return all(holds(key, arguments[0]) and holds(item, arguments[1]) for key, item in value.items())
    return all(holds(bound, arguments[0]) for bound in (value.lower, value.upper) if bound is not None)
