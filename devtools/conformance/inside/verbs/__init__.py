"""Sends what a test calls synchronously through the public async verbs: `get()` to `aget()` and so on."""

from __future__ import annotations

from devtools.conformance.inside.verbs import managers, redirects

__all__ = ["install"]


def install() -> None:
    """Prepare the process, before the tests' models are imported."""
    managers.install()
    redirects.install()
