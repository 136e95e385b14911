"""Django's placeholders become the server's."""

from __future__ import annotations

import pytest

from turbo_orm.db.statements import statement


@pytest.mark.parametrize(
    ("sql", "count", "text"),
    [
        ("SELECT 1", 0, b"SELECT 1"),
        ("SELECT %s, %s", 2, b"SELECT $1, $2"),
        ("a LIKE '50%%' AND b = %s", 1, b"a LIKE '50%' AND b = $1"),
        ("%%s %s %%%s", 2, b"%s $1 %$2"),
        ("'é' = %s", 1, "'é' = $1".encode()),
        (", ".join(["%s"] * 11), 11, b"$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"),
    ],
)
def test_placeholders(sql: str, count: int, text: bytes) -> None:
    made = statement(sql, count)
    assert (made.text, made.sql, len(made.automatic)) == (text, sql, count)


@pytest.mark.parametrize(
    ("sql", "count"), [("%s", 0), ("%s", 2), ("%d", 1), ("%(name)s", 1), ("100%", 0), ("% s", 1), ("%b", 1)]
)
def test_what_is_not_from_the_compiler_is_refused(sql: str, count: int) -> None:
    with pytest.raises(ValueError, match="placeholder"):
        statement(sql, count)


def test_notes() -> None:
    made = statement("%s", 1)
    assert not made.proven
    assert not made.accepted((23,))
    assert repr(made) == "<Statement new '%s'>"
    made.note_accepted((23,))
    assert made.proven
    assert made.accepted((23,))
    assert not made.accepted((20,))
    assert repr(made) == "<Statement proven '%s'>"
    made.refused = True
    assert repr(made) == "<Statement refused '%s'>"


def test_combinations_of_types_are_kept_within_bounds() -> None:
    made = statement("%s", 1)
    for number in range(1000):
        made.note_accepted((number,))
    assert 10 < sum(made.accepted((number,)) for number in range(1000)) < 200
