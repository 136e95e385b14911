"""What the benchmark ran on, without anything private."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psycopg

__all__ = ["about"]


def about(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Processor, memory, system, Python and PostgreSQL."""
    server = connection.execute("SELECT current_setting('server_version')").fetchone()
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()}",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {_distribution()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "PostgreSQL": f"{str(server and server[0]).split()[0]}, on the same machine",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return "memory unknown"
    return f"{size / 2**30:.0f} GiB"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.version()
