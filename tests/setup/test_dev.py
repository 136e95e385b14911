from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools.bootstrap.commands import COMMANDS
from devtools.bootstrap.pythons import find_pythons, pyenv_folders
from tests.setup.processes import mentioning

ROOT = Path(__file__).resolve().parents[2]
Program = Callable[[str, str], Path]


def dev(
    *arguments: str, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(ROOT / "dev.py"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_a_command_it_lists_them() -> None:
    result = dev()
    assert result.returncode == 2
    assert all(f"  {name:<12}{command.help}" in result.stderr for name, command in COMMANDS.items())


def test_help_is_no_error() -> None:
    result = dev("--help")
    assert (result.returncode, result.stdout[:6]) == (0, "usage:")


@pytest.mark.parametrize("name", ["lint", "pgbouncer"])
def test_a_command_that_takes_no_arguments_refuses_them(name: str) -> None:
    line = [sys.executable, "-m", COMMANDS[name].module, "turbo_orm"]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"dev.py {name}: error: unrecognized arguments: turbo_orm" in result.stderr


def test_it_lists_the_pythons_that_run() -> None:
    expected = [f"{version[0]}.{version[1]} {path}" for version, path in find_pythons()]
    assert sys.executable in dev("pythons").stdout
    assert set(dev("pythons", python=expected[0].split()[1]).stdout.splitlines()) == set(expected)


def test_a_machine_without_a_new_python_gets_one_sentence() -> None:
    result = dev("test", TURBO_DEV_PYTHON="/nowhere/python3")
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        (
            "dev.py: TURBO_DEV_PYTHON=/nowhere/python3 is not a working CPython 3.10 or newer: "
            "correct or unset it."
        )
    ]


def old_pythons() -> list[str]:
    folders = {Path(folder).parents[1] for folder in pyenv_folders()}
    found = [str(path) for folder in folders for path in folder.glob("[23].[0-9].*/bin/python")]
    return sorted(found)


@pytest.mark.parametrize("python", old_pythons())
def test_an_old_python_gets_a_sentence_or_finds_a_newer_one(python: str) -> None:
    result = dev("pythons", python=python)
    if result.returncode == 0:
        assert f"{sys.version_info[0]}.{sys.version_info[1]} " in result.stdout
    else:
        assert result.stderr.count("\n") == 1
        assert "too old to start: run `python3.10 dev.py` or newer" in result.stderr


@pytest.fixture
def prepared(tmp_path: Path, program: Program) -> dict[str, str]:
    """A TURBO_DEV_FOLDER of the test's own, with a uv that takes its time and a record of having done so."""
    slow_uv = program(
        "bin/uv",
        f'test "$1" = --version && {{ echo "uv 0.99.0"; exit; }}\ntouch {tmp_path}/installing; exec sleep 60',
    )
    return {
        "TURBO_DEV_FOLDER": str(tmp_path / "dev"),
        "TURBO_DEV_PYTHON": sys.executable,
        "UV": str(slow_uv),
    }


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_installing_leaves_nothing(
    prepared: dict[str, str], tmp_path: Path, signum: int, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "dev.py"), "test"],
        env={**os.environ, **prepared},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "installing").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signum)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert said.splitlines()[-1] == "dev.py: interrupted while setting up; nothing half-made was left."
    assert os.listdir(tmp_path / "dev") == ["lock"]
    assert mentioning(str(tmp_path)) == []


def test_no_network_is_one_sentence(prepared: dict[str, str], program: Program, tmp_path: Path) -> None:
    offline = program(
        "bin/uv",
        'test "$1" = --version && { echo "uv 0.99.0"; exit; }\n'
        'test "$2" = venv && exit\n'
        'echo "error: Failed to fetch\n  cause: dns error" >&2; exit 2',
    )
    result = dev("test", **{**prepared, "UV": str(offline)})
    assert result.returncode == 1
    assert result.stderr.splitlines()[1:] == [
        (
            "dev.py: uv could not install the packages, error: Failed to fetch cause: dns error: "
            "check the network (or the package index) and run this again."
        )
    ]
    assert os.listdir(tmp_path / "dev") == ["lock"]


def test_the_command_takes_over_process_arguments_and_exit_code(
    prepared: dict[str, str], program: Program, tmp_path: Path
) -> None:
    """The installed Python here only says what it was called with."""
    folder = tmp_path / "dev" / f"venv-{sys.version_info[0]}.{sys.version_info[1]}"
    stand_in = f"mkdir -p {folder}/bin; printf '#!/bin/sh\\necho \"$$ $*\"; exit 7\\n' > {folder}/bin/python"
    ready = program(
        "bin/uv",
        f'test "$1" = --version && {{ echo "uv 0.99.0"; exit; }}\n'
        f'test "$2" = venv && {{ {stand_in}; chmod +x {folder}/bin/python; }}\nexit 0',
    )
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "dev.py"), "test", "-k", "a b"],
        env={**os.environ, **prepared, "UV": str(ready)},
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=30)
    assert said == f"{process.pid} -m pytest -k a b\n"
    assert process.returncode == 7
