"""Decides how a generated module spells the names it uses, and collects their imports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from turbo_orm.codegen import ir
from turbo_orm.codegen.expressions import substitute

__all__ = ["Imports", "Symbols"]

_STANDARD = frozenset(
    (
        "builtins",
        "collections",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "ipaddress",
        "pathlib",
        "typing",
        "uuid",
        "zoneinfo",
    )
)
_MODEL_CLASSES = {
    "@related": "RelatedManager",
    "@many": "ManyManager",
    "@columns": "Columns",
    "@queryset": "QuerySet",
}


class Imports:
    """The imports of one module.

    *taken* are the names which the module defines itself, and those of attributes in its classes:
    ``date: date`` in a class would hide the type from the lines below it, so the type becomes ``_date``.
    """

    def __init__(self, facade: str, models: Mapping[str, ir.Model], taken: Collection[str]) -> None:
        self._facade = facade
        self._models = models
        self._taken = set(taken)
        self._names: dict[tuple[str, str], str] = {}
        self._modules: dict[str, str] = {}
        self._spelled: dict[str, str] = {}

    def spell(self, expression: str) -> str:
        """Return a type expression as source text."""
        if expression not in self._spelled:
            self._spelled[expression] = substitute(expression, self._spell)
        return self._spelled[expression]

    def name(self, module: str, name: str) -> str:
        """Return the local name of *name* from *module*."""
        if not module:
            if name not in self._taken:
                return name
            module = "builtins"
        if (module, name) not in self._names:
            self._names[module, name] = self._unused(name)
        return self._names[module, name]

    def lines(self) -> list[str]:
        """Return the import statements in order, the standard library's first, groups divided by ``""``."""
        statements = [(module, f"import {module} as {alias}") for module, alias in self._modules.items()]
        by_module: dict[str, list[str]] = {}
        for (module, name), local in self._names.items():
            by_module.setdefault(module, []).append(name if name == local else f"{name} as {local}")
        statements += [
            (module, f"from {module} import {', '.join(sorted(names))}")
            for module, names in by_module.items()
        ]
        standard = [statement for statement in sorted(statements) if _is_standard(statement[0])]
        other = [statement for statement in sorted(statements) if not _is_standard(statement[0])]
        groups = [[text for _, text in group] for group in (standard, other) if group]
        return [line for index, group in enumerate(groups) for line in ([""] if index else []) + group]

    def _spell(self, module: str, qualname: str) -> str:
        if module.startswith("@"):
            return self._spell_model(module, self._models[qualname])
        first, dot, rest = qualname.partition(".")
        return self.name(module, first) + dot + rest

    def _spell_model(self, kind: str, model: ir.Model) -> str:
        if kind == "@base":
            return self._hand_written(model)
        generated = model.prefix + _MODEL_CLASSES[kind] if kind in _MODEL_CLASSES else model.name
        return generated if model.facade == self._facade else self.name(model.facade, generated)

    def _hand_written(self, model: ir.Model) -> str:
        if not model.is_importable:
            return self.name("django.db.models", "Model")
        return f"{self.module(model.module)}.{model.qualname}"

    def module(self, module: str) -> str:
        """Return the local name of a module of hand-written code."""
        if module not in self._modules:
            self._modules[module] = self._unused("m")
        return self._modules[module]

    def define(self, name: str) -> str:
        """Return a name like *name* which nothing else in the module has, and keep it from the others."""
        return self._unused(name)

    def _unused(self, name: str) -> str:
        local = name if name not in self._taken and name != "m" else f"_{name}"
        number = 1
        candidate = local
        while candidate in self._taken:
            number += 1
            candidate = f"{local}{number}"
        self._taken.add(candidate)
        return candidate


class Symbols:
    """The names that templates use, as attributes: ``{{ use.Any }}`` imports and spells it."""

    def __init__(self, imports: Imports, modules: Mapping[str, Iterable[str]]) -> None:
        self._imports = imports
        self._module_of = {name: module for module, names in modules.items() for name in names}

    def __getitem__(self, name: str) -> str:
        return self._imports.name(self._module_of[name], name)


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in _STANDARD
