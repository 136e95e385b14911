"""Settings of the project the runtime tests run in.

`DATABASE_URL` names the server. `TURBO_TEST_ENGINE` is `django` or `async_backend`
(default: the latter where django-async-backend is installed).
"""

from __future__ import annotations

import importlib.util
import json
import os
from typing import Any
from urllib.parse import unquote, urlsplit

ENGINES = {
    "django": "django.db.backends.postgresql",
    "async_backend": "django_async_backend.db.backends.postgresql",
}

_url = urlsplit(os.environ["DATABASE_URL"])
_engine = os.environ.get("TURBO_TEST_ENGINE") or (
    "async_backend" if importlib.util.find_spec("django_async_backend") else "django"
)


def _database(test_name: str) -> dict[str, Any]:
    return {
        "ENGINE": ENGINES[_engine],
        "NAME": _url.path.lstrip("/") or "postgres",
        "USER": unquote(_url.username or ""),
        "PASSWORD": unquote(_url.password or ""),
        "HOST": _url.hostname or "",
        "PORT": str(_url.port or ""),
        "TEST": {"NAME": f"test_turbo_{test_name}_{os.getpid()}"},
    }


DATABASES = {"default": _database("main"), "other": _database("other")}
# A server started by a test uses the databases of that test run.
for _alias, _name in json.loads(os.environ.get("TURBO_TEST_DATABASES", "{}")).items():
    DATABASES[_alias]["NAME"] = _name
# Django before 5.1 takes no pool options in DATABASES.
TURBO_ORM = {"POOL": {"min_size": 2, "max_size": 20, "timeout": 10}}

# The sync side of these tests needs no pool of django-async-backend's making.
ASYNC_BACKEND_DISABLE_POOL_WARNING = True

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "turbo_orm",
    "tests.project.library",
]
if _engine == "async_backend":
    INSTALLED_APPS.append("django_async_backend")

# Tables straight from the models: faster, and `library` has no migrations to depend on.
MIGRATION_MODULES = {"auth": None, "contenttypes": None, "sessions": None}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.project.urls"
SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
