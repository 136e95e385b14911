"""Real servers, in processes of their own: they serve, stop when told, and leave no session."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psycopg
import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connections

from tests.project.library.models import Author
from tests.runtime.conftest import sessions
from turbo_orm.db import loop_pools

pytestmark = pytest.mark.threads  # requests are sent from threads

APP = "tests.project.asgi:application"

SERVERS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn, asyncio": lambda port: ["uvicorn", APP, "--port", str(port), "--loop", "asyncio"],
    "uvicorn, uvloop": lambda port: ["uvicorn", APP, "--port", str(port), "--loop", "uvloop"],
    "granian, asgi": lambda port: ["granian", "--interface", "asgi", "--port", str(port), APP],
    "granian, asginl": lambda port: ["granian", "--interface", "asginl", "--port", str(port), APP],
    "hypercorn": lambda port: ["hypercorn", "--bind", f"127.0.0.1:{port}", APP],
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def environment() -> dict[str, str]:
    """The servers use the databases of the tests."""
    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "TURBO_TEST_DATABASES": json.dumps(names),
        "PYTHONWARNINGS": "default::ResourceWarning",
    }


def get(port: int, path: str) -> Any:
    with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as response:
        return json.load(response)


@contextmanager
def serving(command: list[str], port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline, "the server did not answer in time"
                time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def settles(observer: psycopg.Connection[Any]) -> bool:
    for _ in range(500):
        if not sessions(observer):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_asgi_server(name: str, observer: psycopg.Connection[Any]) -> None:
    Author.objects.create(name="Ada")
    connections.close_all()
    port = free_port()
    with serving(SERVERS[name](port), port) as process:
        answer = get(port, "authors")
        assert (answer["counts"], answer["names"]) == ([1] * 10, ["Ada"])

        with ThreadPoolExecutor(20) as clients:
            pids = {each["pid"] for each in clients.map(lambda _: get(port, "pid"), range(40))}
            written = list(clients.map(lambda n: get(port, f"write?name=author{n}"), range(40)))
        assert 1 < len(pids) <= 20
        assert len({each["pk"] for each in written}) == 40

        with pytest.raises(HTTPError) as failed:
            get(port, "fail")
        failed.value.close()
        assert failed.value.code == 500
        assert len(get(port, "authors")["names"]) == 41

        os.kill(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGTERM), output
    assert "ResourceWarning" not in output
    assert "Task was destroyed" not in output
    assert settles(observer)


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def wsgi_port() -> Iterator[int]:
    """What `manage.py runserver` does without an ASGI server: a loop for each request."""
    server: WSGIServer = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_wsgi_leaves_no_pool_session_or_thread(
    wsgi_port: int, observer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest would keep the logged error, its frames, and so asgiref's executor with its thread.
    monkeypatch.setattr(logging.getLogger("django.request"), "disabled", True)
    Author.objects.create(name="Ada")
    connections.close_all()
    get(wsgi_port, "authors")
    gc.collect()
    before = threading.active_count()
    for number in range(10):
        get(wsgi_port, f"write?name=author{number}")
        with pytest.raises(HTTPError) as failed:
            get(wsgi_port, "fail")
        failed.value.close()
        assert get(wsgi_port, "authors")["counts"] == [number + 2] * 10
    # A thread of asgiref's ends a moment after the executor that had it was collected.
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert threading.active_count() <= before
    assert [loop for loop in loop_pools._loops if not loop.is_closed()] == []
    assert settles(observer)
