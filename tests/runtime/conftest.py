"""Every runtime test runs on empty tables and may leave no session, thread or transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connections


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


def sessions(observer: psycopg.Connection[Any]) -> list[Any]:
    """The sessions on the test databases, as ``(pid, state, query)``."""
    names = [connections[alias].settings_dict["NAME"] for alias in connections]
    return observer.execute(
        "SELECT pid, state, query FROM pg_stat_activity WHERE datname = ANY(%s)", [names]
    ).fetchall()


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
    connections.close_all()
    if "threads" not in request.keywords:
        assert started == [], "the test started threads"
    # The server notices a closed socket a moment after the client closed it.
    deadline = time.monotonic() + 5
    while left := sessions(observer):
        assert time.monotonic() < deadline, f"the test left sessions behind: {left}"
        time.sleep(0.005)
    for alias in connections:
        _truncate(alias)
    connections.close_all()


def _truncate(alias: str) -> None:
    connection = connections[alias]
    tables = [
        connection.ops.quote_name(model._meta.db_table)
        for model in apps.get_models()
        if model._meta.app_label == "library"
    ]
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
        cursor.execute("DELETE FROM auth_group")
