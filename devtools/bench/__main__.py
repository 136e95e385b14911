"""``python -m devtools.bench``: what `python3 dev.py bench` runs."""

from __future__ import annotations

import sys

from devtools.bench.cli import main
from devtools.errors import SetupError
from devtools.signals import exit_code

if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetupError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt as stop:
        sys.exit(exit_code(stop))
