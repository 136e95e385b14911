"""What an editor offers while a query is written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from devtools.types.completion import PROBES, complete

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("pyright") is None, reason="pyright is not installed in this environment"
    ),
]


@pytest.fixture(scope="module")
def offered(bookshop: Path) -> dict[str, list[str]]:
    return complete(bookshop, [*PROBES, "Book.objects.nowhere|"])


@pytest.mark.parametrize("line", PROBES)
def test_names_are_offered_at_the_bar(line: str, offered: dict[str, list[str]]) -> None:
    assert set(PROBES[line]) <= set(offered[line])


def test_no_name_of_another_model_is_offered(offered: dict[str, list[str]]) -> None:
    assert "username=" not in offered["Book.objects.filter(|)"]
    assert '"username"' not in offered['Book.objects.order_by("|")']
    assert offered["Book.objects.nowhere|"] == []
