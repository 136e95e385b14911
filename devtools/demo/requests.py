"""Requesting every view and comparing what came back."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from devtools.demo.client import Answer, fetch, fetch_many
from devtools.demo.console import Console
from devtools.demo.project import Project
from devtools.demo.server import APPLICATION_NAME, WebServer

if TYPE_CHECKING:
    from devtools.demo.checks import Check  # it can be imported once Django is set up

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
        wrong = _what_is_wrong(check, answer)
        problems += wrong is not None
        shown = answer.body if answer.body.startswith("{") else f"{len(answer.body)} characters of HTML"
        request = f"{check.method} {check.path}"
        timing = f"{answer.status} in {answer.milliseconds:.0f} ms"
        console.line(f"{_mark(wrong is None)} {request} {timing}: {shown}")
        if wrong is not None:
            console.line(f"      {wrong}")
    answers = fetch_many(f"{web.address}/dashboard/", _AT_ONCE)
    good = sum(answer.status == 200 and answer.body == answers[0].body for answer in answers)
    with connection.cursor() as cursor:
        cursor.execute(_CONNECTIONS, [APPLICATION_NAME])
        connections = cursor.fetchone()[0]
    connection.close()
    if hasattr(connection, "close_pool"):  # Django before 5.1 has none
        connection.close_pool()
    slowest = max(answer.milliseconds for answer in answers)
    console.line(
        f"{_mark(good == _AT_ONCE)} {_AT_ONCE} dashboards at once ({_AT_ONCE * 10} queries): "
        f"{good} right, the last after {slowest:.0f} ms, over {connections} connections"
    )
    return problems + (good != _AT_ONCE)


def _what_is_wrong(check: Check, answer: Answer) -> str | None:
    if answer.status != check.status:
        return f"status {answer.status}, not {check.status}"
    try:
        return check.wrong(answer.body)
    except (ValueError, LookupError) as error:
        return f"not the expected kind of answer: {error!r}"


def _mark(right: bool) -> str:
    return "ok" if right else "WRONG"


def _set_up_django(project: Project) -> None:
    """Make the example importable here, where the expected answers are computed."""
    sys.path.insert(0, str(project.folder))
    os.environ.update(project.environment)
    import django

    django.setup()
