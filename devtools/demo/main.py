"""The order of the demo's steps."""

from __future__ import annotations

import argparse
import contextlib
import errno
import platform
import secrets
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psycopg
from django.db.utils import OperationalError

from devtools.demo.console import Console
from devtools.demo.project import Project
from devtools.demo.requests import request_views
from devtools.demo.server import WebServer, choose_port
from devtools.errors import SetupError
from devtools.postgres import ExternalServer, create_database, drop_database, server_from_environment
from devtools.signals import Terminated, end_cleanly_on_signals, exit_code, uninterrupted

__all__ = ["main"]

_DEFAULT_PORT = 8000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0 only if everything answered right."""
    options = _parse(arguments)
    end_cleanly_on_signals()
    console = Console(steps=6)
    try:
        return _run(console, options)
    except SetupError as error:
        console.error(str(error))
        return 1
    except (psycopg.OperationalError, OperationalError) as error:
        reason = str(error).strip().split("\n")[0]
        console.error(f"The database stopped answering: {reason}")
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        console.error("No disk space is left in the temporary folder: free some and run the demo again.")
        return 1
    except KeyboardInterrupt as stop:
        console.error("interrupted; the database and the servers are gone.")
        return exit_code(stop)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py demo",
        description="Run the example book shop on a real PostgreSQL and check its answers.",
    )
    parser.add_argument("--once", action="store_true", help="exit when every view has been requested")
    parser.add_argument(
        "--port", type=int, help=f"serve on this port (default: {_DEFAULT_PORT}; with --once, any)"
    )
    parser.add_argument("--rows", type=int, help="about how many rows to load (default: about 28,000)")
    return parser.parse_args(arguments)


def _run(console: Console, options: argparse.Namespace) -> int:
    port = choose_port(options.port, 0 if options.once else _DEFAULT_PORT)
    database = f"turbo_demo_{secrets.token_hex(4)}"
    with console.step("Starting PostgreSQL"):
        server = server_from_environment()
        console.line(server.description)
    with server, tempfile.TemporaryDirectory(prefix="turbo-demo-") as folder:
        url = create_database(server, database)
        try:
            return _run_project(console, options, Project(Path(folder), url), port)
        finally:
            if isinstance(server, ExternalServer):  # a private one is thrown away with all it holds
                _drop(console, server, database)


def _versions() -> str:
    """What runs, in one line; django-async-backend is the engine where it is installed."""
    described = [f"Python {platform.python_version()}"]
    for name in ("Django", "psycopg", "django-async-backend"):
        with contextlib.suppress(PackageNotFoundError):
            described.append(f"{name} {version(name)}")
    return ", ".join(described)


def _drop(console: Console, server: ExternalServer, database: str) -> None:
    with uninterrupted():
        try:
            drop_database(server, database)
        except psycopg.Error as error:
            reason = str(error).strip().split("\n")[0]
            console.error(f"The database {database} could not be dropped, drop it by hand: {reason}")


def _run_project(console: Console, options: argparse.Namespace, project: Project, port: int) -> int:
    with console.step("Making the tables and loading the shop"):
        project.manage("migrate", "--verbosity", "0")
        project.manage("load_shop", *([] if options.rows is None else ["--rows", str(options.rows)]))
    with console.step("manage.py turbo_generate"):
        project.manage("turbo_generate")
    with console.step("Type-checking the views with mypy"):
        problems = _check_types(console, project)
    with console.step("Starting the ASGI server"):
        web = WebServer.start(project, port)
        console.line(f"uvicorn at {web.address}, {_versions()}")
    with web:
        with console.step("Requesting every view"):
            problems += request_views(console, project, web)
        if problems:
            console.error(f"{problems} answers were not right, see above.")
        else:
            console.line("Everything answered right.")
        if not options.once:
            _serve(console, web)
    return 1 if problems else 0


def _check_types(console: Console, project: Project) -> int:
    found = project.check_types()
    for error in found.errors:
        console.line(error)
    console.line(f"{found.files} files of views checked: {len(found.errors) or 'no'} errors")
    if found.rejection is None:
        console.line("wrong: Book.objects.filter(titel__icontains=...) was accepted")
        return len(found.errors) + 1
    console.line(f"and Book.objects.filter(titel__icontains=...) is refused: {found.rejection}")
    return len(found.errors)


def _serve(console: Console, web: WebServer) -> None:
    console.line(f"Serving at {web.address}/ until Ctrl-C.")
    try:
        code = web.wait()
    except Terminated:
        raise
    except KeyboardInterrupt:
        console.line("Stopping.")
        return
    raise SetupError(f"The ASGI server ended by itself with exit code {code}.")
