"""Settings of Django's test suite on PostgreSQL; see `tests/test_sqlite.py` of its source distribution."""

from __future__ import annotations

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

__all__ = ["DATABASES", "DEFAULT_AUTO_FIELD", "PASSWORD_HASHERS", "SECRET_KEY", "TEST_RUNNER", "USE_TZ"]


def _database(variable: str) -> dict[str, Any]:
    given = conninfo_to_dict(os.environ[variable])
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    database: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql"}
    database.update({setting: str(given.pop(name)) for name, setting in names.items() if given.get(name)})
    return {**database, "OPTIONS": given} if given else database


DATABASES = {"default": _database("CONFORMANCE_DATABASE"), "other": _database("CONFORMANCE_OTHER_DATABASE")}
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = os.environ["CONFORMANCE_RUNNER"]
