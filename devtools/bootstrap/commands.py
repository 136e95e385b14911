"""The commands of `dev.py`: what each one installs and runs."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMANDS", "Command", "usage"]


class Command(NamedTuple):
    """Dependency groups of pyproject.toml, the module to run, its first arguments, and a line of help."""

    groups: tuple[str, ...]
    module: str
    arguments: tuple[str, ...]
    help: str


COMMANDS = {
    "demo": Command(
        ("demo",), "devtools.demo", (), "run the example project on a private PostgreSQL and serve it"
    ),
    "test": Command(
        ("dev",), "pytest", (), "run the tests on a private PostgreSQL; takes pytest's arguments"
    ),
    "matrix": Command(("matrix",), "nox", (), "run the tests over Pythons and Djangos (nox)"),
    "conformance": Command(
        ("demo",), "devtools.conformance", (), "run Django's own tests through turbo_orm, and compare"
    ),
    "types": Command(("types",), "devtools.types", (), "type checkers over the generated types, as a table"),
    "pgbouncer": Command(
        ("dev",), "devtools.pgbouncer", (), "fetch PgBouncer for the tests which need one, where apt is"
    ),
    "bench": Command(
        ("bench",), "devtools.bench", (), "what turbo_orm costs beside its peers; tables and charts"
    ),
    "lint": Command(("dev",), "devtools.lint", (), "ruff, mypy and pyright"),
}


def usage() -> str:
    lines = ["usage: python3 dev.py COMMAND [its arguments]", ""]
    lines += [f"  {name:<12}{command.help}" for name, command in COMMANDS.items()]
    lines += [
        "  pythons     list the Pythons of this machine",
        "",
        "DATABASE_URL=postgresql://...  use that server instead of a private one",
        "TURBO_DEV_PYTHON=/path/python  use that Python (3.10 or newer)",
    ]
    return "\n".join(lines)
