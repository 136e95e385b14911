"""Imports point one way, and every module says exactly what it offers."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "turbo_orm"

#: From the bottom up; a module imports from its own layer and from those below. A name stands
#: for the module or package of that name, "" for `turbo_orm` itself.
LAYERS: list[set[str]] = [
    {"errors", "conf"},
    {"db"},
    {"bridge"},
    {"plans"},
    {
        "columns",
        "row_classes",
        "retry",
        "loading",
        "fetch_modes",
        "rows",
        "prefetching",
        "transaction",
        "sql",
    },
    {"answers", "creation", "deletion"},
    {"batching", "execution", "streaming"},
    {"composed", "related_writes"},
    {"many_to_many", "related_keys"},
    {"related_creation"},
    {"raw", "queryset", "manager", "base_manager", "instance", "adoption", "related", "pools"},
    {"async_safety", "atomic_requests", "plain_models", "hooks"},
    {""},
    {"apps", "asgi", "checks", "generated", "middleware", "testing", "typing"},
]

#: What the generator may use of the runtime.
CODEGEN_MAY_IMPORT = {"errors", "conf", "generated"}

#: Where the runtime may know of the generator: to register its checks.
MAY_IMPORT_CODEGEN = {"apps"}

#: Names that say nothing about what is inside.
ROOMS_WITHOUT_A_NAME = {"utils", "util", "helpers", "common", "misc"}


class Import(NamedTuple):
    importer: str
    imported: str
    #: At the top of the module, so that it runs with it.
    eager: bool

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def imports(module: str) -> Iterator[Import]:
    """What *module* imports of the package and others, but for type checkers alone."""
    yield from _walk(module, parsed(module), eager=True)


def _walk(module: str, node: ast.AST, *, eager: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _walk(module, other, eager=eager)
        elif isinstance(child, ast.Import):
            yield from (Import(module, alias.name, eager) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module} has a relative import"
            for alias in child.names:
                submodule = f"{child.module}.{alias.name}"
                yield Import(module, submodule if submodule in MODULES else str(child.module), eager)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(module, child, eager=eager and not inside)


def room(module: str) -> str:
    """The name of the module or package right below `turbo_orm`."""
    return module.split(".")[1] if "." in module else ""


def layer(module: str) -> int:
    for number, names in enumerate(LAYERS):
        if room(module) in names:
            return number
    raise AssertionError(f"{module} is in no layer: give {room(module)!r} its place in LAYERS")


def is_ours(imported: str) -> bool:
    return imported == "turbo_orm" or imported.startswith("turbo_orm.")


GENERATOR = {"codegen", "management"}
RUNTIME = [module for module in MODULES if room(module) not in GENERATOR]
CODEGEN = [module for module in MODULES if room(module) in GENERATOR]


def test_the_parser_sees_imports_everywhere() -> None:
    everything = [each for module in MODULES for each in imports(module)]
    assert Import("turbo_orm.pools", "turbo_orm.db.pools", True) in everything
    assert Import("turbo_orm.queryset", "turbo_orm.execution", True) in everything
    assert Import("turbo_orm.queryset", "turbo_orm.manager", False) in everything  # in a function
    assert Import("turbo_orm.bridge.deadlock", "turbo_orm.bridge.scopes", True) not in everything
    assert len(RUNTIME) > 20
    assert len(CODEGEN) > 10


@pytest.mark.parametrize("module", RUNTIME)
def test_runtime_imports_nothing_above_it(module: str) -> None:
    upwards = [
        str(each)
        for each in imports(module)
        if is_ours(each.imported)
        and room(each.imported) not in GENERATOR
        and layer(each.imported) > layer(module)
    ]
    assert upwards == []


@pytest.mark.parametrize("module", RUNTIME)
def test_runtime_does_not_import_the_generator(module: str) -> None:
    found = [
        str(each) for each in imports(module) if room(each.imported) in GENERATOR and is_ours(each.imported)
    ]
    assert room(module) in MAY_IMPORT_CODEGEN or found == []


@pytest.mark.parametrize("module", CODEGEN)
def test_generator_imports_little_of_the_runtime(module: str) -> None:
    found = [
        str(each)
        for each in imports(module)
        if is_ours(each.imported) and room(each.imported) not in GENERATOR | CODEGEN_MAY_IMPORT
    ]
    assert found == []


@pytest.mark.parametrize("module", [name for name in RUNTIME if room(name) == "db"])
def test_connections_know_no_querysets(module: str) -> None:
    assert [str(each) for each in imports(module) if each.imported.startswith("django")] == []


@pytest.mark.parametrize("module", [name for name in RUNTIME if room(name) == "bridge"])
def test_the_bridge_knows_no_models(module: str) -> None:
    assert [str(each) for each in imports(module) if each.imported.startswith("django.db.models")] == []


def test_the_ir_is_free_of_django() -> None:
    found = {each.imported.partition(".")[0] for each in imports("turbo_orm.codegen.ir")}
    assert found <= sys.stdlib_module_names


def test_no_import_cycles() -> None:
    graph = {
        module: {each.imported for each in imports(module) if each.eager and each.imported in MODULES}
        - {module}
        for module in MODULES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for imported in graph[module]:
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_module_names_say_what_is_inside() -> None:
    names = {part for module in MODULES for part in module.split(".")}
    assert names & ROOMS_WITHOUT_A_NAME == set()


def test_noqa_says_why() -> None:
    files = [path for name in ("turbo_orm", "devtools", "tests") for path in (ROOT / name).rglob("*.py")]
    lines = [f"{path}: {line}" for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    bare = re.compile(r"#\ noqa(: [A-Z0-9, ]*)?$")
    assert [line for line in lines if bare.search(line)] == []


def public_modules() -> list[str]:
    """Modules others may import names from: not commands, and not packages that only hold modules."""
    return [
        module
        for module, path in MODULES.items()
        if not path.stem.startswith("_") or (path.stem == "__init__" and len(parsed(module).body) > 1)
        if room(module) != "management"
    ]


@pytest.mark.parametrize("module", public_modules())
def test_all_is_exact(module: str) -> None:
    """`__all__` names what exists, and everything the module defines without an underscore."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None)
    assert names is not None, f"{module} has no __all__"
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(loaded, name)] == []
    defined = {
        node.name
        for node in parsed(module).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
    }
    assert defined - set(names) == set()


@pytest.mark.parametrize("stub", sorted(PACKAGE.rglob("*.pyi")), ids=lambda path: path.stem)
def test_stubs_offer_what_the_module_offers(stub: Path) -> None:
    """What `__all__` names can be imported under a type checker too."""
    offered: set[str] = set()
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            offered |= {alias.name for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            offered.add(node.name)
    parts = stub.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    missing = set(importlib.import_module(module).__all__) - offered
    assert not missing, f"{stub.name} lacks {sorted(missing)}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_say_what_they_are_for(module: str) -> None:
    body = parsed(module).body
    assert not body or ast.get_docstring(parsed(module))
