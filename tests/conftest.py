"""A PostgreSQL server, a Django project with its test databases, and what every test leaves."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from devtools.errors import SetupError
from devtools.postgres import server_from_environment

_server = None

# How long an example takes is up to the machine.
settings.register_profile("tests", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    global _server
    try:
        # Statistics that change on their own would change what EXPLAIN says.
        _server = server_from_environment(autovacuum="off")
    except SetupError as error:
        raise pytest.UsageError(str(error)) from None
    os.environ["DATABASE_URL"] = _server.url("postgres")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.project.settings")

    import django

    django.setup()


def pytest_collection_finish(session: pytest.Session) -> None:
    # Tests look for garbage, hundreds of times. Modules and thousands of tests are none, and to look through
    # them takes longer than most tests.
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _server is not None:
        _server.stop()


@pytest.fixture(scope="session")
def django_databases() -> Iterator[None]:
    """Create the test databases with the tables of all installed apps, once."""
    from django.db import connections
    from django.test.utils import setup_databases, teardown_databases

    old = setup_databases(verbosity=0, interactive=False, aliases={"default", "other"})
    connections.close_all()
    yield
    teardown_databases(old, verbosity=0)
    connections.close_all()
