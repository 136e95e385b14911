"""Type expressions."""

from __future__ import annotations

import pytest

from turbo_orm.codegen.expressions import (
    ANY,
    builtin,
    generic,
    name,
    optional,
    split_union,
    substitute,
    union,
    without_none,
)


def test_union_names_each_member_once_and_none_last() -> None:
    assert union("None", builtin("int"), builtin("str"), builtin("int")) == "{:int} | {:str} | None"


def test_union_with_any_is_any() -> None:
    assert union(builtin("int"), ANY) == ANY
    assert optional(ANY) == ANY


def test_optional_twice_is_optional() -> None:
    assert optional(optional(builtin("int"))) == "{:int} | None"


def test_without_none() -> None:
    assert without_none("{:int} | None | {:str}") == "{:int} | {:str}"


@pytest.mark.parametrize(
    ("expression", "members"),
    [
        ("a", ["a"]),
        ("a | b", ["a", "b"]),
        ("list[a | b] | (c | d)", ["list[a | b]", "(c | d)"]),
        ("""Literal["|", ']'] | a""", ["""Literal["|", ']']""", "a"]),
    ],
)
def test_union_is_split_outside_brackets_and_quotes(expression: str, members: list[str]) -> None:
    assert split_union(expression) == members


def test_substitute_spells_each_name() -> None:
    expression = generic(name("collections.abc", "Iterable"), name("shop.models", "Book.Kind"))
    assert substitute(expression, lambda module, qualname: f"<{module}/{qualname}>") == (
        "<collections.abc/Iterable>[<shop.models/Book.Kind>]"
    )


def test_builtins_have_no_module() -> None:
    assert name("builtins", "int") == builtin("int") == "{:int}"
