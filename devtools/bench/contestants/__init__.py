"""The contestants by name; each is imported only in the process that runs it."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from devtools.bench.contestants.base import Contestant, Missing, versions_of

__all__ = [
    "ALIASES",
    "CONTESTANTS",
    "OURS",
    "REFERENCE",
    "Contestant",
    "Entry",
    "Missing",
    "load",
    "versions_of",
]


class Entry(NamedTuple):
    """Where a contestant is, and what tables and charts call it."""

    module: str
    name: str
    title: str


CONTESTANTS = {
    "turbo_orm": Entry("turbo", "Turbo", "turbo_orm"),
    "turbo_no_plans": Entry("turbo", "TurboWithoutPlans", "turbo_orm, plans off"),
    "turbo_multiplexed": Entry("turbo", "TurboMultiplexed", "turbo_orm, multiplexed"),
    "psycopg": Entry("psycopg_pool_", "PsycopgPool", "raw psycopg pool"),
    "asyncpg": Entry("asyncpg_pool", "AsyncpgPool", "raw asyncpg pool"),
    "asyncpg_no_reset": Entry("asyncpg_pool", "AsyncpgPoolWithoutReset", "raw asyncpg, no reset"),
    "django": Entry("django_native", "DjangoNative", "Django native async"),
    "django_async_backend": Entry("async_backend", "AsyncBackend", "django-async-backend"),
    "sqlalchemy_psycopg": Entry("sqlalchemy_", "SQLAlchemyPsycopg", "SQLAlchemy, psycopg"),
    "sqlalchemy_asyncpg": Entry("sqlalchemy_", "SQLAlchemyAsyncpg", "SQLAlchemy, asyncpg"),
    "tortoise": Entry("tortoise_", "Tortoise", "Tortoise"),
    "piccolo": Entry("piccolo_", "Piccolo", "Piccolo"),
}
OURS = "turbo_orm"
#: Ratios are to this one.
REFERENCE = "psycopg"
ALIASES = {
    "ours": ("turbo_orm", "turbo_no_plans", "turbo_multiplexed"),
    "sqlalchemy": ("sqlalchemy_psycopg", "sqlalchemy_asyncpg"),
}


def load(name: str) -> type[Contestant]:
    """Import a contestant. Raises `Missing` when what it needs is not installed."""
    entry = CONTESTANTS[name]
    try:
        module = importlib.import_module(f"devtools.bench.contestants.{entry.module}")
    except ImportError as error:
        raise Missing(f"{error.name or error} is not installed") from None
    found: type[Contestant] = getattr(module, entry.name)
    return found
