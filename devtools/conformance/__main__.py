"""`python -m devtools.conformance`."""

from __future__ import annotations

import sys

from devtools.conformance.cli import main
from devtools.signals import exit_code

if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt as stop:
        sys.exit(exit_code(stop))
