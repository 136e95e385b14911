"""The demo as a person starts it, on little data."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import psycopg
import pytest

from devtools.demo import main, requests
from devtools.demo.client import Answer
from devtools.demo.console import Console
from devtools.demo.project import TypeCheck
from devtools.postgres import Postgres
from tests.setup.processes import children

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def databases(server: Postgres) -> list[str]:
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'turbo_demo%'"
        ).fetchall()
    return [name for (name,) in rows]


class Demo(Protocol):
    def __call__(self, server: Postgres | None, *arguments: str) -> subprocess.Popen[str]: ...


@pytest.fixture
def demo() -> Iterator[Demo]:
    """Start the demo on a server, or on one of its own; it ends with the test."""
    processes = []

    def start(server: Postgres | None, *arguments: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        environment["PYTHONUNBUFFERED"] = "1"
        if server is not None:
            environment["DATABASE_URL"] = server.url()
        process = subprocess.Popen(
            [sys.executable, "-m", "devtools.demo", *arguments],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=60)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said = ""
    while text not in said:
        line = process.stdout.readline()
        assert line, f"the demo ended: {said} {process.stderr and process.stderr.read()}"
        said += line
    return said


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def assert_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 20
    while left := [pid for pid in pids if runs(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_it_runs_the_main_job_on_the_server_it_is_given_and_serves_until_ctrl_c(
    server: Postgres, demo: Demo
) -> None:
    process = demo(server, "--rows", "1500", "--port", "0")
    said = read_until(process, "until Ctrl-C")
    assert "views checked: no errors" in said
    assert "titel__icontains=...) is refused: Unexpected keyword argument" in said
    assert "100 right" in said
    assert "Everything answered right." in said
    assert "WRONG" not in said
    address = re.search(r"Serving at (\S+)", said)
    assert address is not None
    with urllib.request.urlopen(address[1], timeout=20) as response:
        assert b"The book shop" in response.read()
    assert len(databases(server)) == 1
    started = children(process.pid)
    assert started
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert_gone(started)
    assert databases(server) == []


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_leaves_nothing(server: Postgres, demo: Demo, signum: int, code: int) -> None:
    process = demo(server, "--once", "--rows", "1500")
    read_until(process, "[2/6]")
    time.sleep(1)
    started = children(process.pid)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.splitlines()[-1] == "demo: interrupted; the database and the servers are gone."
    assert_gone(started)
    assert databases(server) == []


def test_a_port_in_use_is_one_sentence(demo: Demo) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = demo(None, "--port", str(port))
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert errors == (
        f"demo: Port {port} can't be used (Address already in use): "
        "name a free one with --port, or stop what uses it.\n"
    )


def test_a_server_that_does_not_answer_is_one_sentence(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Postgres, "url", lambda self, database=None: "postgresql://a:b@127.0.0.1:1/x")
    process = demo(Postgres(), "--once")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(r"demo: The server of DATABASE_URL \(127\.0\.0\.1:1\) does not answer: .*\n", errors)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Answer(200, '{"a": 1}', 5), None),
        (Answer(200, '{"a": 2}', 5), "a is 2"),
        (Answer(500, '{"a": 1}', 5), "status 500, not 200"),
        (Answer(0, "connection refused", 5), "status 0, not 200"),
        (Answer(200, "<html>", 5), "not the expected kind of answer: JSONDecodeError"),
        (Answer(200, "{}", 5), "not the expected kind of answer: KeyError('a')"),
    ],
)
def test_a_wrong_answer_is_named(answer: Answer, wrong: str | None) -> None:
    def compare(body: str) -> str | None:
        a = json.loads(body)["a"]
        return None if a == 1 else f"a is {a}"

    found = requests._what_is_wrong(SimpleNamespace(status=200, wrong=compare), answer)
    assert (found and found[: len(wrong or "")]) == wrong


@pytest.mark.parametrize(
    ("errors", "rejection", "wrong_answers", "code"),
    [([], "refused", 0, 0), ([], "refused", 1, 1), (["error"], "refused", 0, 1), ([], None, 0, 1)],
)
def test_the_exit_code_says_whether_everything_was_right(
    monkeypatch: pytest.MonkeyPatch, errors: list[str], rejection: str | None, wrong_answers: int, code: int
) -> None:
    class Web(nullcontext[None]):
        address = "http://127.0.0.1:1"

    project = SimpleNamespace(manage=print, check_types=lambda: TypeCheck(1, errors, rejection))
    monkeypatch.setattr(main.WebServer, "start", lambda project, port: Web())
    monkeypatch.setattr(main, "request_views", lambda console, project, web: wrong_answers)
    options = main._parse(["--once"])
    assert main._run_project(Console(6), options, project, 1) == code


def test_a_database_that_dies_is_one_sentence(demo: Demo) -> None:
    with Postgres() as server:
        process = demo(server, "--once", "--rows", "1500")
        read_until(process, "[2/6]")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    *_, cause, left = errors.splitlines()
    assert cause.startswith("demo: The database turbo_demo_")
    assert left.startswith(("demo: manage.py ", "demo: The database stopped answering"))
