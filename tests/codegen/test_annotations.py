"""Annotations of hand-written code, as type expressions."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from turbo_orm.codegen.annotations import AnnotationReader
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
