"""The Literals of names."""

from __future__ import annotations

from turbo_orm.codegen.literals import split_literal
from turbo_orm.codegen.views import Entry


def test_a_literal_of_many_members_is_made_of_several() -> None:
    members = [f"f{number}" for number in range(600)]
    *parts, whole = split_literal("_BookPathInt", members, ",".join)
    assert whole == Entry("_BookPathInt", "_BookPathInt1 | _BookPathInt2 | _BookPathInt3")
    assert ",".join(part.type for part in parts) == ",".join(members)
    assert all(len(part.type.split(",")) <= 250 for part in parts)


def test_parts_are_private() -> None:
    first, *_ = split_literal("BookOrder", ["x"] * 251, ",".join)
    assert first.name == "_BookOrder1"


def test_a_literal_of_few_members_is_one() -> None:
    assert split_literal("BookOrder", ["x"], ",".join) == [Entry("BookOrder", "x")]
