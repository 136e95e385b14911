"""Settings of Django's test suite on PostgreSQL: those of its own `test_sqlite.py`, and our databases."""

from __future__ import annotations

import importlib
import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

__all__ = ["ASYNC_BACKEND_DISABLE_POOL_WARNING", "DATABASES", "TEST_RUNNER"]


def _database(variable: str) -> dict[str, Any]:
    given = conninfo_to_dict(os.environ[variable])
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    database: dict[str, Any] = {"ENGINE": os.environ["CONFORMANCE_ENGINE"]}
    database.update({setting: str(given.pop(name)) for name, setting in names.items() if given.get(name)})
    return {**database, "OPTIONS": given} if given else database


DATABASES = {"default": _database("CONFORMANCE_DATABASE"), "other": _database("CONFORMANCE_OTHER_DATABASE")}
TEST_RUNNER = os.environ["CONFORMANCE_RUNNER"]
if TEST_RUNNER.endswith("PlansRunner"):
    TURBO_ORM = {"VERIFY_PLANS": True}

ASYNC_BACKEND_DISABLE_POOL_WARNING = True  # the pool is turbo_orm's, one per event loop

_theirs = vars(importlib.import_module("test_sqlite"))
globals().update({name: _theirs[name] for name in _theirs if name.isupper() and name != "DATABASES"})
