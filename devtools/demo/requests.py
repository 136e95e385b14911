"""Requesting every view and comparing what came back."""

from __future__ import annotations

import os
import sys

from devtools.demo.client import fetch, fetch_many
from devtools.demo.console import Console
from devtools.demo.project import Project
from devtools.demo.server import APPLICATION_NAME, WebServer

__all__ = ["request_views"]

_AT_ONCE = 100
_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s
"""


def request_views(console: Console, project: Project, web: WebServer) -> int:
    """Make the checks' requests, then many at once; return how many answers were wrong."""
    _set_up_django(project)
    from django.db import connection

    from devtools.demo.checks import checks

    problems = 0
    for check in checks():
        answer = fetch(web.address + check.path, check.body)
        if answer.status != check.status:
            wrong: str | None = f"status {answer.status}, not {check.status}"
        else:
            wrong = check.wrong(answer.body)
        problems += wrong is not None
        shown = answer.body if answer.body.startswith("{") else f"{len(answer.body)} characters of HTML"
        mark = "ok   " if wrong is None else "WRONG"
        console.line(
            f"{mark} {check.method} {check.path} {answer.status} in {answer.milliseconds:.0f} ms: {shown}"
        )
        if wrong is not None:
            console.line(f"      {wrong}")
    answers = fetch_many(f"{web.address}/dashboard/", _AT_ONCE)
    good = sum(answer.status == 200 and answer.body == answers[0].body for answer in answers)
    with connection.cursor() as cursor:
        cursor.execute(_CONNECTIONS, [APPLICATION_NAME])
        connections = cursor.fetchone()[0]
    connection.close()
    slowest = max(answer.milliseconds for answer in answers)
    console.line(
        f"{_mark(good == _AT_ONCE)} {_AT_ONCE} dashboards at once ({_AT_ONCE * 10} queries): "
        f"{good} right, the last after {slowest:.0f} ms, over {connections} connections"
    )
    return problems + (good != _AT_ONCE)


def _mark(right: bool) -> str:
    return "ok" if right else "WRONG"


def _set_up_django(project: Project) -> None:
    """Make the example importable here, where the expected answers are computed."""
    sys.path.insert(0, str(project.folder))
    os.environ.update(project.environment)
    import django

    django.setup()
