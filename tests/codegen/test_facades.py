"""Which apps get a facade."""

from __future__ import annotations

import os

import pytest

from turbo_orm.codegen.facades import find_facades
from turbo_orm.codegen.options import Options


def test_apps_in_folders_which_cannot_be_written_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `--check` finds stale facades in a container of somebody else's."""
    everything = set(find_facades(Options()))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert set(find_facades(Options())) == everything
    assert "library" in everything
