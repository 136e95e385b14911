from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.bootstrap import environment as module
from devtools.bootstrap.environment import Environment, prepare
from devtools.bootstrap.pythons import Python
from devtools.errors import SetupError

Program = Callable[[str, str], Path]
# Stands in for uv: writes down what it was asked, and makes what `uv venv` makes.
UV = """
echo "$*" >> {log}
for last in "$@"; do :; done
test "$2" = venv && mkdir -p "$last/bin" && touch "$last/bin/python"
{then}
exit 0
"""


@pytest.fixture
def checkout(tmp_path: Path, plain_environment: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "pyproject.toml").write_text("[project]\n")
    plain_environment.setattr(module, "choose_python", lambda: Python((3, 12), sys.executable))
    return root


@pytest.fixture
def uv(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Install the stand-in; return what it was asked since the last time."""
    log = tmp_path / "uv.log"

    def asked(then: str = "") -> list[str]:
        path = program("uv", UV.format(log=log, then=then))
        monkeypatch.setattr(module, "get_uv", lambda folder: str(path))
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    asked()
    return asked


def test_the_first_time_everything_is_installed(checkout: Path, uv: Callable[..., list[str]]) -> None:
    environment = prepare(checkout, ["test"])
    made, installed = uv()
    assert environment.folder == checkout / ".dev/venv-3.12"
    assert made == f"--quiet venv --python {sys.executable} {environment.folder}"
    assert installed == (
        f"--quiet pip install --python {environment.python} --editable .[async-backend] --group test"
    )


def test_the_second_time_nothing_is(checkout: Path, uv: Callable[..., list[str]]) -> None:
    first = prepare(checkout, ["test"])
    uv()
    second = prepare(checkout, ["test"])
    assert uv() == []
    assert (second.python, second.uv) == (first.python, first.uv)


def test_a_new_group_is_added_to_those_there(checkout: Path, uv: Callable[..., list[str]]) -> None:
    prepare(checkout, ["test"])
    uv()
    prepare(checkout, ["lint"])
    (installed,) = uv()
    assert installed.endswith("--group lint --group test")
    prepare(checkout, ["test", "lint"])
    assert uv() == []


def test_a_changed_project_is_installed_again(checkout: Path, uv: Callable[..., list[str]]) -> None:
    prepare(checkout, ["test"])
    uv()
    (checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    prepare(checkout, ["test"])
    (installed,) = uv()
    assert installed.startswith("--quiet pip install")


def test_another_python_or_a_moved_checkout_starts_afresh(
    checkout: Path, uv: Callable[..., list[str]]
) -> None:
    prepare(checkout, ["test"])
    uv()
    moved = checkout.with_name("moved")
    shutil.move(checkout, moved)
    prepare(moved, ["test"])
    assert [line.split()[1] for line in uv()] == ["venv", "pip"]
    stamp = moved / ".dev/venv-3.12/turbo-installed.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "python": "/gone/python3"}))
    prepare(moved, ["test"])
    assert [line.split()[1] for line in uv()] == ["venv", "pip"]


def test_an_interrupted_installation_is_not_taken_for_one(
    checkout: Path, uv: Callable[..., list[str]]
) -> None:
    environment = Environment(checkout, checkout / ".dev/venv-3.12")
    environment.scripts.mkdir(parents=True)
    Path(environment.python).touch()
    (environment.folder / "turbo-installed.json").write_text("{")
    prepare(checkout, ["test"])
    assert [line.split()[1] for line in uv()] == ["venv", "pip"]


def test_a_failure_is_one_sentence_and_leaves_nothing_half_made(
    checkout: Path, uv: Callable[..., list[str]]
) -> None:
    uv(then='test "$2" = pip && { echo "dns error" >&2; exit 2; }')
    with pytest.raises(
        SetupError, match="uv could not install the packages, dns error: check the network"
    ) as error:
        prepare(checkout, ["test"])
    assert "\n" not in str(error.value)
    assert os.listdir(checkout / ".dev") == ["lock"]


def test_a_full_disk_seen_by_uv_is_one_sentence(checkout: Path, uv: Callable[..., list[str]]) -> None:
    uv(then='echo "failed: No space left on device (os error 28)" >&2; exit 2')
    with pytest.raises(SetupError, match="No disk space is left for the packages"):
        prepare(checkout, ["test"])


def test_a_nearly_full_disk_is_noticed_before(
    checkout: Path, uv: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(checkout)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=5 * 2**20))
    with pytest.raises(SetupError, match=r"\.dev has 5 MB free and the packages need 700 MB"):
        prepare(checkout, ["test"])
    assert uv() == []


def test_a_folder_that_is_somebody_elses_is_one_sentence(
    checkout: Path, uv: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> Iterator[None]:
        raise PermissionError(13, "Permission denied", str(checkout / ".dev"))

    monkeypatch.setattr(module, "_prepare", refuse)
    with pytest.raises(SetupError, match=r"\.dev can't be written \(Permission denied\): run as the user"):
        prepare(checkout, ["test"])


def test_the_folder_can_be_elsewhere(
    checkout: Path, uv: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TURBO_DEV_FOLDER", str(tmp_path / "elsewhere"))
    assert prepare(checkout, ["test"]).folder == tmp_path / "elsewhere/venv-3.12"
    assert not (checkout / ".dev").exists()
