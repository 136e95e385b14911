"""Where packages come from, as the user's pip and uv are configured; no index is named here."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import platform
import re
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

from devtools.errors import SetupError

__all__ = ["certificates", "configured", "download_wheel"]

_SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT")
_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def configured() -> str | None:
    """Return the package index the user has configured, or None for the tools' own default."""
    for variable in _INDEX_VARIABLES:
        if os.environ.get(variable):
            return os.environ[variable]
    return _from_pip_configuration("index-url")


def certificates() -> str | None:
    """Return a file of certificate authorities: the user's for these tools, else the system's."""
    for variable in _CERTIFICATE_VARIABLES:
        if os.environ.get(variable):
            return os.environ[variable]
    candidates = [_from_pip_configuration("cert"), ssl.get_default_verify_paths().cafile]
    candidates += _SYSTEM_CERTIFICATES
    return next((path for path in candidates if path and os.path.exists(path)), None)


def download_wheel(index: str, project: str) -> bytes:
    """Download the newest wheel of *project* for this machine, and check its SHA-256."""
    page = urljoin(index.rstrip("/") + "/", project + "/")
    answer = json.loads(_get(page, {"Accept": _SIMPLE_JSON}))
    files = [file for file in answer["files"] if not file.get("yanked") and _fits(file["filename"])]
    if not files:
        raise SetupError(f"The package index has no {project} for this machine ({platform.machine()}).")
    newest = max(files, key=lambda file: _version(file["filename"]))
    wheel = _get(urljoin(page, newest["url"]), {})
    if hashlib.sha256(wheel).hexdigest() != newest["hashes"]["sha256"]:
        raise SetupError(
            "The download of {} is damaged (wrong SHA-256): run it again.".format(newest["filename"])
        )
    return wheel


def _get(url: str, headers: dict[str, str]) -> bytes:
    context = ssl.create_default_context(cafile=certificates())
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=60, context=context) as response:
        return bytes(response.read())


def _fits(filename: str) -> bool:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if not filename.endswith(".whl"):
        return False
    tag = filename[: -len(".whl")].rsplit("-", maxsplit=1)[-1]
    if sys.platform == "linux":
        wanted = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
        return wanted in tag and tag.endswith("_" + machine)
    if sys.platform == "darwin":
        return "macosx" in tag and tag.endswith("_arm64" if machine == "aarch64" else "_x86_64")
    return tag == ("win_arm64" if machine == "aarch64" else "win_amd64")


def _version(filename: str) -> tuple[int, ...]:
    release = filename.split("-")[1]
    # A pre-release ("1.0rc1") sorts before every release.
    return tuple(int(part) for part in release.split(".")) if re.match(r"^[\d.]+$", release) else ()


def _from_pip_configuration(option: str) -> str | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read(list(_pip_configuration_files()))
    except configparser.Error:
        return None
    for section in ("install", "global"):
        value = parser.get(section, option, fallback="")
        if value:
            return value.strip()
    return None


def _pip_configuration_files() -> Iterator[str]:
    """Files in pip's order, where a later one overrides."""
    yield from ("/etc/xdg/pip/pip.conf", "/etc/pip.conf")
    home = Path.home()
    settings = os.environ.get("XDG_CONFIG_HOME") or str(home / ".config")
    yield from (str(home / ".pip/pip.conf"), settings + "/pip/pip.conf")
    if os.environ.get("PIP_CONFIG_FILE"):
        yield os.environ["PIP_CONFIG_FILE"]
