"""Start Django's `runtests.py`, in verbs mode on models that have an `AsyncManager`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Expect the mode, then the arguments of `runtests.py`, which is in the current folder."""
    mode, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    if mode in {"verbs", "plans"}:
        from devtools.conformance.inside.verbs import install

        install()
    script = Path("runtests.py").resolve()
    sys.argv[0] = str(script)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
