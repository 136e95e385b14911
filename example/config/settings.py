"""Settings of the book shop: what a project needs to use django-turbo-orm, and little else."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import django
from psycopg.conninfo import conninfo_to_dict

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "the example project keeps no secrets"
DEBUG = os.environ.get("SHOP_DEBUG") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "turbo_orm",
    "shop",
]
# Django's own middlewares are synchronous inside and would send every request through a thread.
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "config.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

AUTH_USER_MODEL = "shop.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

# django-async-backend needs Django 6 and Python 3.12; Django's own engine works as well.
HAS_ASYNC_BACKEND = django.VERSION >= (6, 0) and importlib.util.find_spec("django_async_backend") is not None
POOL = {"min_size": 5, "max_size": 20, "timeout": 10}
# It warns that synchronous code shares no pool with asynchronous code. Here only commands are synchronous.
ASYNC_BACKEND_DISABLE_POOL_WARNING = True


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for a `postgresql://` address."""
    parts: dict[str, Any] = dict(conninfo_to_dict(url))
    settings = {
        name: parts.pop(part, "")
        for name, part in (
            ("NAME", "dbname"),
            ("USER", "user"),
            ("PASSWORD", "password"),
            ("HOST", "host"),
            ("PORT", "port"),
        )
    }
    if HAS_ASYNC_BACKEND:
        parts["pool"] = POOL
        return {"ENGINE": "django_async_backend.db.backends.postgresql", "OPTIONS": parts, **settings}
    return {"ENGINE": "django.db.backends.postgresql", "OPTIONS": parts, **settings}


DATABASES = {"default": database(os.environ.get("DATABASE_URL", "postgresql:///bookshop"))}
if not HAS_ASYNC_BACKEND:
    # Django before 5.1 takes no OPTIONS["pool"]; this is where the pool's size is set for it.
    TURBO_ORM = {"POOL": POOL}
