#!/usr/bin/env python3
"""Everything there is to do in this checkout: `python3 dev.py demo`, `python3 dev.py test`.

Needs nothing but a Python. The work is in `devtools/bootstrap`; this file stays readable for any Python,
so that an old one gets a sentence instead of a syntax error.
"""

import sys

if sys.version_info < (3, 7):
    sys.exit(
        "dev.py: this Python is %d.%d, too old to start: run `python3.10 dev.py` or newer."
        % sys.version_info[:2]
    )

from devtools.bootstrap.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
