"""`python -m devtools.demo`."""

import sys

from devtools.demo.main import main

sys.exit(main())
