"""``python -m devtools.types``: what `python3 dev.py types` runs."""

from __future__ import annotations

import sys

from devtools.types.table import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
