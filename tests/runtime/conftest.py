"""Every runtime test runs on empty tables and may leave no session, thread or transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connections
from django.db.models import prefetch_related_objects
from django.utils import timezone

from turbo_orm import run_sync
from turbo_orm.bridge import handler


@pytest.fixture(scope="session")
def observer(django_databases: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the server, but to none of the databases under test."""
    params = connections["default"].get_connection_params()
    with psycopg.connect(
        dbname="postgres",
        host=params["host"],
        port=params["port"],
        user=params["user"],
        password=params.get("password"),
        autocommit=True,
    ) as conn:
        yield conn


@pytest.fixture(scope="session")
def janitors(django_databases: None) -> Iterator[list[psycopg.Connection[Any]]]:
    """A connection to each test database that empties it after each test."""
    params = [connections[alias].get_connection_params() for alias in connections]
    keys = ("dbname", "host", "port", "user", "password")
    janitors = [
        psycopg.connect(
            **{key: each[key] for key in keys if key in each},
            autocommit=True,
            application_name=JANITOR,
            options="-c lock_timeout=5s",
        )
        for each in params
    ]
    yield janitors
    for janitor in janitors:
        janitor.close()


@pytest.fixture(params=["on the wire", "declared"])
def begin(request: pytest.FixtureRequest) -> Callable[[], Awaitable[None]]:
    """The first thing in a block: a row, and Django's wrapper or none."""
    from tests.project.library.models import Author

    async def begin() -> None:
        await Author.objects.acreate(name="first")
        if request.param == "declared":
            await run_sync(Author.objects.count)

    return begin


#: How the janitors' sessions are told from those a test left behind.
JANITOR = "turbo-tests-janitor"


def sessions(observer: psycopg.Connection[Any]) -> list[Any]:
    """The sessions on the test databases, as ``(pid, state, query)``."""
    names = [connections[alias].settings_dict["NAME"] for alias in connections]
    return observer.execute(
        "SELECT pid, state, query FROM pg_stat_activity WHERE datname = ANY(%s) AND application_name <> %s",
        [names, JANITOR],
    ).fetchall()


def asleep(observer: psycopg.Connection[Any]) -> int:
    """How many sessions on the test databases are in ``pg_sleep()``."""
    names = [connections[alias].settings_dict["NAME"] for alias in connections]
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY(%s) AND wait_event = 'PgSleep'"
    row = observer.execute(sql, [names]).fetchone()
    assert row is not None
    return int(row[0])


def terminate(observer: psycopg.Connection[Any], *pids: int) -> None:
    """End these sessions; when this returns, their processes are gone, and with them their sockets."""
    terminating = "SELECT pg_terminate_backend(pid, 30000) FROM unnest(%s::int[]) AS pid"
    assert all(ended for (ended,) in observer.execute(terminating, [list(pids)]).fetchall())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # What is set up first is torn down last: after pytest-asyncio has closed the loop.
    names = getattr(item, "fixturenames", [])
    if "_tidy" in names:
        names.remove("_tidy")
        names.insert(0, "_tidy")


@pytest.fixture(autouse=True)
def _tidy(
    observer: psycopg.Connection[Any],
    empty_tables: Callable[[], None],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    started: list[str] = []
    start = threading.Thread.start

    def recording_start(self: threading.Thread) -> None:
        started.append(self.name)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", recording_start)
    yield
    monkeypatch.undo()
    # asgiref brings what async code has set in its context back to this one, that of all tests.
    handler._touched.set(False)
    connections.close_all()
    if "threads" not in request.keywords:
        assert started == [], "the test started threads"
    # The server notices a closed socket a moment after the client closed it.
    deadline = time.monotonic() + 5
    while left := sessions(observer):
        if time.monotonic() > deadline:
            # They would also fail the tests that follow.
            pids = [pid for pid, *_ in left]
            observer.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [pids])
            pytest.fail(f"the test left sessions behind: {left}")
        time.sleep(0.005)
    empty_tables()


@pytest.fixture(scope="session")
def empty_tables(janitors: list[psycopg.Connection[Any]]) -> Callable[[], None]:
    def empty() -> None:
        for janitor in janitors:
            janitor.execute(_emptying())

    return empty


@lru_cache(maxsize=1)
def _emptying() -> str:
    """One round trip of DELETEs: on small tables much faster than TRUNCATE."""
    library = [model for model in apps.get_models() if model._meta.app_label == "library"]
    through = [field.remote_field.through for model in library for field in model._meta.local_many_to_many]
    tables = {model._meta.db_table for model in (*library, *through)}
    statements = [f'DELETE FROM "{table}"' for table in sorted(tables | {"auth_group"})]
    # Constraints are checked at the end, as Django declares them DEFERRABLE.
    statements.append(
        "SELECT setval(oid::regclass, 1, false) FROM pg_class"
        " WHERE relkind = 'S' AND (relname LIKE 'library\\_%' OR relname LIKE 'auth\\_group\\_%')"
    )
    return f"BEGIN; {'; '.join(statements)}; COMMIT"


@pytest.fixture
def by_django(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lookups Django prefetched, in the bridge."""
    from turbo_orm.prefetching import lookups as following

    lookups: list[str] = []

    def noting(instances: Any, *names: str) -> None:
        lookups.extend(names)
        prefetch_related_objects(instances, *names)

    monkeypatch.setattr(following, "prefetch_related_objects", noting)
    return lookups


@pytest.fixture
def frozen_now(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.runtime.parity.data import NOW

    monkeypatch.setattr(timezone, "now", lambda: NOW)
