"""Annotations of hand-written code, as type expressions."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from turbo_orm.codegen.annotations import AnnotationReader, UnreadableAnnotation
from turbo_orm.codegen.expressions import substitute


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (list, "list[Any]"),
        (dict, "dict[Any, Any]"),
        (tuple, "tuple[Any, ...]"),
        (type, "type[Any]"),
        (typing.List, "list[Any]"),  # noqa: UP006  (what people may have written)
        ("set | None", "set[Any] | None"),
        (list[int], "list[int]"),
        ("dict[str, list]", "dict[str, list[Any]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Iterable[str], "Iterable[str]"),
        (Callable[[int], str], "Callable[[int], str]"),
        (int, "int"),
        (None, "None"),
        (typing.Literal["{x}", 1], r"Literal['\x7bx\x7d', 1]"),
    ],
    ids=str,
)
def test_what_a_builtin_is_generic_in_is_written(annotation: Any, expected: str) -> None:
    reader = AnnotationReader(lambda _: "", {})
    assert substitute(reader.read(annotation, {}), lambda module, qualname: qualname) == expected


JSON = typing.Union[dict[str, "JSON"], list["JSON"], str]  # noqa: UP007  (text cannot be joined)
Nested = "dict[str, Nested] | int"
Itself = "Itself"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (JSON, "dict[str, Any] | list[Any] | str"),
        ("list[JSON]", "list[dict[str, Any] | list[Any] | str]"),
        (Nested, "dict[str, Any] | int"),
    ],
    ids=str,
)
def test_aliases_of_themselves_end(annotation: Any, expected: str) -> None:
    reader = AnnotationReader(lambda _: "", {})
    assert substitute(reader.read(annotation, globals()), lambda module, qualname: qualname) == expected


def test_a_name_of_itself_cannot_be_read() -> None:
    with pytest.raises(UnreadableAnnotation, match="stands for itself"):
        AnnotationReader(lambda _: "", {}).read(Itself, globals())


def test_python_comes_before_the_fallback() -> None:
    reader = AnnotationReader(lambda _: "", {"type": str, "Book": str})
    assert reader.read("type[int]", {}) == "{:type}[{:int}]"
    assert reader.read("Book", {}) == "{:str}"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs the type statement")
def test_type_statements_are_named() -> None:
    module = types.ModuleType("aliases")
    exec("type Money = int\ntype Pair[T] = tuple[T, T]", vars(module))
    sys.modules["aliases"] = module
    try:
        reader = AnnotationReader(lambda _: "", {})
        assert reader.read("Money | None", vars(module)) == "{aliases:Money} | None"
        assert reader.read("Pair[int]", vars(module)) == "{aliases:Pair}[{:int}]"
    finally:
        del sys.modules["aliases"]
