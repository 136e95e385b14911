"""Making the demo's requests."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "fetch", "fetch_many"]

_SECONDS = 60
# The server is on this machine: a proxy in the environment must not get these requests.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """A status, a body, and the milliseconds it took to come."""

    status: int
    body: str
    milliseconds: float


def fetch(url: str, body: dict[str, Any] | None = None) -> Answer:
    """Request an address; a body makes it a POST."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    started = time.perf_counter()
    try:
        with _opener.open(request, timeout=_SECONDS) as response:
            status, content = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    except OSError as error:
        status, content = 0, str(error).encode()
    return Answer(status, content.decode(errors="replace"), (time.perf_counter() - started) * 1000)


def fetch_many(url: str, count: int) -> list[Answer]:
    """Request an address *count* times at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(fetch, [url] * count))
