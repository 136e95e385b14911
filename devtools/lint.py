"""`python3 dev.py lint`: every static check, each with its own heading."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
_CHECKS = {
    "ruff check": (ROOT, ["ruff", "check", "."]),
    "ruff format": (ROOT, ["ruff", "format", "--check", "."]),
    "mypy": (ROOT, ["mypy"]),
    "mypy, the example": (ROOT / "example", ["mypy", "shop", "config", "manage.py"]),
    "pyright": (ROOT, ["pyright"]),
}


def main() -> int:
    """Run all checks, whatever the earlier ones said, and return 1 if any found something."""
    argparse.ArgumentParser(
        prog="dev.py lint", description=f"Checks everything: {', '.join(_CHECKS)}."
    ).parse_args()
    failed = []
    for name, (folder, (module, *arguments)) in _CHECKS.items():
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", module, *arguments], cwd=folder, check=False).returncode:
            failed.append(name)
    print(f"{len(_CHECKS) - len(failed)} checks passed, {len(failed)} failed {failed or ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
