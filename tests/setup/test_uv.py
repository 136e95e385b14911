from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devtools.bootstrap import index, pip, uv
from devtools.bootstrap.debian import unpack
from devtools.bootstrap.pip import Pip, debian_pip
from devtools.bootstrap.pythons import Python
from devtools.bootstrap.uv import get_uv, uv_environment
from devtools.errors import SetupError

Program = Callable[[str, str], Path]
WORKS = 'echo "uv 0.99.0"'
PYTHON = Python((3, 12), "/usr/bin/python3")


@pytest.fixture
def no_uv(plain_environment: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which uv is nowhere, and every way to it is shut."""
    empty = tmp_path / "empty"
    empty.mkdir()
    plain_environment.setenv("PATH", str(empty))
    plain_environment.setattr(uv, "find_pythons", lambda: iter([PYTHON]))
    plain_environment.setattr(uv, "installed_pips", lambda pythons: iter([]))
    plain_environment.setattr(index, "_from_pip_configuration", lambda option: None)
    return plain_environment


def test_a_uv_on_the_path_is_used(program: Program, no_uv: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = program("bin/uv", WORKS)
    no_uv.setenv("PATH", str(there.parent))
    assert get_uv(tmp_path / "own") == str(there)
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("answer", ['echo "uv 0.4.9"', "exit 127", "echo hello"])
def test_a_uv_that_is_old_or_broken_is_not_used(
    program: Program, no_uv: pytest.MonkeyPatch, tmp_path: Path, answer: str
) -> None:
    no_uv.setenv("PATH", str(program("bin/uv", answer).parent))
    with pytest.raises(SetupError, match="uv, the installer, could not be fetched"):
        get_uv(tmp_path / "own")


def test_what_pip_fetched_is_used_and_found_again(
    program: Program, no_uv: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[str] = []

    class FakePip(Pip):
        def install(self, requirement: str, target: Path) -> str | None:
            calls.append(requirement)
            shutil.copy(
                program("fetched", WORKS), Path(target / "bin").mkdir(parents=True) or target / "bin/uv"
            )
            return None

    no_uv.setattr(uv, "installed_pips", lambda pythons: iter([FakePip("python")]))
    own = tmp_path / "own"
    assert get_uv(own) == str(own / "bin/uv")
    assert get_uv(own) == str(own / "bin/uv")
    assert calls == ["uv>=0.9"]


def test_a_pip_that_fails_leaves_nothing_and_the_reason_is_told(
    no_uv: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class BrokenPip(Pip):
        def install(self, requirement: str, target: Path) -> str | None:
            target.mkdir()
            return "no route to host"

    no_uv.setattr(uv, "installed_pips", lambda pythons: iter([BrokenPip("python")]))
    with pytest.raises(SetupError, match=r"last reason: no route to host\): check the network"):
        get_uv(tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_pip_is_told_to_ignore_settings_that_forbid_a_target_folder(
    program: Program, plain_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain_environment.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    plain_environment.setenv("PIP_USER", "1")
    script = 'test "$PIP_USER$PIP_REQUIRE_VIRTUALENV$PYTHONPATH" = "00a.whl" || { echo "$*"; exit 1; }'
    assert Pip(str(program("python", script)), "a.whl").install("uv", tmp_path / "own") is None


def test_the_last_line_pip_says_is_the_reason(program: Program, tmp_path: Path) -> None:
    python = program("python", "echo first; echo 'the reason' >&2; exit 1")
    assert Pip(str(python)).install("uv", tmp_path / "own") == "the reason"


class TestIndex:
    """The wheel straight from a configured index, a server of the test's own."""

    @contextmanager
    def serving(self, pages: dict[str, bytes]) -> Iterator[str]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path)
                self.send_response(404 if page is None else 200)
                self.end_headers()
                self.wfile.write(page or b"")

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/simple"
            finally:
                server.shutdown()
                thread.join()

    @staticmethod
    def wheel(script: str) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("uv-0.99.0.data/scripts/uv", f"#!/bin/sh\n{script}\n")
        return file.getvalue()

    @staticmethod
    def listing(*files: tuple[str, bytes, bool]) -> bytes:
        return json.dumps(
            {
                "files": [
                    {
                        "filename": name,
                        "url": f"../../files/{name}",
                        "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                        "yanked": yanked,
                    }
                    for name, content, yanked in files
                ]
            }
        ).encode()

    @pytest.fixture(autouse=True)
    def this_machine(self, no_uv: pytest.MonkeyPatch) -> None:
        no_uv.setattr(index.sys, "platform", "linux")
        no_uv.setattr(index.platform, "machine", lambda: "x86_64")
        no_uv.setattr(index.platform, "libc_ver", lambda: ("glibc", "2.36"))

    def test_the_newest_fitting_wheel_is_taken(self, no_uv: pytest.MonkeyPatch, tmp_path: Path) -> None:
        fits = "manylinux_2_17_x86_64.manylinux2014_x86_64"
        old, new, other = (self.wheel(script) for script in ("echo uv 0.98.0", WORKS, "exit 1"))
        name = f"uv-0.99.0-py3-none-{fits}.whl"
        pages = {
            "/simple/uv/": self.listing(
                (f"uv-0.98.0-py3-none-{fits}.whl", old, False),
                (name, new, False),
                (f"uv-0.100.0-py3-none-{fits}.whl", other, True),
                (f"uv-0.101.0rc1-py3-none-{fits}.whl", other, False),
                ("uv-0.102.0-py3-none-musllinux_1_1_x86_64.whl", other, False),
                ("uv-0.103.0-py3-none-macosx_11_0_arm64.whl", other, False),
                ("uv-0.104.0.tar.gz", other, False),
            ),
            f"/files/{name}": new,
        }
        with self.serving(pages) as address:
            no_uv.setenv("PIP_INDEX_URL", address)
            assert get_uv(tmp_path / "own") == str(tmp_path / "own/bin/uv")

    def test_a_damaged_download_is_refused(self, no_uv: pytest.MonkeyPatch, tmp_path: Path) -> None:
        name = "uv-0.99.0-py3-none-manylinux_2_17_x86_64.whl"
        pages = {
            "/simple/uv/": self.listing((name, self.wheel(WORKS), False)),
            f"/files/{name}": self.wheel("echo something else"),
        }
        with self.serving(pages) as address:
            no_uv.setenv("UV_DEFAULT_INDEX", address)
            with pytest.raises(SetupError, match="damaged"):
                get_uv(tmp_path / "own")
        assert not (tmp_path / "own").exists()

    def test_an_index_without_a_fitting_wheel_says_so(
        self, no_uv: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with self.serving({"/simple/uv/": self.listing()}) as address:
            no_uv.setenv("UV_INDEX_URL", address)
            with pytest.raises(SetupError, match=r"no uv for this machine \(x86_64\)"):
                get_uv(tmp_path / "own")


class TestSettings:
    """pip's settings serve uv as well."""

    @pytest.fixture
    def pip_conf(self, plain_environment: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
        def write(text: str) -> None:
            (tmp_path / "pip.conf").write_text(text)

        plain_environment.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        return write

    def test_the_index_of_pip_conf_is_used(self, pip_conf: Callable[[str], None]) -> None:
        pip_conf("[global]\nindex-url = http://packages.example/simple\n")
        assert uv_environment()["UV_DEFAULT_INDEX"] == "http://packages.example/simple"

    def test_a_variable_of_uv_wins(
        self, pip_conf: Callable[[str], None], plain_environment: pytest.MonkeyPatch
    ) -> None:
        pip_conf("[global]\nindex-url = http://packages.example/simple\n")
        plain_environment.setenv("UV_DEFAULT_INDEX", "http://other.example/simple")
        assert uv_environment()["UV_DEFAULT_INDEX"] == "http://other.example/simple"

    def test_a_file_that_is_no_configuration_is_ignored(
        self, pip_conf: Callable[[str], None], plain_environment: pytest.MonkeyPatch
    ) -> None:
        pip_conf("index-url without a section")
        assert index.configured() is None

    def test_the_certificates_of_pip_are_used(self, pip_conf: Callable[[str], None], tmp_path: Path) -> None:
        authorities = tmp_path / "company.pem"
        authorities.write_text("")
        pip_conf(f"[global]\ncert = {authorities}\n")
        assert uv_environment()["SSL_CERT_FILE"] == str(authorities)

    def test_uv_never_downloads_a_python_nor_sees_another_environment(
        self, plain_environment: pytest.MonkeyPatch
    ) -> None:
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME"):
            plain_environment.setenv(name, "/elsewhere")
        environment = uv_environment()
        assert environment["UV_PYTHON_DOWNLOADS"] == "never"
        assert "/elsewhere" not in environment.values()


class TestDebian:
    """pip out of a Debian package, with apt in folders of our own."""

    APT = """
for word in "$@"; do
  case $word in
    update) exit 0;;
    download) touch pip.deb; exit 0;;
    Dir::State=*) test -w "${word#*=}/status" || exit 1;;
  esac
done
"""
    DPKG = 'cd "$3" && mkdir -p usr/share/python-wheels && touch usr/share/python-wheels/pip-25.0-py3.whl'

    @pytest.fixture
    def folder(self, plain_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        plain_environment.setattr(pip.tempfile, "tempdir", str(temporary))
        plain_environment.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        return temporary

    def test_pip_is_unpacked_and_gone_afterwards(self, program: Program, folder: Path) -> None:
        program("bin/apt-get", self.APT)
        program("bin/dpkg-deb", self.DPKG)
        with debian_pip(PYTHON) as found:
            assert found is not None
            assert found.wheel is not None
            assert Path(found.wheel).is_relative_to(folder)
            assert Path(found.wheel).exists()
        assert list(folder.iterdir()) == []

    def test_a_system_whose_apt_fails_has_none(self, program: Program, folder: Path) -> None:
        program("bin/apt-get", "exit 100")
        program("bin/dpkg-deb", self.DPKG)
        with debian_pip(PYTHON) as found:
            assert found is None
        assert list(folder.iterdir()) == []

    def test_a_system_without_apt_has_none(self, no_uv: pytest.MonkeyPatch) -> None:
        with debian_pip(PYTHON) as found:
            assert found is None

    def test_a_program_and_the_libraries_it_lacks(self, program: Program, folder: Path) -> None:
        program(
            "bin/apt-get",
            """
for word in "$@"; do
  case $word in
    Dir::Cache=*) cache=${word#*=};;
    Dir::State::status=/var/lib/dpkg/status) installed=yes;;
    install) test "$installed" && touch "$cache/archives/one.deb" "$cache/archives/two.deb";;
  esac
done
""",
        )
        program("bin/dpkg-deb", 'touch "$3/$(basename "$2")"')
        assert unpack(["one"], folder, with_missing_libraries=True)
        assert sorted(path.name for path in folder.iterdir()) == ["one.deb", "two.deb"]

    def test_packages_that_can_not_be_unpacked(self, program: Program, folder: Path) -> None:
        program("bin/apt-get", self.APT)
        program("bin/dpkg-deb", "exit 2")
        assert not unpack(["one"], folder)
