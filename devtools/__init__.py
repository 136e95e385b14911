"""Tools for working on this checkout: the private PostgreSQL and the demo. Not shipped in the wheel."""
