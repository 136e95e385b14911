from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from devtools.errors import SetupError
from devtools.postgres import (
    Binaries,
    ExternalServer,
    Postgres,
    create_database,
    drop_database,
    find_binaries,
    server_from_environment,
)
from devtools.postgres import binaries as binaries_module
from devtools.postgres import workspace as workspace_module

ROOT = Path(__file__).resolve().parents[2]
Program = Callable[[str, str], Path]


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have servers make their folders here, where the server's user may enter too."""
    for folder in [tmp_path, *tmp_path.parents]:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    base = tmp_path / "base"
    base.mkdir(mode=0o755)
    monkeypatch.setattr(workspace_module, "_base_folder", lambda: base)
    return base


def gone(pid: int) -> bool:
    """Tell whether a process has ended, waiting a little for it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_it_answers_and_forgets_everything_when_it_stops(base: Path) -> None:
    with Postgres() as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        pid = server.process_id
        assert [folder.name[:9] for folder in base.iterdir()] == ["turbo-pg-"]
        connection.close()
    assert gone(pid)
    assert list(base.iterdir()) == []
    server.stop()
    assert repr(server) == "<Postgres stopped>"


def test_it_is_set_up_for_tests(server: Postgres) -> None:
    with psycopg.connect(server.url()) as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
        upper = connection.execute("SELECT upper('é')").fetchone()
    assert settings["max_connections"] == "300"
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["fsync"] == "off"
    assert upper == ("É",)


def test_it_does_not_let_anyone_in_without_the_password(server: Postgres) -> None:
    address = server.url().replace(server.url().split(":")[2].split("@")[0], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address)


def test_settings_can_be_given(base: Path) -> None:
    with Postgres(max_connections="17") as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("17",)


def test_databases_are_made_and_dropped_with_sessions_in_them(server: Postgres) -> None:
    url = create_database(server, "some name")
    with psycopg.connect(url) as connection:
        assert connection.info.dbname == "some name"
        drop_database(server, "some name")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    drop_database(server, "some name")


def test_a_forked_child_leaves_the_server_alone(server: Postgres) -> None:
    child = os.fork()
    if child == 0:
        server.stop()
        os._exit(0)
    os.waitpid(child, 0)
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


class TestSignals:
    """However its program ends, no server and no folder stay."""

    SCRIPT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
from devtools.postgres import server_from_environment, workspace
workspace._base_folder = lambda: Path(sys.argv[1])
server = server_from_environment()
print(server.process_id, flush=True)
time.sleep(60)
"""

    def start(self, base: Path) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, str(base)],
            env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, process.communicate(timeout=30)[1]
        return process, int(told)

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_stops_the_server(self, base: Path, signum: int) -> None:
        process, server = self.start(base)
        process.send_signal(signum)
        _, said = process.communicate(timeout=30)
        assert ("KeyboardInterrupt" if signum == signal.SIGINT else "Terminated") in said
        assert gone(server)
        assert list(base.iterdir()) == []

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
    def test_the_server_follows_a_killed_program_and_the_next_one_tidies_up(self, base: Path) -> None:
        process, server = self.start(base)
        process.kill()
        process.communicate()
        assert gone(server)
        (left,) = base.iterdir()
        with Postgres():
            assert not left.exists()
        assert list(base.iterdir()) == []

    def test_a_folder_in_use_is_not_tidied_up(self, base: Path) -> None:
        with Postgres() as first, Postgres(), psycopg.connect(first.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert len(list(base.iterdir())) == 2


class TestChoice:
    """DATABASE_URL, then the system's binaries, then the wheel's."""

    def test_the_address_given_is_used_and_not_stopped(
        self, server: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", server.url("postgres"))
        with server_from_environment() as chosen:
            assert isinstance(chosen, ExternalServer)
            assert chosen.url() == server.url("postgres")
            assert chosen.url("other") == server.url("other")
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

    def test_the_password_is_not_shown(self, server: Postgres) -> None:
        password = server.url().split(":")[2].split("@")[0]
        chosen = ExternalServer(server.url())
        assert password not in repr(chosen) + chosen.description
        assert "127.0.0.1" in repr(chosen)

    def test_settings_of_libpq_do_not_leak_into_a_private_server(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "")
        for name, value in {
            "PGHOST": "/nowhere",
            "PGPORT": "1",
            "PGDATA": "/x",
            "PGSSLMODE": "require",
        }.items():
            monkeypatch.setenv(name, value)
        with server_from_environment() as private, psycopg.connect(private.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

    @pytest.mark.parametrize(
        ("address", "sentence"),
        [
            (
                "postgresql://a:secret@127.0.0.1:1/x",
                r"\(127\.0\.0\.1:1\) does not answer: .*Connection refused\.",
            ),
            ("mysql://a:secret@localhost/x", "DATABASE_URL is not a PostgreSQL address"),
            ("nonsense", "DATABASE_URL is not a PostgreSQL address"),
        ],
    )
    def test_an_address_that_does_not_answer_is_one_sentence(
        self, monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", address)
        with pytest.raises(SetupError, match=sentence) as error:
            server_from_environment()
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_user_who_may_not_make_databases_is_one_sentence(self, server: Postgres) -> None:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        guest = ExternalServer(server.url().replace(server.url().split("//")[1].split("@")[0], "guest:guest"))
        with pytest.raises(SetupError, match="may not create databases: grant it CREATEDB"):
            create_database(guest, "forbidden")

    def test_binaries_named_by_hand_come_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TURBO_PG_BIN", str(find_binaries().folder))
        assert find_binaries().source == "TURBO_PG_BIN"

    def test_old_and_broken_binaries_are_passed_over(
        self, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program("old/initdb", "exit 0")
        program("old/postgres", "echo 'postgres (PostgreSQL) 14.9'")
        monkeypatch.setenv("TURBO_PG_BIN", str(tmp_path / "old"))
        found = find_binaries()
        assert found.source != "TURBO_PG_BIN"
        assert found.major >= 15

    def test_a_machine_without_postgresql_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(binaries_module, "_candidates", lambda: iter([("system", Path("/nowhere"))]))
        with pytest.raises(SetupError, match="No PostgreSQL 15 or newer was found here"):
            Postgres().start()

    def test_the_wheels_binaries_work(self, base: Path) -> None:
        embedded = [folder for source, folder in binaries_module._candidates() if source == "embedded"]
        found = Binaries("embedded", embedded[0], binaries_module._major(embedded[0]))
        with Postgres(binaries=found) as server, psycopg.connect(server.url()) as connection:
            assert connection.info.server_version // 10_000 == found.major
            assert connection.execute("SELECT upper('é')").fetchone() == ("É",)


class TestFailures:
    """Each is one sentence, and leaves no folder."""

    def test_a_full_disk_is_noticed_before_anything_starts(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(base)
        monkeypatch.setattr(workspace_module.shutil, "disk_usage", lambda path: usage._replace(free=2**20))
        with pytest.raises(SetupError, match=r"No disk space: .* has 1 MB free"):
            Postgres().start()
        assert list(base.iterdir()) == []

    def test_an_initdb_that_fails(self, base: Path, program: Program, tmp_path: Path) -> None:
        program("bin/initdb", "echo 'initdb: error: no luck' >&2; exit 1")
        program("bin/postgres", "exit 1")
        with pytest.raises(SetupError, match=r"initdb could not make the private PostgreSQL: .*no luck"):
            Postgres(binaries=Binaries("test", tmp_path / "bin", 17)).start()
        assert list(base.iterdir()) == []

    def test_a_server_that_dies_at_once(self, base: Path) -> None:
        with pytest.raises(SetupError, match=r"The private PostgreSQL did not start: .*no_such_setting"):
            Postgres(no_such_setting="1").start()
        assert list(base.iterdir()) == []

    def test_a_port_taken_meanwhile_is_tried_again(
        self, base: Path, server: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from devtools.postgres import private

        taken = int(server.url().rpartition(":")[2].partition("/")[0])
        free = private._free_port()
        ports = iter([taken, free])
        monkeypatch.setattr(private, "_free_port", lambda: next(ports))
        with Postgres() as second:
            assert second.url().endswith(f":{free}/postgres")

    def test_a_server_started_twice(self, server: Postgres) -> None:
        with pytest.raises(RuntimeError, match="already running"):
            server.start()
