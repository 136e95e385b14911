from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools.bootstrap import pythons
from devtools.bootstrap.pythons import Python, choose_python, find_pythons, pyenv_folders
from devtools.errors import SetupError

Program = Callable[[str, str], Path]


def python_that_says(program: Program, name: str, version: str, usual: str = "True") -> str:
    return str(program(name, f"echo {version.replace('.', ' ')} {usual}"))


@pytest.fixture
def candidates(plain_environment: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the machine consist of these Pythons only."""

    def only(*paths: str) -> None:
        plain_environment.setattr(pythons, "_candidates", lambda: iter(paths))

    return only


def test_the_running_python_is_found() -> None:
    assert Python((sys.version_info[0], sys.version_info[1]), sys.executable) in list(find_pythons())


def test_a_shim_that_exists_and_does_not_run_is_skipped(
    program: Program, candidates: Callable[..., None]
) -> None:
    shim = str(program("shims/python3.12", "exit 127"))
    real = python_that_says(program, "real/python3.12", "3.12")
    candidates(shim, real)
    assert list(find_pythons()) == [Python((3, 12), real)]


def test_prereleases_and_other_implementations_are_skipped(
    program: Program, candidates: Callable[..., None]
) -> None:
    candidates(python_that_says(program, "pypy3", "3.11", "False"))
    assert list(find_pythons()) == []


def test_a_program_that_is_no_python_is_skipped(program: Program, candidates: Callable[..., None]) -> None:
    candidates(str(program("python3", "echo hello")), "/nowhere/python3")
    assert list(find_pythons()) == []


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (["3.10", "3.11"], (3, 11)),
        (["3.11", "3.12"], (3, 12)),
        (["3.12", "3.13", "3.14"], (3, 13)),
        (["3.11", "3.14"], (3, 14)),
        (["3.10", "3.15"], (3, 15)),
        (["3.9", "3.10", "3.16"], (3, 10)),
    ],
)
def test_the_newest_python_of_the_matrix_is_chosen(
    program: Program, candidates: Callable[..., None], present: list[str], chosen: tuple[int, int]
) -> None:
    candidates(*(python_that_says(program, f"python{version}", version) for version in present))
    assert choose_python().version == chosen


def test_the_first_of_two_equal_pythons_is_chosen(program: Program, candidates: Callable[..., None]) -> None:
    first = python_that_says(program, "a/python3.12", "3.12")
    candidates(first, python_that_says(program, "b/python3.12", "3.12"))
    assert choose_python().path == first


def test_a_machine_with_old_pythons_only_gets_a_sentence(
    program: Program, candidates: Callable[..., None]
) -> None:
    candidates(python_that_says(program, "python3.9", "3.9"))
    with pytest.raises(SetupError, match=r"Python 3\.10 or newer is needed and this machine has none"):
        choose_python()


@pytest.mark.parametrize("answer", ["echo 3 9 True", "exit 127"])
def test_a_python_chosen_by_hand_must_work(
    program: Program, plain_environment: pytest.MonkeyPatch, answer: str
) -> None:
    plain_environment.setenv("TURBO_DEV_PYTHON", str(program("mine", answer)))
    with pytest.raises(SetupError, match=r"TURBO_DEV_PYTHON=.*mine is not a working CPython 3\.10 or newer"):
        choose_python()


def test_a_python_chosen_by_hand_is_taken(program: Program, plain_environment: pytest.MonkeyPatch) -> None:
    mine = python_that_says(program, "mine", "3.10")
    plain_environment.setenv("TURBO_DEV_PYTHON", mine)
    assert choose_python() == Python((3, 10), mine)


def test_pyenv_is_found_by_its_shims_folder(
    program: Program, plain_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python_that_says(program, "pyenv/versions/3.12.1/bin/python3", "3.12")
    plain_environment.setenv("PATH", str(tmp_path / "pyenv" / "shims") + os.pathsep + os.environ["PATH"])
    assert tmp_path / "pyenv/versions/3.12.1/bin" in list(pyenv_folders())


def test_pyenv_is_found_by_its_variable(
    program: Program, plain_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python_that_says(program, "elsewhere/versions/3.13.0/bin/python3", "3.13")
    plain_environment.setenv("PYENV_ROOT", str(tmp_path / "elsewhere"))
    assert Python((3, 13), str(tmp_path / "elsewhere/versions/3.13.0/bin/python3")) in list(find_pythons())
