"""The Django series we support, and the Pythons each of them runs on."""

from __future__ import annotations

from collections.abc import Iterable

from devtools.bootstrap.pythons import Python, find_pythons
from devtools.errors import SetupError

__all__ = ["ENGINES", "NEWEST", "SERIES", "choose_python", "engine_requirements", "stored_name"]

#: Django series -> its oldest and newest Python.
SERIES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "4.2": ((3, 10), (3, 12)),
    "5.2": ((3, 10), (3, 13)),
    "6.0": ((3, 12), (3, 13)),
    "6.1": ((3, 12), (3, 13)),
}
NEWEST = "6.1"

#: Names of `--engine` -> `DATABASES["default"]["ENGINE"]`.
ENGINES = {
    "django": "django.db.backends.postgresql",
    "async_backend": "django_async_backend.db.backends.postgresql",
}
#: The series of Django which django-async-backend has releases of its own for.
_ASYNC_BACKEND_SERIES = ("6.0", "6.1")


def engine_requirements(series: str, engine: str) -> list[str]:
    """Return what is to be installed for *engine*. Raises `SetupError` where it does not exist."""
    if engine == "django":
        return []
    if series not in _ASYNC_BACKEND_SERIES:
        raise SetupError(
            f"django-async-backend has no release for Django {series}: "
            f"choose --django {' or '.join(_ASYNC_BACKEND_SERIES)}."
        )
    return [f"django-async-backend=={series}.*"]


def stored_name(series: str, engine: str) -> str:
    """Return what the results and the environment of *series* on *engine* are kept under."""
    return series if engine == "django" else f"{series}-{engine}"


def choose_python(series: str, pythons: Iterable[Python] | None = None) -> Python:
    """Return the newest Python of this machine on which *series* runs."""
    oldest, newest = SERIES[series]
    fitting = [
        python
        for python in (find_pythons() if pythons is None else pythons)
        if oldest <= python.version <= newest
    ]
    if not fitting:
        raise SetupError(
            f"Django {series} needs Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]} "
            "and this machine has none: install one with your system's package manager or pyenv."
        )
    return max(fitting, key=lambda python: python.version)
